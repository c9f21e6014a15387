//! After a loss of the store: restarted empty, or a failover that lost the last writes. Nodes restore what they hold
//! of live calls; nothing is decided and no deadline judged before all of them had the time to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::Vouching;
use super::stragglers::{LOOK_COUNTS, all_have, await_rest};
use crate::call::{Audience, Call, CallId, NodeId, State, Timestamp, UserId};
use crate::signaling::call_cache::CallCache;
use crate::signaling::calls::{Calls, ended_busy, ended_unheard};
use crate::signaling::cluster::{Members, StoreIdentity, StoreLost};
use crate::signaling::delivery::Delivery;
use crate::signaling::node::NodeContext;
use crate::store::{CallStore, Generation, RestoreReports, RestoreStage, StoreError};
use crate::telemetry::metrics;

/// While the store takes writes, the others have so long to put back what they hold: longer than until the next renewal of
/// their leases, which is when they notice the loss at the latest.
const ALL_RESTORED: Duration = Duration::from_secs(4);
/// Of that, so long at least for what others only heard of: they all begin with it when they have given up the same dead node.
const HEARD_OF_RESTORED: Duration = Duration::from_secs(1);
/// Who comes late puts back so long before the others stop waiting for it.
const IN_TIME: Duration = Duration::from_secs(2);
/// What the store fails is repeated for so long.
const INSISTS_FOR: Duration = Duration::from_secs(30);
const INSISTS_EVERY: Duration = Duration::from_millis(100);
/// How often a node that is done looks for those who are not.
const DONE_LOOK: Duration = Duration::from_millis(50);
/// Calls that are restored at the same time.
const AT_ONCE: usize = 64;

/// Restores what this node holds.
pub struct Restoring {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub cache: Arc<CallCache>,
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
        while let Some(StoreLost { generation, known, began_since }) = losses.recv().await {
            let node = &self.restoring.node;
            node.spawn(Arc::clone(&self.vouching).sort_out_revived(generation.clone(), known));
            node.spawn(Arc::clone(&self.restoring).restore_held(generation, began_since));
        }
    }
}

impl Restoring {
    /// Puts back what this node holds. Where the store is lost once more meanwhile, what that loss begins puts back the rest:
    /// what was learned of the one before is true no more.
    async fn restore_held(self: Arc<Self>, generation: Generation, began_since: bool) {
        let restoring = self.identity.restoring();
        let others = self.members.others_lately();
        let Some((held, restored)) = self.restore_own(&generation, &others).await else {
            return tracing::info!("putting calls back is not done: the store was lost again, or takes no writes");
        };
        metrics::calls_restored(restored);
        tracing::info!(held, restored, "put calls back");
        let _awaiting = self.identity.awaiting();
        drop(restoring);
        await_rest(&self.node, &*self.store, &self.identity, &generation, (&others, !began_since)).await;
    }

    /// Writes the records this node holds where the store has none or an older one, then waits for the others: first all
    /// write what their phones were told, then what they only heard of, where nobody claims the lines. A node that comes
    /// when the others no longer wait for it, say since it stood still, only heard of its calls too. Returns how many
    /// calls it held and wrote.
    async fn restore_own(&self, generation: &Generation, others: &[NodeId]) -> Option<(usize, u64)> {
        let begins = || self.store.report_restored(generation, &self.node.id, RestoreStage::Nothing);
        let said = self.insist(generation, begins).await?;
        let decided_since = said.decided_since;
        let mut had = ALL_RESTORED - self.time_left(&said);
        let calls = self.cache.remembered(self.node.now());
        let held = calls.len();
        // Without a session of either party nobody told this node how the call went on.
        let is_told = |call: &Arc<Call>| !call.is_live() || decided_since.is_none() && self.identity.is_told_of(call);
        let (told, heard): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_told);
        // What sessions here have turned to is no newer than the next call, though nobody holds its record any more.
        let newest = self.insist(generation, || self.store.raise_order(self.cache.newest_order())).await?;
        self.identity.later_calls_are_new(generation, newest);
        let mut restored = self.restore_all(generation, told).await?;
        self.report_restored(generation, RestoreStage::Told, others, &mut had).await?;
        // Since then others have answered that there is no such call. Not of one that began later, on a server that they had
        // left: nobody who was asked about it can have heard of it.
        let denied_since = self.insist(generation, || self.store.restore_reports(generation)).await?.denied_since;
        let now = self.node.now();
        let is_denied = |call: &Call| denied_since.is_some_and(|since| now.since(call.created_at) >= since);
        let too_late = |call: &Arc<Call>| call.is_ringing() && is_denied(call);
        let taken = self.with_taken_lines(generation, &heard).await?;
        // Another call is its user's now, or one of an old copy that nobody knows: a ring gives way then, of an accepted call
        // that is settled when it is back.
        let gave_way = |call: &Arc<Call>| call.is_ringing() && taken.contains(&call.id);
        let (missed, heard): (Vec<_>, Vec<_>) = heard.into_iter().partition(too_late);
        let (busy, heard): (Vec<_>, Vec<_>) = heard.into_iter().partition(gave_way);
        let is_here = |call: &Arc<Call>| !is_denied(call) && self.identity.is_told_of(call);
        let (here, heard): (Vec<_>, Vec<_>) = heard.into_iter().partition(is_here);
        let heard = stream::iter(heard).map(|call| self.as_far_as_known(call)).buffer_unordered(AT_ONCE);
        let heard: Vec<_> = heard.collect().await;
        restored += self.restore_all(generation, here.into_iter().chain(heard).collect()).await?;
        self.miss(generation, &missed, ended_unheard).await?;
        self.miss(generation, &busy, ended_busy).await?;
        had = had.min(ALL_RESTORED - HEARD_OF_RESTORED);
        self.report_restored(generation, RestoreStage::All, others, &mut had).await?;
        // Said before anything is decided: who comes later knows that it is late.
        self.insist(generation, || self.store.report_restored(generation, &self.node.id, RestoreStage::Decides))
            .await?;
        Some((held, restored))
    }

    /// How long this node may wait for others: those that decide again wait for it no longer than a lease.
    fn time_left(&self, said: &RestoreReports) -> Duration {
        let decide = said.nodes.iter().any(|(_, stage)| *stage >= RestoreStage::Decides);
        let gone = said.decided_since.filter(|_| decide).map(|since| since + IN_TIME);
        gone.map_or(ALL_RESTORED, |gone| self.node.policy.lease.saturating_sub(gone).min(ALL_RESTORED))
    }

    /// Says that this node has put back so much, and waits until the others known have, or had the time to: one may have
    /// died with the store. Nothing where the store was lost again.
    async fn report_restored(
        &self,
        generation: &Generation,
        done: RestoreStage,
        others: &[NodeId],
        had: &mut Duration,
    ) -> Option<()> {
        let mut looked = self.node.clock.elapsed();
        while *had < ALL_RESTORED {
            if !self.identity.is_still(generation) {
                return None;
            }
            match self.store.report_restored(generation, &self.node.id, done).await {
                Ok(said) => {
                    if all_have(&said, others, done) {
                        return Some(());
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
        Some(())
    }

    /// Repeats what the store fails, unless it was lost again. Given up, it is found to be another at once, and all is
    /// repeated: nothing is judged on what nobody has put back.
    async fn insist<T, F>(&self, generation: &Generation, mut attempt: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = self.node.clock.elapsed();
        loop {
            if !self.identity.is_still(generation) {
                return None;
            }
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

    /// How many it wrote.
    async fn restore_all(&self, generation: &Generation, calls: Vec<Arc<Call>>) -> Option<u64> {
        let restoring = stream::iter(calls).map(|call| async move {
            let restored = self.insist(generation, || self.calls.restore(&call)).await?;
            Some(u64::from(restored.written))
        });
        restoring.buffer_unordered(AT_ONCE).fold(Some(0), |sum, one| async move { Some(sum? + one?) }).await
    }

    /// A call that this node only heard of: an accepted one may have ended since, and those who knew be gone. Where a node
    /// with a session of it has put it back as live, it goes on, and this node may know more of it, say who is absent.
    async fn as_far_as_known(&self, call: Arc<Call>) -> Arc<Call> {
        let State::Active { accepted_at, until, .. } = call.state else { return call };
        let stored = self.store.load(&call.id).await.ok().flatten();
        if stored.is_some_and(|stored| stored.is_live() && !stored.unvouched) {
            return call;
        }
        let state = State::Active { accepted_at, until, doubtful: true };
        Arc::new(Call { unvouched: true, state, ..Call::clone(&call) })
    }

    /// Those of which another call has a line.
    async fn with_taken_lines(&self, generation: &Generation, calls: &[Arc<Call>]) -> Option<HashSet<CallId>> {
        let users: Vec<UserId> =
            calls.iter().flat_map(|call| [call.caller.user.clone(), call.callee.user.clone()]).collect();
        let lines = self.insist(generation, || self.store.lines(&users)).await?;
        let pairs = calls.iter().zip(lines.chunks_exact(2));
        let taken = pairs.filter(|(call, pair)| pair.iter().flatten().any(|id| *id != call.id));
        Some(taken.map(|(call, _)| call.id.clone()).collect())
    }

    /// Ends the rings that no other node has put back.
    async fn miss(
        &self,
        generation: &Generation,
        rings: &[Arc<Call>],
        end: fn(&Call, Timestamp) -> Call,
    ) -> Option<()> {
        for rings in rings.chunks(AT_ONCE) {
            let ids: Vec<_> = rings.iter().map(|call| call.id.clone()).collect();
            // With the store away they are compared later, and found to be gone.
            let Ok(stored) = self.store.versions(&ids).await else { return Some(()) };
            // It has none of them if it was lost again.
            if self.identity.check().await.is_err() {
                return Some(());
            }
            if !self.identity.is_still(generation) {
                return None;
            }
            for (call, _) in rings.iter().zip(stored).filter(|(_, stored)| stored.is_none()) {
                let missed = end(call, self.node.now());
                if self.calls.restore(&missed).await.is_ok_and(|restored| restored.written) {
                    let reason = missed.end().map(|end| end.reason.name());
                    tracing::warn!(call = %call.id, reason, "a ring is put back too late or without its line: it is over");
                    self.delivery.tell(&missed, Audience::BOTH).await;
                }
            }
        }
        Some(())
    }
}
