//! After a loss of the store: restarted empty, or a failover that lost the last writes. Nodes put back what they hold
//! of live calls, and no deadline is judged before all of them had the time to.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Signaling;
use crate::call::{Call, CallId, Command, EndReason, Role, Timestamp, What};
use crate::store::{Generation, Restored, StoreError};
use crate::telemetry::metrics;

/// How often a node looks whether its connection to the store was made again.
const LOOK: Duration = Duration::from_millis(100);
/// Within this after one node noticed a loss, all that reach the store have put back what they hold.
const ALL_PUT_BACK: Duration = Duration::from_secs(1);

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
    /// No deadline is judged before.
    quiet_until: Timestamp,
    /// Nothing is decided before, on the clock that counts suspension.
    complete_at: Duration,
}

impl Trust {
    fn is_quiet(&self, now: Timestamp) -> bool {
        self.seen.lock().quiet_until > now
    }
}

impl Signaling {
    /// Notices a loss as soon as the store is reached again.
    pub(super) async fn notice_losses(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.check_connection().await;
        }
    }

    /// False where it is unknown which store this is.
    async fn check_connection(self: &Arc<Self>) -> bool {
        self.trust.seen.lock().connection == self.calls.connection() || self.check_generation().await.is_ok()
    }

    /// After a loss: waits until every node had the time to put back what it holds. Else one that has not heard the last
    /// word of a call would put back what it knows, and decide on that.
    pub(super) async fn all_put_back(self: &Arc<Self>) {
        self.check_connection().await;
        let complete_at = self.trust.seen.lock().complete_at;
        let rest = complete_at.saturating_sub(self.clock.elapsed());
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
    }

    /// Whether what the store says may be the ground of a deadline: it is the one it was, or all nodes had a lease's
    /// time to put back what was lost.
    pub(super) async fn may_judge(self: &Arc<Self>) -> bool {
        self.check_connection().await && !self.trust.is_quiet(self.clock.now())
    }

    /// Asks which store this is. Another than before: writes may be lost.
    pub(super) async fn check_generation(self: &Arc<Self>) -> Result<(), StoreError> {
        let _turn = self.trust.asking.lock().await;
        // Read first: a connection that breaks while it asks is asked about again.
        let connection = self.calls.connection();
        let generation = self.calls.generation().await?;
        let (reconnected, lost) = {
            let mut seen = self.trust.seen.lock();
            let reconnected = std::mem::replace(&mut seen.connection, connection) != connection;
            let before = seen.generation.replace(generation.clone());
            let lost = before.is_some_and(|before| before != generation);
            if lost {
                seen.quiet_until = self.clock.now() + self.policy.lease;
                seen.complete_at = self.clock.elapsed() + ALL_PUT_BACK;
            }
            (reconnected, lost)
        };
        if reconnected || lost {
            // Perhaps registrations were lost.
            self.nodes.register_again();
        }
        if lost {
            metrics::store_lost();
            tracing::error!("the store is another than before or lost writes, putting back what this node holds");
            let signaling = Arc::clone(self);
            self.spawn(async move { signaling.put_back().await });
        }
        Ok(())
    }

    /// Writes the records this node holds where the store has none or an older one.
    async fn put_back(self: &Arc<Self>) {
        let calls = self.watch.remembered(self.clock.now());
        let mut restored = 0;
        for call in &calls {
            match self.restore(call).await {
                Ok(Restored::Known) => {}
                Ok(Restored::PutBack { .. }) => restored += 1,
                Err(error) => {
                    tracing::warn!(call = %call.id, %error, "putting a call back failed, to be repeated");
                    // Asked again with the next renewal, found to be another, and repeated.
                    self.trust.seen.lock().generation = Some(Generation::unknown());
                    return;
                }
            }
        }
        metrics::calls_restored(restored);
        tracing::info!(held = calls.len(), restored, "put calls back");
    }

    /// Puts back a call with all it has to tell the backend, under the same ids.
    async fn restore(self: &Arc<Self>, call: &Call) -> Result<Restored, StoreError> {
        let letters = self.letters(None, call);
        let restored = self.calls.restore(call, &letters).await?;
        if let Restored::PutBack { outlived } = &restored {
            self.note(&call.id, self.milestone(What::Restored));
            self.posted(&letters);
            for (id, by) in outlived {
                self.give_way(id.clone(), *by);
            }
        }
        Ok(restored)
    }

    /// A call whose party has begun another since: it ends as it would have then.
    fn give_way(self: &Arc<Self>, id: CallId, by: Role) {
        if self.watch.has_ended(&id) {
            // Put back with its true end by and by.
            return;
        }
        let signaling = Arc::clone(self);
        self.spawn(async move {
            // Refused where it ended by itself; where the store fails it has no line, and its deadline ends it.
            let _ = signaling.transition(&id, &Command::Preempt { by }).await;
        });
    }

    /// Puts back a call that this node holds and the store has lost, unless another did meanwhile; false where nothing
    /// was lost.
    pub(super) async fn put_back_one(self: &Arc<Self>, id: &CallId) -> bool {
        let Some(call) = self.watch.last_seen(id) else { return false };
        self.may_have_lost().await && self.restore(&call).await.is_ok()
    }

    /// Whether the store lost something a moment ago, or can't say.
    pub(super) async fn may_have_lost(self: &Arc<Self>) -> bool {
        self.check_generation().await.is_err() || self.trust.is_quiet(self.clock.now())
    }

    /// A live call that is gone from the store though nothing was lost: it ended where nobody told this node, long ago.
    pub(super) async fn is_gone(self: &Arc<Self>, call: &Call) -> bool {
        !self.may_have_lost().await && matches!(self.calls.load(&call.id).await, Ok(None))
    }

    /// Tells the sessions here the end of a call of which nobody knows how it ended.
    pub(super) fn tell_gone(self: &Arc<Self>, call: &Call) {
        let now = self.clock.now();
        let (reason, at) = if call.is_ringing() {
            (EndReason::NoAnswer, call.ring_until.min(now))
        } else {
            (EndReason::Lost { party: Role::Caller }, now)
        };
        let mut ended = call.ended(reason, None, None, at);
        ended.version = call.version.next(0);
        self.learn(&ended);
    }
}
