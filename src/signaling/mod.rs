//! One node's part of the cluster, in rooms: structs that own what they need and call only what lies below them. From
//! the ground up:
//!
//! - `node`, `policy`, `timeline`, `call_cache`, `sessions`, `cluster`, `directory`: time and tasks, what is known of
//!   calls, who is connected here, how the node stands among the others, who is connected anywhere;
//! - `calls`: how a call changes; `delivery`: who is told; `commands`: both;
//! - `presence`, `connections`, `backend`, `use_cases`: coming and going, and what phones and Laravel ask for;
//! - `recovery`, `deadlines`, `upkeep`, `inbox`: what happens though nobody asks;
//! - `start` and `interface`: builds all of it; what the transports may ask.
//!
//! Knows the traits of store and bus, neither Redis nor sockets.

mod backend;
mod call_cache;
mod calls;
mod cluster;
mod commands;
mod connections;
mod deadlines;
mod delivery;
mod directory;
mod inbox;
mod interface;
mod node;
mod policy;
mod presence;
mod recovery;
mod sessions;
mod start;
mod timeline;
mod upkeep;
mod use_cases;

pub use crate::bus::{DirectEvent, Message};
pub use crate::store::{CallOutcome, DeadLetter, Page, Replayed, SessionRecord, Which};
pub use backend::BackendCallTable;
pub use calls::{Failure, Initiate};
pub use cluster::Waiting;
pub use delivery::{Handed, MessageContent};
pub use interface::{LivePage, NodeView, Person, Signaling};
pub use policy::Policy;
pub use presence::{MAX_SUBSCRIPTIONS, SubscribeError};
pub use sessions::{EventSender, NewSession, Ready, ReadyCall, SendOutcome, Session};
pub use start::{Parts, start};
pub use use_cases::{BackendCommand, CommandAnswer, CommandOutcome, Initiated};
