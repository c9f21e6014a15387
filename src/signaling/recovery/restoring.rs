//! After a loss of the store: restarted empty, or a failover that lost the last writes. Nodes restore what they hold
//! of live calls; nothing is decided and no deadline judged before all of them had the time to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::Vouching;
use crate::call::{Audience, Call, NodeId, State, UserId};
use crate::signaling::call_cache::CallCache;
use crate::signaling::calls::{Calls, ended_unheard};
use crate::signaling::cluster::{Members, StoreIdentity, StoreLost};
use crate::signaling::delivery::Delivery;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{CallStore, Generation, PutBack, StoreError};
use crate::telemetry::metrics;

/// While the store takes writes, the others have so long to put back what they hold: longer than until the next renewal of
/// their leases, which is when they notice the loss at the latest.
const ALL_PUT_BACK: Duration = Duration::from_secs(4);
/// What the store fails is repeated for so long.
const INSISTS_FOR: Duration = Duration::from_secs(30);
const INSISTS_EVERY: Duration = Duration::from_millis(100);
/// How often a node that is done looks for those who are not.
const DONE_LOOK: Duration = Duration::from_millis(50);
/// A look counts as no more of that time: this node may have stood still.
const LOOK_COUNTS: Duration = Duration::from_millis(200);
/// Calls that are restored at the same time.
const AT_ONCE: usize = 64;

/// Restores what this node holds.
pub struct Restoring {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub cache: Arc<CallCache>,
    pub local: Arc<LocalSessions>,
    pub members: Arc<Members>,
    pub identity: Arc<StoreIdentity>,
    pub calls: Arc<Calls>,
    pub delivery: Arc<Delivery>,
}

/// Begins what follows a loss.
pub struct Losses {
    pub restoring: Arc<Restoring>,
    pub vouching: Arc<Vouching>,
}

impl Losses {
    /// Takes up each loss that is noticed.
    pub async fn keep_restoring(self, mut losses: mpsc::Receiver<StoreLost>) {
        while let Some(StoreLost { generation, known }) = losses.recv().await {
            let node = &self.restoring.node;
            node.spawn(Arc::clone(&self.vouching).sort_out_revived(generation.clone(), known));
            node.spawn(Arc::clone(&self.restoring).restore_held(generation));
        }
    }
}

impl Restoring {
    /// Writes the records this node holds where the store has none or an older one, then waits for the others: first all
    /// write what their phones were told, then what they only heard of, where nobody claims the lines. A node that comes
    /// when the others no longer wait for it, say since it stood still, only heard of its calls too.
    async fn restore_held(self: Arc<Self>, generation: Generation) {
        let _restoring = self.identity.restoring();
        let (mut had, others) = (Duration::ZERO, self.members.others_lately());
        let begins = || self.store.have_put_back(&generation, &self.node.id, PutBack::Nothing);
        let Some(said) = self.insist(begins).await else { return };
        let decided_since = said.decided_since;
        let calls = self.cache.remembered(self.node.now());
        let held = calls.len();
        // Without a session of either party nobody told this node how the call went on.
        let is_here = |call: &Call| [&call.caller, &call.callee].iter().any(|party| self.local.holds(&party.user));
        let is_told = |call: &Arc<Call>| !call.is_live() || decided_since.is_none() && is_here(call);
        let (told, heard): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_told);
        // What sessions here have turned to is no newer than the next call, though nobody holds its record any more.
        self.insist(|| self.store.raise_order(self.cache.newest_order())).await;
        let mut restored = self.restore_all(told).await;
        self.have_put_back(&generation, PutBack::Told, &others, &mut had).await;
        // By then others have answered that there is no such call.
        let is_denied = decided_since.is_some_and(|since| since >= self.node.policy.lease);
        let too_late = |call: &Arc<Call>| call.is_ringing() && is_denied;
        let (missed, heard): (Vec<_>, Vec<_>) = self.with_free_lines(heard).await.into_iter().partition(too_late);
        let vouched = |call: &Arc<Call>| !is_denied && is_here(call);
        let heard = heard.into_iter().map(|call| if vouched(&call) { call } else { call_only_heard_of(call) });
        restored += self.restore_all(heard.collect()).await;
        self.miss(&missed).await;
        self.have_put_back(&generation, PutBack::All, &others, &mut had).await;
        // Said before anything is decided: who comes later knows that it is late.
        self.insist(|| self.store.have_put_back(&generation, &self.node.id, PutBack::Decides)).await;
        metrics::calls_restored(restored);
        tracing::info!(held, restored, "put calls back");
    }

    /// Says that this node has put back so much, and waits until the others known have, or had the time to: one may have
    /// died with the store.
    async fn have_put_back(&self, generation: &Generation, done: PutBack, others: &[NodeId], had: &mut Duration) {
        let mut looked = self.node.clock.elapsed();
        while *had < ALL_PUT_BACK {
            match self.store.have_put_back(generation, &self.node.id, done).await {
                Ok(said) => {
                    let is_done = |other| said.nodes.iter().any(|(node, put_back)| node == other && *put_back >= done);
                    if others.iter().all(is_done) {
                        return;
                    }
                    *had += self.node.since(looked).min(LOOK_COUNTS);
                }
                // Where it takes no writes, nobody has put back anything: they have their time after that.
                Err(_) => *had = Duration::ZERO,
            }
            looked = self.node.clock.elapsed();
            tokio::time::sleep(DONE_LOOK).await;
        }
        // Some may still come.
        self.identity.rest_for(self.node.policy.lease);
    }

    /// Repeats what the store fails. Given up, it is found to be another with the next renewal, and all is repeated.
    async fn insist<T, F>(&self, mut attempt: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = self.node.clock.elapsed();
        loop {
            match attempt().await {
                Ok(done) => return Some(done),
                Err(error) if self.node.since(began) > INSISTS_FOR => {
                    tracing::debug!(%error, "putting calls back failed, to be repeated");
                    self.identity.is_unknown();
                    return None;
                }
                Err(_) => tokio::time::sleep(INSISTS_EVERY).await,
            }
        }
    }

    async fn restore_all(&self, calls: Vec<Arc<Call>>) -> u64 {
        let restoring = stream::iter(calls).map(|call| {
            let calls = &self.calls;
            async move {
                let restored = self.insist(|| calls.restore(&call)).await;
                u64::from(restored.is_some_and(|restored| restored.written))
            }
        });
        restoring.buffer_unordered(AT_ONCE).fold(0, |sum, one| async move { sum + one }).await
    }

    /// Those whose lines no other call has.
    async fn with_free_lines(&self, mut calls: Vec<Arc<Call>>) -> Vec<Arc<Call>> {
        let users: Vec<UserId> =
            calls.iter().flat_map(|call| [call.caller.user.clone(), call.callee.user.clone()]).collect();
        let Some(lines) = self.insist(|| self.store.lines(&users)).await else { return Vec::new() };
        let mut pairs = lines.chunks_exact(2);
        calls.retain(|call| pairs.next().is_some_and(|pair| pair.iter().flatten().all(|id| *id == call.id)));
        calls
    }

    /// Ends the rings that no other node has put back, as unanswered.
    async fn miss(&self, rings: &[Arc<Call>]) {
        for rings in rings.chunks(AT_ONCE) {
            let ids: Vec<_> = rings.iter().map(|call| call.id.clone()).collect();
            // With the store away they are compared later, and found to be gone.
            let Ok(stored) = self.store.versions(&ids).await else { return };
            for (call, _) in rings.iter().zip(stored).filter(|(_, stored)| stored.is_none()) {
                let missed = ended_unheard(call, self.node.now());
                if self.calls.restore(&missed).await.is_ok_and(|restored| restored.written) {
                    tracing::warn!(call = %call.id, "a ring is put back too late: it ends as unanswered");
                    self.delivery.tell(&missed, Audience::BOTH).await;
                }
            }
        }
    }
}

/// A call that this node only heard of: an accepted one may have ended since, and those who knew be gone.
fn call_only_heard_of(call: Arc<Call>) -> Arc<Call> {
    let State::Active { accepted_at, until, .. } = call.state else { return call };
    let state = State::Active { accepted_at, until, doubtful: true };
    Arc::new(Call { unvouched: true, state, ..Call::clone(&call) })
}
