//! How a call changes: load, decide, write. What a change has to tell the backend. Nobody is told here: who is to hear of a
//! change goes down as data. Read `change.rs` first.

mod announce;
mod change;
mod create;
mod failure;
mod lookup;
mod messages;
mod new;
mod restore;
mod write;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::call_cache::CallCache;
use super::cluster::StoreIdentity;
use super::node::NodeContext;
use super::timeline::Timeline;
use crate::call::CallId;
use crate::store::{CallStore, StoreError};

pub use announce::{Announced, Announcement, expiry};
pub use change::{Changed, Written};
pub use failure::Failure;
pub use messages::OutboxMessages;
pub use new::{Initiate, NewCalls, ended_busy, ended_unheard};

/// The calls of the store, as this node changes them.
pub struct Calls {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub cache: Arc<CallCache>,
    pub timeline: Arc<Timeline>,
    pub messages: Arc<OutboxMessages>,
    pub identity: Arc<StoreIdentity>,
    /// Live calls that were restored without their lines, for who resolves that.
    pub without_line: mpsc::Sender<CallId>,
}

impl Calls {
    /// Where a write met another store than the one it was decided for, this node finds that out: whoever tries again waits for
    /// what is put back into it.
    async fn noticed<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Another) = written {
            self.identity.check().await?;
        }
        written
    }
}
