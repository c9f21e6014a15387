//! What a node does again and again so that the sessions of the store are those that live: its lease, its own past, dead
//! nodes. Read `lease_task.rs` first.

mod dead_nodes;
mod lease_task;
mod own_past;

pub use dead_nodes::DeadNodes;
pub use lease_task::LeaseTask;
pub use own_past::OwnPast;
