//! A deadline is judged: the rules decide what is due.

use std::sync::Arc;

use super::PresenceAtDeadline;
use crate::call::{Call, CallId, Command, Refusal, Timestamp};
use crate::fault_injection::{self, Bug};
use crate::signaling::backend::Inquiries;
use crate::signaling::calls::{Calls, Failure};
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;
use crate::signaling::recovery::Conflicts;
use crate::telemetry::trace::Kind;
use crate::telemetry::{About, metrics};

/// Judges deadlines.
pub struct Judge {
    pub node: Arc<NodeContext>,
    pub calls: Arc<Calls>,
    pub commands: Arc<Commands>,
    pub inquiries: Arc<Inquiries>,
    pub conflicts: Arc<Conflicts>,
    pub party_presence: PresenceAtDeadline,
}

impl Judge {
    /// Judges a deadline: the rules decide what is due, if anything.
    pub async fn expire(&self, id: &CallId) {
        if fault_injection::is_on(Bug::LoseDeadline) {
            return;
        }
        let call = match self.calls.load(id).await {
            Ok(Some(call)) => call,
            Ok(None) => {
                if let Some(call) = self.calls.cache.last_seen(id)
                    && self.calls.is_gone(&call).await
                {
                    self.commands.delivery.tell_gone(&call);
                }
                return;
            }
            Err(_) => return,
        };
        // Whoever changed it may have told nobody here.
        self.commands.delivery.learn_if_news(&call);
        let Some(deadline) = call.deadline() else { return };
        if deadline > self.node.now() {
            // Offered before its time: it is without a line, perhaps.
            return self.conflicts.resolve(id).await;
        }
        let judged = self.judge_deadline(&call, deadline);
        self.node.traces.run("deadline", Kind::Internal, About::call(id), judged).await;
    }

    async fn judge_deadline(&self, call: &Call, deadline: Timestamp) {
        let presence = self.party_presence.of(call).await;
        // The last thing before the word: the store may have become another since it was read. Offered again later.
        if !self.party_presence.members.share_its_time() || !self.calls.identity.may_judge().await {
            return;
        }
        match self.commands.apply(&call.id, &Command::Expire(presence)).await {
            Ok(next) => {
                metrics::timer_fired(self.node.now().since(deadline));
                let asked = |call: &Call| call.inquiry.map_or(0, |inquiry| inquiry.asked);
                if asked(&next) > asked(call) {
                    if next.is_ringing() {
                        self.inquiries.ask_before_deadline(next)
                    } else {
                        self.inquiries.ask_about_absent(next)
                    }
                }
            }
            Err(Failure::Refused { refusal: Refusal::NotDue, .. } | Failure::NotFound) => {}
            Err(Failure::Refused { refusal, .. }) => {
                tracing::error!(call = %call.id, ?refusal, "a deadline was refused")
            }
            // The claim runs out and the deadline is offered again.
            Err(Failure::Unavailable | Failure::RateLimited { .. }) => {}
        }
    }
}
