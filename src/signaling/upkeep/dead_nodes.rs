//! The sessions of dead nodes: claimed, dealt with, and only then removed. A reply that is lost, or a sweeper that
//! dies, leaves them to the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::call::UserId;
use crate::signaling::cluster::{Members, OwnLease};
use crate::signaling::connections::Absences;
use crate::signaling::node::NodeContext;
use crate::store::{Lease, SessionRecord, SessionStore, StoreError};
use crate::telemetry::metrics;

const TICK: Duration = Duration::from_millis(300);
const SWEPT_AT_ONCE: usize = 512;
/// Users that are dealt with at the same time.
const AT_ONCE: usize = 64;
/// Longer than it takes to deal with all of one claim.
const CLAIM: Duration = Duration::from_secs(10);

/// Sweeps dead nodes.
pub struct DeadNodes {
    pub node: Arc<NodeContext>,
    pub sessions: Arc<dyn SessionStore>,
    pub lease: Arc<OwnLease>,
    pub members: Arc<Members>,
    pub absences: Arc<Absences>,
}

impl DeadNodes {
    /// Removes the sessions of dead nodes and starts the absence of their users.
    pub async fn keep_sweeping(self: Arc<Self>) {
        loop {
            self.node.clock.sleep(TICK).await;
            if self.members.expired().is_empty() {
                continue;
            }
            // What looks expired may have been renewed since it was read.
            if !self.lease.look_again().await {
                continue;
            }
            for lease in self.members.expired() {
                if self.members.is_well(lease.expires_at)
                    && let Err(error) = self.sweep_all_epochs(lease.clone()).await
                {
                    tracing::debug!(peer = %lease.node, %error, "sweeping a dead node failed");
                }
            }
        }
    }

    /// A node that died between two epochs has sessions under both, also under the one its lease never came to. The lease
    /// goes with the last of them.
    async fn sweep_all_epochs(&self, lease: Lease) -> Result<(), StoreError> {
        let others = self.sessions.begin(&lease.node, lease.epoch).await?;
        let is_later = |epoch: &u64| *epoch > lease.epoch;
        // It may have come back, or another process have taken its name: each renews the lease before it begins an epoch.
        if others.iter().any(is_later) && !self.is_still_dead(&lease).await {
            return Ok(());
        }
        for epoch in others {
            self.sweep(&Lease { epoch, ..lease.clone() }).await?;
        }
        self.sweep(&lease).await
    }

    async fn is_still_dead(&self, lease: &Lease) -> bool {
        let is_it = |other: &Lease| other.node == lease.node && other.epoch == lease.epoch;
        self.lease.look_again().await && self.members.expired().iter().any(is_it)
    }

    async fn sweep(&self, lease: &Lease) -> Result<(), StoreError> {
        loop {
            let swept = self.sessions.sweep(lease, self.node.now(), CLAIM, SWEPT_AT_ONCE).await?;
            if swept.sessions.is_empty() {
                return Ok(());
            }
            tracing::warn!(peer = %lease.node, sessions = swept.sessions.len(), "sweeping the sessions of a dead node");
            metrics::sessions_swept(swept.sessions.len());
            let mut of_users: HashMap<UserId, Vec<SessionRecord>> = HashMap::new();
            for session in swept.sessions {
                of_users.entry(session.user.clone()).or_default().push(session);
            }
            let absent = all_done(of_users.into_iter().map(|(user, sessions)| async move {
                self.are_absent(&sessions, lease).await.is_ok().then_some(user)
            }))
            .await;
            // Before they are removed: a reply that is lost must not be the last to know of them.
            let told = all_done(
                absent
                    .into_iter()
                    .map(|user| async move { self.absences.presence.went_away(&user).await.is_ok().then_some(user) }),
            )
            .await;
            self.sessions.swept(lease, &told).await?;
        }
    }

    /// Starts the absence of a user's devices that were on a dead node.
    async fn are_absent(&self, sessions: &[SessionRecord], lease: &Lease) -> Result<(), StoreError> {
        for session in sessions {
            self.absences.begin(session, Some(lease.expires_at)).await?;
        }
        Ok(())
    }
}

/// Does all of it, for many users at the same time; returns those for whom it is done.
async fn all_done(work: impl IntoIterator<Item: Future<Output = Option<UserId>>>) -> Vec<UserId> {
    stream::iter(work).buffer_unordered(AT_ONCE).filter_map(|done| async move { done }).collect().await
}
