//! A store that came back older holds calls as live that ended since. What ended within a minute its nodes still know and
//! put back; for the rest they vouch for the accepted calls that have a session with them, and an accepted call that
//! nobody knows is doubtful from then on: the backend is asked about it, and it yields to any new call.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::Healing;
use crate::call::{CallId, Command, State, Timestamp};
use crate::signaling::backend::Inquiries;
use crate::signaling::cluster::StoreIdentity;
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;
use crate::store::{CallStore, Generation, StoreError};
use crate::telemetry::metrics;

/// Between two attempts to vouch.
const AGAIN: Duration = Duration::from_millis(250);
/// Nodes do not look through the calls all at the same time: the first leaves little to the others.
const JITTER: Duration = Duration::from_secs(1);
const BITE: usize = 64;
const BITE_PAUSE: Duration = Duration::from_millis(20);
const AT_ONCE: usize = 8;
/// A call that was accepted later is new, or ended so lately that a node remembers it.
const REMEMBERED: Duration = Duration::from_secs(60);
/// A node that notices so late judges nothing: of the calls that were accepted since, nobody vouched for any.
const JUDGED_WITHIN: Duration = Duration::from_secs(300);

/// Vouches for the calls that this node knows.
pub struct Vouching {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub identity: Arc<StoreIdentity>,
    pub commands: Arc<Commands>,
    pub inquiries: Arc<Inquiries>,
    pub healing: Arc<Healing>,
}

impl Vouching {
    /// After a loss: vouches for the calls that are known here, and once all nodes had the time to, doubts the others. Another
    /// loss has a task of its own.
    pub async fn sort_out_revived(self: Arc<Self>, generation: Generation, known: Vec<CallId>) {
        while let Err(error) = self.store.vouch(&generation, &known, self.node.now()).await {
            if !self.identity.is_still(&generation) {
                return;
            }
            tracing::debug!(%error, calls = known.len(), "vouching for calls after a loss failed, to be repeated");
            tokio::time::sleep(AGAIN).await;
        }
        // The others notice the loss with the next renewal of their leases, and can vouch since this node could.
        let time = self.node.policy.lease * 3 / 2;
        tokio::time::sleep(time + JITTER.mul_f64(rand::random())).await;
        // Who is waited for has not vouched either.
        while self.identity.is_still(&generation) && self.identity.is_quiet() {
            self.node.clock.sleep(AGAIN).await;
        }
        if !self.identity.is_still(&generation) {
            return;
        }
        match self.doubt_unvouched(&generation).await {
            Ok(0) => {}
            Ok(doubted) => tracing::debug!(doubted, "the store holds accepted calls that no node knows"),
            Err(error) => tracing::debug!(%error, "looking for calls that nobody knows failed"),
        }
        // What was not told while it was unsure.
        self.healing.find_unheard().await;
    }

    async fn doubt_unvouched(&self, generation: &Generation) -> Result<u64, StoreError> {
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
    async fn doubt(&self, id: &CallId, lost_at: Timestamp) -> bool {
        let Ok(Some(call)) = self.store.load(id).await else { return false };
        // Nobody vouched for what still rang when the loss was noticed, however long it had.
        let State::Active { accepted_at, .. } = call.state else { return false };
        if lost_at.since(accepted_at) < REMEMBERED {
            return false;
        }
        // Refused where another node was faster, or it just ended.
        let Ok(call) = self.commands.apply(id, &Command::Doubt).await else { return false };
        metrics::call_doubted();
        tracing::warn!(call = %call.id, "no node knows this accepted call of a store that came back: it is doubtful");
        self.commands.verify(&call);
        let inquiries = Arc::clone(&self.inquiries);
        self.node.spawn(async move { inquiries.ask_about_doubtful(&call).await });
        true
    }
}
