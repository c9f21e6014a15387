//! What operators say and ask.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::call::Statistics;
use crate::signaling::connections::Leaving;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::signaling::use_cases::Retrying;
use crate::store::{CallStore, DeadLetter, Outbox, Replayed, SessionStore, StoreError, Which};

/// What operators say and ask.
pub struct Operators {
    pub(in crate::signaling) node: Arc<NodeContext>,
    pub(in crate::signaling) outbox: Arc<dyn Outbox>,
    pub(in crate::signaling) calls: Arc<dyn CallStore>,
    pub(in crate::signaling) sessions: Arc<dyn SessionStore>,
    pub(in crate::signaling) local: Arc<LocalSessions>,
    pub(in crate::signaling) leaving: Arc<Leaving>,
    pub(in crate::signaling) retrying: Arc<Retrying>,
}

impl Operators {
    /// Has dead letters sent again, some at most.
    pub async fn replay_dead_letters(&self, which: &Which) -> Result<Replayed, StoreError> {
        let (outbox, which, now) = (Arc::clone(&self.outbox), which.clone(), self.node.now());
        self.node.to_its_end(async move { outbox.replay(&which, now).await }).await
    }

    /// Takes back that a receiver wants nothing more.
    pub async fn webhooks_on(&self) -> Result<(), StoreError> {
        let outbox = Arc::clone(&self.outbox);
        self.node.to_its_end(async move { outbox.switch_off(None).await }).await
    }

    /// Closes the transports of this node's sessions evenly over `window`.
    pub async fn drain(&self, window: Duration) {
        let leaving = Arc::clone(&self.leaving);
        self.node.to_its_end(async move { leaving.drain(window).await }).await;
    }

    /// Waits until no command waits for the store any more, for so long at most.
    pub async fn finish_commands(&self, patience: Duration) {
        let retrying = Arc::clone(&self.retrying);
        self.node.to_its_end(async move { retrying.finish(patience).await }).await;
    }

    /// Takes leave of every session and of the lease: a stopping node leaves nothing for others to sweep.
    pub async fn leave(&self) {
        let leaving = Arc::clone(&self.leaving);
        self.node.to_its_end(async move { leaving.leave().await }).await;
    }

    /// The newest outbox messages that were given up.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.outbox.dead_letters(limit).await
    }

    /// Users with a session and live calls, of the whole cluster.
    pub async fn counts(&self) -> Result<(u64, u64), StoreError> {
        let (users, calls) = tokio::join!(self.sessions.online_count(), self.calls.live_calls());
        Ok((users?, calls?))
    }

    /// What calls were like that ended in these minutes since 1970.
    pub async fn statistics(&self, minutes: RangeInclusive<u64>) -> Result<Statistics, StoreError> {
        let counts = self.calls.counts(minutes).await?;
        Ok(Statistics::of(counts.iter().map(|(counter, count)| (counter.as_str(), *count))))
    }

    /// Sessions on this node.
    pub fn local_sessions(&self) -> usize {
        self.local.len()
    }
}
