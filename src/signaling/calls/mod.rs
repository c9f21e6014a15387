//! How a call changes: load, decide, write. What this node knows of calls, and what a change has to tell the backend.

mod cache;
mod messages;

pub use cache::CallCache;
pub use messages::OutboxMessages;
