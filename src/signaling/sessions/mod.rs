//! Who is connected here, what each session has been told, and how its phone is spoken to. Read `session.rs` first.

mod connection;
mod greeting;
mod local;
mod messages;
mod ready;
mod sender;
mod session;
mod told;

pub use local::LocalSessions;
pub use messages::Heard;
pub use ready::{Ready, ReadyCall};
pub use sender::{Spoken, Voice};
pub use session::{Newcomer, Session};
