//! A call was rejected that nobody initiated here: callers often have no socket at that moment.

use std::sync::Arc;
use std::time::Duration;

use super::Questions;
use crate::bus::DirectEvent;
use crate::call::{Actor, Asked, Call, CallId, Device, EndReason, Ender, Push, Role, Row, RowStatus, Verb};
use crate::signaling::calls::{Calls, Failure, NewCalls};
use crate::signaling::delivery::DirectDelivery;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::Session;
use crate::store::Created;

const EARLY_COMMAND_PATIENCE: Duration = Duration::from_millis(1500);

/// Asks the backend about calls that were rejected and are not here.
pub struct Rejections {
    pub node: Arc<NodeContext>,
    pub questions: Arc<Questions>,
    pub calls: Arc<Calls>,
    pub new_calls: Arc<NewCalls>,
    pub direct: Arc<DirectDelivery>,
}

impl Rejections {
    /// A call was rejected that nobody initiated here: callers often have no socket at that moment. If the backend
    /// knows it as one that rings this user, its caller is told.
    pub fn reject_unknown(
        self: &Arc<Self>,
        session: &Arc<Session>,
        id: &CallId,
        wire_id: &str,
        reason: Option<String>,
    ) {
        let by = session.actor();
        let Some(token) = by.token.clone().filter(|_| self.questions.can_ask()) else { return };
        if !self.questions.take(&by.user, self.node.clock.uptime()) {
            return;
        }
        let (rejections, session) = (Arc::clone(self), Arc::clone(session));
        let (id, wire_id) = (id.clone(), wire_id.to_owned());
        self.node.spawn(async move {
            let Asked::Row(row) = rejections.questions.ask(&id, &[token], EARLY_COMMAND_PATIENCE).await else { return };
            let known = row.receiver.as_ref() == Some(&by.user);
            if !known || !matches!(row.status, RowStatus::Open | RowStatus::Rejected) {
                return;
            }
            match rejections.record(&by, &row, &id, &wire_id, reason).await {
                Ok(()) => drop(session.sender().reject_confirmed(&wire_id)),
                Err(failure) => tracing::warn!(call = %id, ?failure, "a rejection before its call was only kept"),
            }
        });
    }

    async fn record(
        self: &Arc<Self>,
        by: &Actor,
        row: &Row,
        id: &CallId,
        wire_id: &str,
        reason: Option<String>,
    ) -> Result<(), Failure> {
        let Some(caller) = row.caller.clone().filter(|caller| *caller != by.user) else { return Ok(()) };
        // Already rejected there: nothing is left to tell it.
        let told = row.status == RowStatus::Rejected;
        let device = if told { Device::Unknown } else { by.device.clone() };
        let ender = Ender { role: Role::Callee, device, verb: Verb::Reject };
        let mut call = self.new_calls.by_backend(id, wire_id, &caller, &by.user);
        call.push = Push::Unwanted;
        call.callee.tokens = by.token.iter().cloned().collect();
        let call = call.ended(EndReason::Rejected, Some(ender), reason.clone(), self.node.now());
        let (created, _) = match self.calls.create_settled(&call).await {
            // Perhaps written all the same: asked once more, the own nonce tells.
            Err(_) => self.calls.create_settled(&call).await?,
            Ok(created) => created,
        };
        let is_own = |existing: &Call| {
            existing.born == call.born && existing.end().is_some_and(|end| end.reason == EndReason::Rejected)
        };
        if let Created::Exists(existing) = created
            && !is_own(&existing)
        {
            // Initiated meanwhile: it has met the early command that was kept; or the backend has said an end of it before.
            return Ok(());
        }
        let reason = reason.unwrap_or_else(|| "User declined".into());
        self.direct.send(&caller, DirectEvent::Rejected { call_id: wire_id.to_owned(), reason }).await?;
        Ok(())
    }
}
