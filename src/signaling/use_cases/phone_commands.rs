//! What phones say of a call that is there: that it rings, accept, reject, cancel, end, and messages to the other side.

use std::sync::Arc;

use super::retry_queue::{Owed, RetryQueue};
use crate::call::{
    Actor, Audience, Call, CallId, Command, EarlyCommand, EarlyCommandKind, Notification, Refusal, UserId,
};
use crate::fault_injection::{self, Bug};
use crate::signaling::calls::{Calls, Failure};
use crate::signaling::commands::Commands;
use crate::signaling::connections::Connections;
use crate::signaling::delivery::{DirectDelivery, HandOver, Handed, MessageContent};
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::Session;
use crate::telemetry::metrics::{self, Limit};

/// What phones say of calls.
pub struct PhoneCommands {
    pub node: Arc<NodeContext>,
    pub calls: Arc<Calls>,
    pub commands: Arc<Commands>,
    pub direct: Arc<DirectDelivery>,
    pub connections: Arc<Connections>,
    pub queue: Arc<RetryQueue>,
}

impl PhoneCommands {
    /// Whether the user is party to this call and it is live; when the store can't tell, it is.
    pub async fn is_own_live_call(&self, user: &UserId, id: &CallId) -> bool {
        let is_own = |call: &Call| call.is_live() && call.role_of(user).is_some();
        match self.calls.cached_or_stored(id).await {
            Ok(Some(call)) if call.role_of(user).is_none() => {
                self.calls.doubled(id, user).await.is_ok_and(|own| own.as_ref().is_some_and(is_own))
            }
            Ok(call) => call.as_ref().is_some_and(is_own),
            Err(_) => true,
        }
    }

    /// A device of the callee shows that it rings.
    pub async fn alert(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        self.calls.unless_lost(self.commands.apply(id, &Command::Alert { by }).await).await
    }

    pub async fn accept(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        self.judge(id, Command::Accept { by }).await
    }

    pub async fn reject(&self, by: Actor, id: &CallId, reason: Option<String>) -> Result<Call, Failure> {
        self.judge(id, Command::Reject { by, reason }).await
    }

    pub async fn cancel(&self, by: Actor, id: &CallId, reason: Option<String>) -> Result<Call, Failure> {
        self.judge(id, Command::Cancel { by, reason }).await
    }

    pub async fn end(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        self.judge(id, Command::End { by, reason: None }).await
    }

    /// A party of an accepted call asks for video, answers that, or goes back to audio.
    pub async fn switch_type(&self, id: &CallId, command: &Command) -> Result<Call, Failure> {
        match command {
            Command::AnswerVideo { .. } if fault_injection::strikes(Bug::UnwrittenAnswer, 3) => {
                return self.calls.load(id).await?.ok_or(Failure::NotFound);
            }
            Command::AnswerVideo { by, accepted: false, .. } if fault_injection::is_on(Bug::Assent) => {
                let assent = Command::AnswerVideo { by: by.clone(), accepted: true, reason: None };
                return self.commands.apply(id, &assent).await;
            }
            _ => {}
        }
        self.calls.unless_lost(self.commands.apply(id, command).await).await
    }

    /// Hands a participant's message to the other side of a live call.
    pub async fn message(&self, by: &Actor, id: &CallId, content: MessageContent) -> Result<Handed, Failure> {
        let stored = self.calls.load(id).await?.ok_or(Failure::NotFound);
        let mut call = self.calls.unless_lost(stored).await?;
        if call.role_of(&by.user).is_none()
            && let Some(own) = self.calls.doubled(id, &by.user).await?
        {
            call = own;
        }
        let refused = |refusal, call| Err(Failure::Refused { refusal, call: Box::new(call) });
        let Some(role) = call.role_of(&by.user) else { return refused(Refusal::NotAParticipant, call) };
        if !call.is_live() {
            return refused(Refusal::InvalidState, call);
        }
        match self.direct.send_in_call(&call, role, content).await? {
            HandOver::Handed(handed) => Ok(*handed),
            HandOver::TooMany { wait } => {
                metrics::limited(Limit::Messages);
                Err(Failure::RateLimited { wait })
            }
            // It ended meanwhile.
            HandOver::Over => refused(Refusal::InvalidState, self.calls.load(&call.id).await?.unwrap_or(call)),
        }
    }

    /// Applies a command, keeps it for a call that is not initiated yet, and retries it while the store fails.
    async fn judge(&self, id: &CallId, command: Command) -> Result<Call, Failure> {
        let judged = if self.queue.holds(id) {
            // In order per call: behind those that wait already.
            Err(Failure::Unavailable)
        } else {
            match self.calls.unless_lost(self.commands.apply(id, &command).await).await {
                Err(Failure::NotFound) => self.keep(id, &command).await,
                judged => judged,
            }
        };
        match &judged {
            Ok(call) => self.look_for_sender(call, &command).await,
            Err(Failure::Unavailable) => self.queue.owe(id, Owed::Command(command)),
            Err(Failure::NotFound | Failure::Refused { .. } | Failure::RateLimited { .. }) => {}
        }
        judged
    }

    /// The retry of a command, without queueing it again.
    pub async fn judge_again(&self, id: &CallId, command: &Command) -> Result<Call, Failure> {
        let call = match self.calls.unless_lost(self.commands.apply(id, command).await).await {
            Err(Failure::NotFound) => self.keep(id, command).await?,
            judged => judged?,
        };
        // The first attempt may have been written and told nobody; who heard it stays quiet.
        self.commands.delivery.tell(&call, Audience::BOTH).await;
        self.look_for_sender(&call, command).await;
        Ok(call)
    }

    /// An accept may have waited for the store until its phone had left.
    async fn look_for_sender(&self, call: &Call, command: &Command) {
        if let Some(by) = command.by().filter(|_| call.is_live()) {
            self.connections.said(by).await;
        }
    }

    async fn keep(&self, id: &CallId, command: &Command) -> Result<Call, Failure> {
        let (kind, by, reason) = match command {
            Command::Accept { by } => (EarlyCommandKind::Accept, by, None),
            Command::Reject { by, reason } => (EarlyCommandKind::Reject, by, reason.clone()),
            Command::Cancel { by, reason } => (EarlyCommandKind::Cancel, by, reason.clone()),
            _ => return Err(Failure::NotFound),
        };
        let early = EarlyCommand {
            user: by.user.clone(),
            device: by.device.clone(),
            kind,
            trusted: false,
            reason,
            at: self.node.now(),
            token: by.token.clone(),
        };
        match self.calls.store.keep_early(id, &early, self.node.now()).await? {
            // Initiated in the same moment: it is applied after all.
            Some(_) => self.commands.apply(id, command).await,
            None => Err(Failure::NotFound),
        }
    }

    /// What the sender's own session hears about a command that was refused.
    pub fn answer_refused(&self, session: &Arc<Session>, refusal: Refusal, call: &Call) {
        match refusal {
            Refusal::AnsweredElsewhere => {
                self.commands.delivery.tell_session(session, call, |_| true);
            }
            Refusal::Over => {
                let now = self.node.now();
                let ended = Notification::Ended {
                    reason: "Remote user ended call".into(),
                    by: None,
                    duration: call.duration(),
                };
                session.sender().notify(call, &ended, now, false);
            }
            Refusal::NotAParticipant | Refusal::InvalidState | Refusal::NotDue => {}
        }
    }
}
