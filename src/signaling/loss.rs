//! After a loss of the store: restarted empty, or a failover that lost the last writes. Nodes put back what they hold
//! of live calls; nothing is decided and no deadline judged before all of them had the time to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use super::Node;
use super::delivery::Audience;
use crate::call::{Call, CallId, EndReason, NodeId, Role, State, Timestamp, UserId, What};
use crate::clock::Clock;
use crate::store::{Generation, PutBack, Restored, StoreError};
use crate::telemetry::metrics;

/// How often a node looks whether its connection to the store was made again.
const LOOK: Duration = Duration::from_millis(100);
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
/// Longer than that a decision does not wait: a store that takes no writes is not put back.
const DECISIONS_WAIT: Duration = Duration::from_secs(8);
/// After calls are put back, so long is left for what was said meanwhile.
const WORDS_FIRST: Duration = Duration::from_secs(2);
/// How often a decision looks whether this node is done with it.
const PAUSE: Duration = Duration::from_millis(10);
/// Calls that are put back at the same time.
const AT_ONCE: usize = 64;

/// What this node last saw of the store's identity.
#[derive(Default)]
pub(super) struct Trust {
    seen: Mutex<Seen>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Seen {
    generation: Option<Generation>,
    connection: u64,
    /// No deadline is judged before, by the monotonic clock.
    quiet_until: Duration,
    /// Nothing is decided while this node puts back what it holds and waits for the others, perhaps for several losses.
    putting_back: usize,
}

/// Ends when calls are put back, however that ends.
struct AtWork<'a> {
    trust: &'a Trust,
    clock: &'a Clock,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        // What was said meanwhile is tried before any deadline is judged.
        self.trust.rest_until(self.clock.uptime() + WORDS_FIRST);
        self.trust.seen.lock().putting_back -= 1;
    }
}

impl Trust {
    /// Judges no deadline before that.
    fn rest_until(&self, until: Duration) {
        let quiet_until = &mut self.seen.lock().quiet_until;
        *quiet_until = until.max(*quiet_until);
    }

    pub(super) fn is_quiet(&self, now: Duration) -> bool {
        let seen = self.seen.lock();
        seen.putting_back > 0 || seen.quiet_until > now
    }
}

impl Node {
    /// Notices a loss as soon as the store is reached again.
    pub(super) async fn notice_losses(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            // Asked again with the next look.
            drop(self.check_connection().await);
        }
    }

    /// Asks which store this is, if the connection to it was made again since.
    async fn check_connection(self: &Arc<Self>) -> Result<(), StoreError> {
        let is_known = || self.trust.seen.lock().connection == self.store.connection();
        if is_known() {
            return Ok(());
        }
        let turn = self.trust.asking.lock().await;
        if is_known() { Ok(()) } else { self.ask_generation(&turn).await }
    }

    /// Before a decision: waits for the store, and after a loss until every node had the time to put back what it holds.
    /// Else one that missed the last word of a call would put back what it knows, and decide on that.
    pub(super) async fn all_put_back(self: &Arc<Self>) -> Result<(), StoreError> {
        self.store.reached().await?;
        self.check_connection().await?;
        let began = self.node.clock.elapsed();
        while self.trust.seen.lock().putting_back > 0 {
            if self.node.since(began) > DECISIONS_WAIT {
                return Err(StoreError::Unavailable("it is not put back yet".into()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Whether what the store says may be the ground of a deadline: it is the one it was, or all nodes had a lease's
    /// time to put back what was lost.
    pub(super) async fn may_judge(self: &Arc<Self>) -> bool {
        self.check_connection().await.is_ok() && !self.trust.is_quiet(self.node.clock.uptime())
    }

    /// Asks which store this is. Another than before: writes may be lost.
    pub(super) async fn check_generation(self: &Arc<Self>) -> Result<(), StoreError> {
        let turn = self.trust.asking.lock().await;
        self.ask_generation(&turn).await
    }

    async fn ask_generation(self: &Arc<Self>, _turn: &MutexGuard<'_, ()>) -> Result<(), StoreError> {
        // Read first: a connection that breaks while it asks is asked about again.
        let connection = self.store.connection();
        let generation = self.store.generation().await?;
        let is_first = self.trust.seen.lock().generation.is_none();
        let lost_lately = is_first && self.was_lost_lately(&generation).await?;
        let (reconnected, lost) = {
            let mut seen = self.trust.seen.lock();
            let reconnected = std::mem::replace(&mut seen.connection, connection) != connection;
            let before = seen.generation.replace(generation.clone());
            let lost = before.map_or(lost_lately, |before| before != generation);
            if lost {
                seen.quiet_until = self.node.clock.uptime() + self.node.policy.lease;
                seen.putting_back += 1;
            }
            (reconnected, lost)
        };
        if reconnected || lost {
            // Perhaps registrations were lost.
            self.registration.register_again();
        }
        if lost {
            metrics::store_lost();
            tracing::error!("the store is another than before or lost writes, putting back what this node holds");
            // Before anything is read: it may be from before what this node knows.
            self.registration.begin_anew();
            self.node.spawn(Arc::clone(self).sort_out_revived(generation.clone()));
            self.node.spawn(Arc::clone(self).put_back(generation));
        }
        Ok(())
    }

    /// Whether a node that begins meets others that are putting back.
    async fn was_lost_lately(&self, generation: &Generation) -> Result<bool, StoreError> {
        let lost_at = self.store.unvouched(generation, 0, 1).await?.lost_at;
        Ok(lost_at.is_some_and(|at| self.node.now().since(at) < self.node.policy.lease))
    }

    /// Writes the records this node holds where the store has none or an older one, then waits for the others: first all
    /// write what their phones were told, then what they only heard of, where nobody claims the lines. A node that comes
    /// when the others no longer wait for it, say since it stood still, only heard of its calls too.
    fn put_back(self: Arc<Self>, generation: Generation) -> BoxFuture<'static, ()> {
        let work = async move {
            let _at_work = AtWork { trust: &self.trust, clock: &self.node.clock };
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
            let heard = heard.into_iter().map(|call| if vouched(&call) { call } else { unvouched(call) });
            restored += self.restore_all(heard.collect()).await;
            self.miss(&missed).await;
            self.have_put_back(&generation, PutBack::All, &others, &mut had).await;
            // Said before anything is decided: who comes later knows that it is late.
            self.insist(|| self.store.have_put_back(&generation, &self.node.id, PutBack::Decides)).await;
            metrics::calls_restored(restored);
            tracing::info!(held, restored, "put calls back");
        };
        Box::pin(work)
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
        self.trust.rest_until(self.node.clock.uptime() + self.node.policy.lease);
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
                    self.trust.seen.lock().generation = Some(Generation::unknown());
                    return None;
                }
                Err(_) => tokio::time::sleep(INSISTS_EVERY).await,
            }
        }
    }

    async fn restore_all(self: &Arc<Self>, calls: Vec<Arc<Call>>) -> u64 {
        let restoring = stream::iter(calls).map(|call| {
            let signaling = Arc::clone(self);
            async move {
                let restored = signaling.insist(|| signaling.restore(&call)).await;
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
    async fn miss(self: &Arc<Self>, rings: &[Arc<Call>]) {
        for rings in rings.chunks(AT_ONCE) {
            let ids: Vec<_> = rings.iter().map(|call| call.id.clone()).collect();
            // With the store away they are compared later, and found to be gone.
            let Ok(stored) = self.store.versions(&ids).await else { return };
            for (call, _) in rings.iter().zip(stored).filter(|(_, stored)| stored.is_none()) {
                let missed = ended_unheard(call, self.node.now());
                if self.restore(&missed).await.is_ok_and(|restored| restored.written) {
                    tracing::warn!(call = %call.id, "a ring is put back too late: it ends as unanswered");
                    self.tell(&missed, Audience::BOTH).await;
                }
            }
        }
    }

    /// Puts back a call with all it has to tell the backend, under the same ids.
    async fn restore(self: &Arc<Self>, call: &Call) -> Result<Restored, StoreError> {
        let letters = self.messages.of(None, call);
        let restored = self.store.restore(call, &letters).await?;
        if restored.written {
            self.timeline.note(&call.id, self.node.milestone(What::Restored));
            self.messages.posted(&letters);
        }
        if restored.without_line {
            self.node.spawn(Arc::clone(self).settle_soon(call.id.clone()));
        }
        Ok(restored)
    }

    /// Puts back a call that this node holds and the store has lost, unless another did meanwhile; false where nothing
    /// was lost.
    pub(super) async fn put_back_one(self: &Arc<Self>, id: &CallId) -> bool {
        let Some(call) = self.cache.last_seen(id) else { return false };
        self.may_have_lost().await && self.restore(&call).await.is_ok()
    }

    /// Whether the store lost something a moment ago, or can't say.
    pub(super) async fn may_have_lost(self: &Arc<Self>) -> bool {
        self.check_generation().await.is_err() || self.trust.is_quiet(self.node.clock.uptime())
    }

    /// A live call that is gone from the store though nothing was lost: it ended where nobody told this node, long ago.
    pub(super) async fn is_gone(self: &Arc<Self>, call: &Call) -> bool {
        // Read first: the answer may be that of a store that has lost it.
        matches!(self.store.load(&call.id).await, Ok(None)) && !self.may_have_lost().await
    }

    /// Tells the sessions here the end of a call of which nobody knows how it ended.
    pub(super) fn tell_gone(self: &Arc<Self>, call: &Call) {
        let now = self.node.now();
        let ended = ended_unheard(call, now);
        if call.is_ringing() {
            self.learn(&ended);
            return;
        }
        // A record also goes when the maximum is long past, and phones without `acks` may talk for longer.
        self.cache.see(&ended, now);
        let sessions = [&call.caller.user, &call.callee.user].into_iter().flat_map(|user| self.local.of(user));
        for session in sessions.filter(|session| session.acks) {
            self.tell_session(&session, &ended, |_| true);
        }
    }
}

/// The end of a call of which nobody knows how it ended.
fn ended_unheard(call: &Call, now: Timestamp) -> Call {
    let (reason, at) = if call.is_ringing() {
        (EndReason::NoAnswer, call.ring_until.min(now))
    } else {
        (EndReason::Lost { party: Role::Caller }, now)
    };
    let ended = call.ended(reason, None, None, at);
    Call { version: call.version.next(0), ..ended }
}

/// A call that this node only heard of: an accepted one may have ended since, and those who knew be gone.
fn unvouched(call: Arc<Call>) -> Arc<Call> {
    let State::Active { accepted_at, until, .. } = call.state else { return call };
    let state = State::Active { accepted_at, until, doubtful: true };
    Arc::new(Call { unvouched: true, state, ..Call::clone(&call) })
}
