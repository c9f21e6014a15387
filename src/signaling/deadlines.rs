//! Deadlines: a local timer for accuracy, the stored index for certainty. Any node may fire any of them.

use std::sync::Arc;
use std::time::Duration;

use super::{Failure, Node};
use crate::call::{Call, CallId, Command, Refusal, Role, Timestamp, Witness};
use crate::sabotage::{self, Bug};
use crate::telemetry::trace::Kind;
use crate::telemetry::{About, metrics};

/// How often the index is asked for deadlines that nobody's timer fired.
const POLL: Duration = Duration::from_millis(300);
/// How long the nodes that hold the call have before others step in.
const PRECEDENCE: Duration = Duration::from_millis(300);
/// A claimed deadline is offered to others again after this.
const CLAIM: Duration = Duration::from_secs(2);
const CLAIM_AT_ONCE: usize = 128;
/// After the store failed a renewal of this node, all nodes have so long to register who came meanwhile: they do that with
/// their own next renewal.
const REGISTERED_WITHIN: Duration = Duration::from_secs(6);
/// After a deadline that the store failed.
const AGAIN: Duration = Duration::from_millis(500);

impl Node {
    /// Fires the timers of the calls this node has to do with.
    pub(super) async fn fire_timers(self: Arc<Self>) {
        loop {
            let changed = self.cache.changed.notified();
            match self.cache.next_timer() {
                Some(at) => tokio::select! {
                    () = self.node.clock.sleep_until(at) => {}
                    () = changed => continue,
                },
                None => {
                    changed.await;
                    continue;
                }
            }
            for id in self.cache.take_due(self.node.now()) {
                let signaling = Arc::clone(&self);
                self.node.spawn(async move { signaling.expire(&id).await });
            }
        }
    }

    /// Claims overdue deadlines from the index: those of dead or sleeping nodes.
    pub(super) async fn claim_deadlines(self: Arc<Self>) {
        loop {
            self.node.clock.sleep(POLL).await;
            if !self.may_judge().await {
                continue;
            }
            let now = self.node.now();
            let due = Timestamp::from_millis(now.as_millis().saturating_sub(PRECEDENCE.as_millis() as u64));
            match self.store.claim_due(due, now, CLAIM, CLAIM_AT_ONCE).await {
                Ok(claimed) => {
                    for id in claimed {
                        let signaling = Arc::clone(&self);
                        self.node.spawn(async move { signaling.expire(&id).await });
                    }
                }
                Err(error) => {
                    metrics::store_failed();
                    tracing::debug!(%error, "claiming deadlines failed");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Judges a deadline: the rules decide what is due, if anything.
    async fn expire(self: &Arc<Self>, id: &CallId) {
        if sabotage::is_on(Bug::LoseDeadline) {
            return;
        }
        let call = match self.store.load(id).await {
            Ok(Some(call)) => call,
            Ok(None) => {
                if let Some(call) = self.cache.last_seen(id)
                    && self.is_gone(&call).await
                {
                    self.tell_gone(&call);
                }
                return;
            }
            Err(_) => return,
        };
        // Whoever changed it may have told nobody here.
        self.learn_if_watched(&call);
        let Some(deadline) = call.deadline() else { return };
        if deadline > self.node.now() {
            // Offered before its time: it is without a line, perhaps.
            return self.settle_lines(id).await;
        }
        let judged = self.judge_deadline(&call, deadline);
        self.node.traces.run("deadline", Kind::Internal, About::call(id), judged).await;
    }

    async fn judge_deadline(self: &Arc<Self>, call: &Call, deadline: Timestamp) {
        let witness = self.witness(call).await;
        // The last thing before the word: the store may have become another since it was read. Offered again later.
        if !self.may_judge().await {
            return;
        }
        match self.transition(&call.id, &Command::Expire(witness)).await {
            Ok(next) => {
                metrics::timer_fired(self.node.now().since(deadline));
                let asked = |call: &Call| call.inquiry.map_or(0, |inquiry| inquiry.asked);
                if asked(&next) > asked(call) {
                    if next.is_ringing() { self.ask_before_deadline(next) } else { self.ask_about_absent(next) }
                }
            }
            Err(Failure::Refused { refusal: Refusal::NotDue, .. } | Failure::NotFound) => {}
            Err(Failure::Refused { refusal, .. }) => {
                tracing::error!(call = %call.id, ?refusal, "a deadline was refused")
            }
            // The claim runs out and the deadline is offered again.
            Err(Failure::Unavailable | Failure::TooManyRings { .. }) => {}
        }
    }

    /// Reads the sessions once more before anybody is called absent.
    async fn witness(&self, call: &Call) -> Witness {
        let now = self.node.now();
        let unsure = self.registration.had_trouble_within(REGISTERED_WITHIN);
        let mut witness = Witness { storm: self.members.is_mass_disconnect(), unsure, ..Witness::default() };
        let both = call.are_both_away();
        let asked = call.asks_whether_back(now);
        if both || asked == Some(Role::Caller) || call.caller.grace_until.is_some_and(|grace| grace <= now) {
            witness.caller_present = self.directory.is_present(call, Role::Caller).await;
        }
        if both || asked == Some(Role::Callee) || call.callee.grace_until.is_some_and(|grace| grace <= now) {
            witness.callee_present = self.directory.is_present(call, Role::Callee).await;
        }
        witness
    }
}
