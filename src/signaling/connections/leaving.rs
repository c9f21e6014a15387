//! A node that stops lets its phones go, little by little: they come back elsewhere by themselves. Then it takes leave.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;

use super::Connections;
use crate::signaling::call_cache::CallCache;
use crate::signaling::cluster::{OwnLease, Registration};
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::signaling::timeline::Timeline;
use crate::store::SessionStore;
use crate::telemetry::metrics::{self, Departure};

/// Sessions that a node takes leave of at the same time.
const AT_ONCE: usize = 64;
const TICK: Duration = Duration::from_millis(100);
/// How long the store has to forget the last of them; what it did not is swept by other nodes.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(5);

/// In which order sessions are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Idle,
    Ringing,
    Active,
}

/// The end of this node's part.
pub struct Leaving {
    pub node: Arc<NodeContext>,
    pub sessions: Arc<dyn SessionStore>,
    pub local: Arc<LocalSessions>,
    pub cache: Arc<CallCache>,
    pub timeline: Arc<Timeline>,
    pub registration: Arc<Registration>,
    pub lease: Arc<OwnLease>,
    pub connections: Arc<Connections>,
}

impl Leaving {
    /// Closes the transports of this node's sessions evenly over `window`: idle ones first, parties of ringing calls
    /// next, of accepted ones last. What a phone does meanwhile may change its turn.
    pub async fn drain(self: &Arc<Self>, window: Duration) {
        let started = self.node.clock.elapsed();
        let mut farewells = JoinSet::new();
        loop {
            let mut sessions = self.local.all();
            if sessions.is_empty() {
                break;
            }
            let left = window.saturating_sub(self.node.since(started));
            let ticks = usize::try_from(left.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
            let share = sessions.len().div_ceil(ticks.max(1));
            let parties = self.cache.parties();
            sessions.sort_by_cached_key(|session| match parties.get(&session.user) {
                None => Turn::Idle,
                Some(true) => Turn::Ringing,
                Some(false) => Turn::Active,
            });
            sessions.truncate(share);
            for session in sessions {
                metrics::session_drained();
                session.sender().release(Departure::Drained);
                // Away at once, and no phone waits for a store that fails.
                let leaving = Arc::clone(self);
                farewells.spawn(async move { leaving.connections.disconnect(&session, Departure::Drained).await });
            }
            tokio::time::sleep(TICK).await;
        }
        let forgotten = async { while farewells.join_next().await.is_some() {} };
        if tokio::time::timeout(FORGOTTEN_WITHIN, forgotten).await.is_err() {
            tracing::warn!("some sessions could not be removed, other nodes sweep them");
            self.registration.leave_the_lease();
        }
    }

    /// Takes leave of every session and of the lease: a stopping node leaves nothing for others to sweep.
    pub async fn leave(self: &Arc<Self>) {
        let sessions = self.local.all();
        stream::iter(sessions)
            .for_each_concurrent(AT_ONCE, |session| async move {
                self.connections.disconnect(&session, Departure::Stopped).await
            })
            .await;
        // A registration of all that is under way removes what has left meanwhile, unless it is cut short by the stop.
        if !self.lease.comes_to_rest().await {
            self.registration.leave_the_lease();
        }
        // What the store fails others sweep, since the lease stays.
        stream::iter(self.registration.leftovers())
            .for_each_concurrent(AT_ONCE, |left| async move { drop(self.connections.absences.take_leave(&left).await) })
            .await;
        self.timeline.flush().await;
        // Of a lease that expired others sweep what is left; without a lease nobody knows that it is.
        if self.registration.leaves_something() {
            tracing::warn!("some sessions may not be removed, the lease is left to expire");
        } else if let Err(error) = self.sessions.retire(&self.node.id).await {
            tracing::debug!(%error, "ending the lease failed, it expires by itself");
        }
    }
}
