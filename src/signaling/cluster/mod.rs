//! This node among the others: its lease and theirs, what it owes the store, whether it hears itself and stood still, and
//! how a message reaches another node. Read `members.rs` first.

mod identity;
mod isolation;
mod lease;
mod members;
mod messenger;
mod registration;
mod revived;
mod routes;
mod seen;
mod self_test;
mod stall;
mod waiting;

pub use identity::{StoreIdentity, StoreLost};
pub use isolation::Isolation;
pub use lease::{OwnLease, Place};
pub use members::Members;
pub use messenger::Messenger;
pub use registration::{LATE_WRITES, Leftover, Registration};
pub use routes::Routes;
pub use self_test::SelfTest;
pub use stall::StallDetector;
pub use waiting::Waiting;
