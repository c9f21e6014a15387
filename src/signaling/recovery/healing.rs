//! A lost envelope heals: nodes compare the calls of their own sessions with the store.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Audience, Call, State};
use crate::fault_injection::{self, Bug};
use crate::signaling::call_cache::CallCache;
use crate::signaling::calls::Calls;
use crate::signaling::delivery::{Delivery, DirectDelivery};
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{CallStore, StoreError};
use crate::telemetry::metrics;

const TICK: Duration = Duration::from_millis(500);
const RUNG_AGAIN_FOR: Duration = Duration::from_secs(7);
const UNHEARD_FOR: Duration = Duration::from_secs(60);
const COMPARED_AT_ONCE: usize = 256;

/// Compares calls with the store.
pub struct Healing {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub cache: Arc<CallCache>,
    pub local: Arc<LocalSessions>,
    pub calls: Arc<Calls>,
    pub delivery: Arc<Delivery>,
    pub direct: Arc<DirectDelivery>,
}

impl Healing {
    pub async fn keep_comparing(self: Arc<Self>) {
        loop {
            self.node.clock.sleep(TICK).await;
            let now = self.node.now();
            self.cache.count();
            metrics::users(self.local.users());
            let calls = self.cache.take_unchecked(now, self.node.policy.heal_ringing, self.node.policy.heal_active);
            self.compare(&calls).await;
        }
    }

    /// A lost `call:incoming` leaves no trace at the node it was for: as long as no device confirmed the ring, the
    /// caller's node tells it again for some seconds. Who heard it stays quiet.
    fn may_not_have_rung(&self, call: &Call) -> bool {
        let young = self.node.now().since(call.created_at) < RUNG_AGAIN_FOR;
        call.state == State::Trying && young && self.local.holds(&call.caller.user)
    }

    /// Compares everything at once, after messages may have been lost.
    pub async fn compare_all(&self) {
        let calls = self.cache.take_unchecked(self.node.now(), Duration::ZERO, Duration::ZERO);
        self.compare(&calls).await;
    }

    /// A call that began while nothing was heard is not watched here, but on the line of a user who is here. Where nothing
    /// is heard the store often fails too: looked for again until it answers, for as long as a ring may last.
    pub async fn find_unheard(&self) {
        let began = self.node.clock.elapsed();
        while self.look_for_unheard().await.is_err() && self.node.since(began) < UNHEARD_FOR {
            tokio::time::sleep(TICK).await;
        }
    }

    async fn look_for_unheard(&self) -> Result<(), StoreError> {
        if fault_injection::is_on(Bug::DropEnvelopes) {
            return Ok(());
        }
        for users in self.local.names().chunks(COMPARED_AT_ONCE) {
            let lines = self.store.lines(users).await?;
            for id in lines.into_iter().flatten().filter(|id| self.cache.last_seen(id).is_none()) {
                let call = match self.store.load(&id).await {
                    Ok(call) => call,
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    Err(_) => None,
                };
                if let Some(call) = call.filter(|call| call.is_live() && !self.calls.identity.may_be_revived(call)) {
                    self.delivery.learn_healed(&call).await;
                    // What was said in it meanwhile was heard no more than the call.
                    let stored = self.store.versions(std::slice::from_ref(&id)).await?;
                    if let Some((_, kept)) = stored.into_iter().next().flatten() {
                        self.direct.heal(&call, kept);
                    }
                }
            }
        }
        Ok(())
    }

    async fn compare(&self, calls: &[Arc<Call>]) {
        if fault_injection::is_on(Bug::DropEnvelopes) {
            return;
        }
        for calls in calls.chunks(COMPARED_AT_ONCE) {
            let ids: Vec<_> = calls.iter().map(|call| call.id.clone()).collect();
            let Ok(stored) = self.store.versions(&ids).await else { return };
            for (call, stored) in calls.iter().zip(stored) {
                if let Some((_, kept)) = stored {
                    self.direct.heal(call, kept);
                }
                match stored {
                    Some((version, _)) if version == call.version => {
                        if self.cache.is_untold(&call.id) {
                            // A node that has never heard of it has nothing to compare: told until all of them have.
                            self.delivery.tell(call, Audience::BOTH).await;
                        } else if !self.calls.identity.is_told_of(call) {
                            // Nobody here has to do with it: the index has its deadline. But others may not hold it yet.
                            if !self.calls.identity.was_lost_lately() {
                                self.cache.forget(&call.id);
                            }
                        } else if self.may_not_have_rung(call) {
                            self.delivery.tell(call, Audience::CALLEE).await;
                        }
                    }
                    Some(_) => {
                        let Ok(Some(newer)) = self.store.load(&call.id).await else { continue };
                        self.delivery.learn_healed(&newer).await;
                    }
                    None => {
                        if self.calls.is_gone(call).await {
                            tracing::warn!(call = %call.id, "a live call is gone from the store");
                            self.delivery.tell_gone(call);
                        }
                    }
                }
            }
        }
    }
}
