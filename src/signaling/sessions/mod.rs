//! Who is connected here, what each session has been told, and how events are sent to its phone. Read `session.rs`
//! first.

mod connection;
mod delivery_state;
mod greeting;
mod local;
mod messages;
mod ready;
mod sender;
mod session;

pub use local::LocalSessions;
pub use messages::MessageDelivery;
pub use ready::{Ready, ReadyCall};
pub use sender::{EventSender, SendOutcome};
pub use session::{NewSession, Session};
