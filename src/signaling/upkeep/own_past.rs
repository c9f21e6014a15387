//! What earlier epochs of this node left in the store: those of a process before it under the same name, and its own that
//! come to life again with a store that comes back older.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::signaling::cluster::{LATE_WRITES, Registration};
use crate::signaling::connections::Absences;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{Lease, SessionRecord, SessionStore, StoreError};
use crate::telemetry::metrics;

const SWEPT_AT_ONCE: usize = 512;
/// What a node removes of its own past is nobody else's to remove.
const OWN_CLAIM: Duration = Duration::from_secs(10);

/// Sweeps this node's earlier epochs.
pub struct OwnPast {
    pub node: Arc<NodeContext>,
    pub sessions: Arc<dyn SessionStore>,
    pub local: Arc<LocalSessions>,
    pub registration: Arc<Registration>,
    pub absences: Arc<Absences>,
    /// Epochs that may have left something, and since when all that live are registered under a later one, by the clock's
    /// uptime; absent where they are not yet.
    pub epochs: Mutex<BTreeMap<u64, Option<Duration>>>,
}

impl OwnPast {
    /// The present epoch ends. Noted before the next one has all that live: that may take several attempts, each with an
    /// epoch of its own, in stores of which none remembers the one before.
    pub fn ends(&self, epoch: u64) {
        self.epochs.lock().insert(epoch, None);
    }

    /// All that live are registered under the present epoch: what these and those that ended have left is to be removed.
    pub fn is_over(&self, epochs: impl IntoIterator<Item = u64>) {
        let over_at = self.node.clock.uptime();
        let mut all = self.epochs.lock();
        all.extend(epochs.into_iter().map(|epoch| (epoch, None)));
        for since in all.values_mut() {
            since.get_or_insert(over_at);
        }
    }

    pub fn is_swept(&self) -> bool {
        self.epochs.lock().is_empty()
    }

    /// Removes the sessions of earlier epochs; who is no longer here left while nobody wrote it down, or is alive only in an
    /// old copy of the store. What the store fails, or another node has claimed, is left for the next time.
    pub async fn sweep(&self, own: Lease) -> Result<(), StoreError> {
        let present = self.registration.epoch();
        self.epochs.lock().remove(&present);
        let past = self.epochs.lock().clone();
        for (epoch, over_at) in past {
            // Before that a registration that failed may still run after the sweep.
            let is_complete = over_at.is_some_and(|at| self.node.clock.uptime().saturating_sub(at) >= LATE_WRITES);
            let lease = Lease { epoch, ..own.clone() };
            loop {
                let swept = self.sessions.sweep(&lease, self.node.now(), OWN_CLAIM, SWEPT_AT_ONCE).await?;
                if swept.sessions.is_empty() {
                    if swept.claimed == 0 && is_complete {
                        self.epochs.lock().remove(&epoch);
                    }
                    break;
                }
                let users: HashSet<_> = swept.sessions.iter().map(|session| session.user.clone()).collect();
                let is_gone = |session: &SessionRecord| !self.local.has(&session.user, &session.id);
                let gone: Vec<_> = swept.sessions.into_iter().filter(is_gone).collect();
                for session in &gone {
                    // On the heap: the lease task is deep already.
                    Box::pin(self.absences.begin(session, None)).await?;
                }
                // Before they are removed: a reply that is lost must not be the last to know of them.
                for session in &gone {
                    if self.absences.presence.went_away(&session.user).await.is_err() {
                        // Claimed for now, and left for another time.
                        return Ok(());
                    }
                }
                self.sessions.swept(&lease, &users.into_iter().collect::<Vec<_>>()).await?;
                metrics::sessions_swept(gone.len());
            }
        }
        Ok(())
    }
}
