//! Ends that their callers could not hear: kept for a while, told once.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{CallId, UserId};
use crate::store::CallStore;

/// How long the end of a call that nobody heard waits for its caller.
pub const NOTICE_TTL: Duration = Duration::from_secs(10);
/// Whoever claimed to tell it has so long; then another may.
const NOTICE_CLAIM: Duration = Duration::from_secs(3);

/// The notices of the store.
pub struct Notices {
    pub store: Arc<dyn CallStore>,
}

impl Notices {
    /// Whether this node is to tell the user the end of this call, for it could not be told when it happened.
    pub async fn claim(&self, user: &UserId, call: &CallId) -> bool {
        let claimant = rand::random();
        let ask = || self.store.claim_notice(user, claimant, NOTICE_CLAIM);
        let claimed = match ask().await {
            // The reply may be lost: the same claimant is answered the same.
            Err(_) => ask().await,
            claimed => claimed,
        };
        claimed.ok().flatten().as_ref() == Some(call)
    }

    /// It is told: nobody else has to. Where this fails it expires by itself.
    pub async fn is_told(&self, user: &UserId) {
        if let Err(error) = self.store.drop_notice(user).await {
            tracing::debug!(%error, "a notice that was told could not be dropped");
        }
    }
}
