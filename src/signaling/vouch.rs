//! A store that came back older holds calls as live that ended since. What ended within a minute its nodes still know and
//! put back; for the rest they vouch for the accepted calls that have a session with them, and an accepted call that
//! nobody knows is doubtful from then on: the backend is asked about it, and it yields to any new call.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Node;
use super::ledger::decided_elsewhere;
use crate::call::{Call, CallId, Command, SealedToken, State, Timestamp};
use crate::store::{Generation, StoreError};
use crate::telemetry::metrics;

/// Between two attempts to vouch.
const AGAIN: Duration = Duration::from_millis(250);
/// Nodes do not look through the calls all at the same time: the first leaves little to the others.
const JITTER: Duration = Duration::from_secs(1);
const BITE: usize = 64;
const BITE_PAUSE: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 8;
/// A call that began later is new, or ended so lately that a node remembers it.
const REMEMBERED: Duration = Duration::from_secs(60);
/// A node that notices so late judges nothing: of the calls that began since, nobody vouched for any.
const JUDGED_WITHIN: Duration = Duration::from_secs(60);
/// Questions to an unmodified backend that does not answer.
const QUESTIONS: u32 = 3;
const QUESTION_PATIENCE: Duration = Duration::from_secs(4);
const QUESTION_PAUSE: Duration = Duration::from_secs(5);

impl Node {
    /// After a loss: vouches for the calls that are known here, and once all nodes had the time to, doubts the others.
    /// Boxed, since what it decides may notice the next loss.
    pub(super) fn sort_out_revived(self: Arc<Self>, generation: Generation) -> BoxFuture<'static, ()> {
        // At once: what is read from now on may be from before.
        let known = self.known_active();
        let judged_at = self.node.clock.elapsed() + self.node.policy.lease * 3 / 2;
        Box::pin(async move {
            while let Err(error) = self.store.vouch(&generation, &known).await {
                if self.node.clock.elapsed() >= judged_at {
                    tracing::error!(%error, calls = known.len(), "vouching for calls after a loss failed");
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
            let rest = judged_at.saturating_sub(self.node.clock.elapsed());
            tokio::time::sleep(rest + JITTER.mul_f64(rand::random())).await;
            match self.doubt_unvouched(&generation).await {
                Ok(0) => {}
                Ok(doubted) => tracing::debug!(doubted, "the store holds accepted calls that no node knows"),
                Err(error) => tracing::debug!(%error, "looking for calls that nobody knows failed"),
            }
            // What was not told while it was unsure.
            self.find_unheard().await;
        })
    }

    fn known_active(&self) -> Vec<CallId> {
        let remembered = self.cache.remembered(self.node.now()).into_iter();
        let is_here = |call: &Call| [&call.caller, &call.callee].iter().any(|party| self.local.holds(&party.user));
        let known = remembered.filter(|call| matches!(call.state, State::Active { .. }) && is_here(call));
        known.map(|call| call.id.clone()).collect()
    }

    /// Whether a call that the store says is accepted may have ended long ago: nothing is told of it then.
    pub(super) fn may_be_revived(&self, call: &Call) -> bool {
        let unsure = || self.trust.is_quiet(self.node.clock.uptime()) && self.cache.last_seen(&call.id).is_none();
        matches!(call.state, State::Active { .. }) && (call.unvouched || unsure())
    }

    async fn doubt_unvouched(self: &Arc<Self>, generation: &Generation) -> Result<u64, StoreError> {
        let (mut from, mut doubted) = (0, 0);
        loop {
            let bite = self.store.unvouched(generation, from, BITE).await?;
            let Some(lost_at) = bite.lost_at else { return Ok(doubted) };
            if self.node.now().since(lost_at) > JUDGED_WITHIN {
                return Ok(doubted);
            }
            doubted += stream::iter(bite.calls)
                .map(|id| async move { u64::from(self.doubt(&id, lost_at).await) })
                .buffer_unordered(AT_ONCE)
                .fold(0, |sum, one| async move { sum + one })
                .await;
            let Some(next) = bite.next else { return Ok(doubted) };
            from = next;
            tokio::time::sleep(BITE_PAUSE).await;
        }
    }

    /// True where this node doubted it, and asks about it.
    async fn doubt(self: &Arc<Self>, id: &CallId, lost_at: Timestamp) -> bool {
        let Ok(Some(call)) = self.store.load(id).await else { return false };
        let is_old = lost_at.since(call.created_at) >= REMEMBERED;
        if !is_old || !matches!(call.state, State::Active { .. }) {
            return false;
        }
        // Refused where another node was faster, or it just ended.
        let Ok(call) = self.transition(id, &Command::Doubt).await else { return false };
        metrics::call_doubted();
        tracing::warn!(call = %call.id, "no node knows this accepted call of a store that came back: it is doubtful");
        self.verify(&call);
        let signaling = Arc::clone(self);
        self.node.spawn(async move { signaling.ask_about(&call).await });
        true
    }

    /// Ends a doubtful call whose row at an unmodified backend is final. Without an answer it stays as it is, and is
    /// asked about again by whoever finds it on his line.
    async fn ask_about(self: &Arc<Self>, call: &Call) {
        if self.ledger.is_none() {
            return;
        }
        let tokens: Vec<SealedToken> = call.caller.tokens.iter().chain(&call.callee.tokens).cloned().collect();
        for _ in 0..QUESTIONS {
            let asked = self.ask(&call.known_id(), &tokens, QUESTION_PATIENCE).await;
            if let Some(decided) = decided_elsewhere(call, &asked) {
                if let Some(command) = decided {
                    drop(self.transition(&call.id, &command).await);
                }
                return;
            }
            tokio::time::sleep(QUESTION_PAUSE).await;
        }
    }
}
