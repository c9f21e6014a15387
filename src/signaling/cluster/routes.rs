//! How to reach the node that a session id names.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Members, OwnLease};

/// Before each look for an unknown node.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Requests that wait for such a look; more are told that the session is unknown.
const SEEKERS: usize = 64;

/// Finds nodes by the tag in a session id.
pub struct Routes {
    members: Arc<Members>,
    lease: Arc<OwnLease>,
    seekers: Semaphore,
}

impl Routes {
    pub fn new(members: Arc<Members>, lease: Arc<OwnLease>) -> Self {
        Self { members, lease, seekers: Semaphore::new(SEEKERS) }
    }

    /// The address of a node. One that is not known, because it just started, is looked for by the lease task, for all
    /// who wait at once; few may.
    pub async fn address_of(&self, tag: &str) -> Option<String> {
        if let Some(address) = self.members.address(tag) {
            return Some(address);
        }
        let _waiting = self.seekers.try_acquire().ok()?;
        tokio::time::sleep(LOOK_PAUSE).await;
        self.lease.look_again().await;
        self.members.address(tag)
    }
}
