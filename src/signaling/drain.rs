//! A node that stops lets its phones go, little by little: they come back elsewhere by themselves.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Node;
use crate::telemetry::metrics::{self, Departure};

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

impl Node {
    /// Closes the transports of this node's sessions evenly over `window`: idle ones first, parties of ringing calls
    /// next, of accepted ones last. What a phone does meanwhile may change its turn.
    pub(super) async fn drain(self: &Arc<Self>, window: Duration) {
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
                session.release(Departure::Drained);
                // Away at once, and no phone waits for a store that fails.
                let signaling = Arc::clone(self);
                farewells.spawn(async move { signaling.disconnect(&session, Departure::Drained).await });
            }
            tokio::time::sleep(TICK).await;
        }
        let forgotten = async { while farewells.join_next().await.is_some() {} };
        if tokio::time::timeout(FORGOTTEN_WITHIN, forgotten).await.is_err() {
            tracing::warn!("some sessions could not be removed, other nodes sweep them");
            self.registration.leave_the_lease();
        }
    }
}
