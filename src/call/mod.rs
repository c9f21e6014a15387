//! The rules of a call: pure data and pure functions. Nothing here awaits, reads a clock or does IO.
//!
//! ```text
//!              Alert                Accept
//!   Trying ───────────▶ Ringing ───────────▶ Active
//!     │  ╰─────────────────────────────────────▶│
//!     │ Reject Cancel End Displace Expire       │ Cancel Reject End Displace Expire
//!     ╰───────────────▶ Ended(reason) ◀─────────╯
//! ```
//!
//! [`step()`] decides what a command does, [`notifications()`] derives from the record alone what a session is told: a
//! live envelope, a healed one and a replay after a reconnect therefore all say the same.

mod absence;
mod asking;
mod audience;
mod callback;
mod cause;
mod code;
mod command;
mod contend;
mod count;
mod dials;
mod doubled;
mod early_command;
mod end;
mod event;
mod foreign;
mod id;
mod notifications;
mod order;
mod record;
mod row;
mod step;
mod switching;
mod talk;
mod time;
mod timeline;
mod timeouts;
mod version;
mod why;

pub use asking::{Inquiry, Verified};
pub use audience::Audience;
pub use callback::{Ask, Callback, Left, callbacks, left_to_say};
pub use cause::{Cause, NO_ACKS};
pub use code::ErrorCode;
pub use command::{Actor, Command, Decision, PartyPresence, Refusal, Refused};
pub use contend::{Contention, SAID_LATER, contend, gives_way};
pub use count::{Counted, Picture, Statistics, counted, minute};
pub use early_command::{EarlyCommand, EarlyCommandKind, resolve};
pub use end::{EndReason, Ender, LateAccept, Verb};
pub use event::{WebhookEvent, WebhookEventKind, events, events_so_far};
pub use foreign::{Foreign, Verbatim};
pub use id::{CallId, Device, InvalidId, NodeId, SealedToken, SessionId, TokenHash, UserId};
pub use notifications::{Notification, NotificationKind, held_until, is_stale_ring, notifications};
pub use record::{Call, End, Party, Push, RingDetails, Role, State, UNNAMED};
pub use row::{Asked, Row, RowStatus};
pub use step::step;
pub use switching::{Answer, Change, Media, NoVideo, Request, Switching};
pub use time::Timestamp;
pub use timeline::{MILESTONES, Milestone, What, milestones, refused};
pub use timeouts::CallTimeouts;

pub use version::Version;
pub use why::{Span, Why, plain, why};

#[cfg(test)]
mod tests;
