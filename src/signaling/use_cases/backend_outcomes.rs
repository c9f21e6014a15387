//! What became of a call over REST: accepted, cancelled, rejected, ended.

use std::sync::Arc;

use super::backend_command::{BackendCommand, CommandAnswer, CommandOutcome};
use super::claims::Claims;
use crate::bus::DirectEvent;
use crate::call::{
    Actor, Audience, Call, CallId, Command, Device, EarlyCommand, EarlyCommandKind, End, EndReason, Ender, Push,
    Refusal, Role, State, UserId, Verb,
};
use crate::signaling::calls::{Calls, Failure, NewCalls};
use crate::signaling::commands::Commands;
use crate::signaling::delivery::DirectDelivery;
use crate::signaling::node::NodeContext;
use crate::store::Created;

const ATTEMPTS: u32 = 16;

/// Obeys what Laravel says became of calls.
pub struct BackendOutcomes {
    pub node: Arc<NodeContext>,
    pub new_calls: Arc<NewCalls>,
    pub calls: Arc<Calls>,
    pub commands: Arc<Commands>,
    pub claims: Arc<Claims>,
    pub direct: Arc<DirectDelivery>,
}

impl BackendOutcomes {
    /// Does what Laravel says.
    pub async fn obey(&self, id: &CallId, command: &BackendCommand) -> CommandOutcome {
        match command.clone() {
            BackendCommand::Accepted { wire_id, caller, receiver, device } => {
                self.accepted(id, &wire_id, &caller, &receiver, device).await
            }
            BackendCommand::Cancelled { wire_id, receiver, reason } => {
                self.cancelled(id, &wire_id, &receiver, reason).await
            }
            BackendCommand::Rejected { wire_id, caller, receiver, reason } => {
                self.rejected(id, &wire_id, &caller, &receiver, reason).await
            }
            BackendCommand::Ended { by, reason } => self.ended(id, by.as_ref(), reason).await,
        }
    }

    /// The retry of a command. The first attempt may have made a call that no node has heard of, and that none compares with
    /// the store, and told nobody; who heard it stays quiet.
    pub async fn obey_again(&self, id: &CallId, command: &BackendCommand) -> Result<(), Failure> {
        let answer = self.obey(id, command).await?;
        let (
            CommandAnswer::Emitted(_),
            BackendCommand::Accepted { caller, .. } | BackendCommand::Rejected { caller, .. },
        ) = (answer, command)
        else {
            return Ok(());
        };
        let made = match self.calls.load(id).await? {
            Some(call) if call.role_of(caller) != Some(Role::Caller) => self.calls.doubled(id, caller).await?,
            made => made,
        };
        if let Some(call) = made {
            self.commands.delivery.tell(&call, Audience { caller: true, callee: false }).await;
        }
        Ok(())
    }

    /// A call that the store does not have: not known, unless another node may still be about to put it back.
    async fn is_known_to_be_unknown(&self) -> Result<(), Failure> {
        if self.calls.identity.may_have_lost().await { Err(Failure::Unavailable) } else { Ok(()) }
    }

    /// The callee accepted over REST. A call never initiated here becomes active.
    async fn accepted(
        &self,
        id: &CallId,
        wire_id: &str,
        caller: &UserId,
        receiver: &UserId,
        device: Option<Device>,
    ) -> CommandOutcome {
        let by = Actor::over_http(receiver, device);
        let accept = Command::Accept { by: by.clone() };
        let id = &self.claims.clear_id(id, caller, receiver).await?;
        for _ in 0..ATTEMPTS {
            match self.calls.unless_lost(self.commands.apply(id, &accept).await).await {
                Err(Failure::NotFound) => {}
                judged => return self.answer(judged, caller).await,
            }
            let mut call = self.new_calls.by_backend(id, wire_id, caller, receiver);
            let now = self.node.now();
            call.ring_details = None;
            call.push = Push::Unwanted;
            call.inquiry = None;
            call.callee.device = by.device.clone();
            call.state =
                State::Active { accepted_at: now, until: Some(now + self.node.policy.call_max), doubtful: false };
            // Laravel has it ongoing: whatever a phone said of it earlier is settled there. Where Laravel's own cancel came
            // first, the receiver heard that: the accept is late.
            let (created, announced) = self.calls.create_settled(&call).await?;
            match created {
                Created::Created(call) => {
                    let audience = Audience { caller: true, callee: false };
                    self.commands.delivery.tell_rest(&call, audience, announced).await;
                    return Ok(CommandAnswer::Emitted(self.direct.directory.seems_online(caller).await));
                }
                Created::Busy { caller: on_caller, callee: on_callee, .. } => {
                    for (line, user) in [(on_caller, caller), (on_callee, receiver)] {
                        let Some(line) = line else { continue };
                        let by = line.role_of(user).unwrap_or(Role::Caller);
                        self.commands.displace(&line, Command::Preempt { by }).await?;
                    }
                }
                // Laravel has this one ongoing, but what holds the line is not ours to end: said again later.
                Created::Taken => return Err(Failure::Unavailable),
                Created::Exists(_) | Created::EarlyCommands(_) | Created::TooManyRings { .. } => {}
            }
        }
        Err(Failure::Unavailable)
    }

    /// The caller cancelled over REST.
    async fn cancelled(&self, id: &CallId, wire_id: &str, receiver: &UserId, reason: Option<String>) -> CommandOutcome {
        let mut id = id.clone();
        let caller = match self.calls.cached_or_stored(&id).await? {
            Some(call) if call.callee.user == *receiver => call.caller.user,
            Some(call) => match self.calls.doubled(&id, receiver).await? {
                Some(own) if own.callee.user == *receiver => {
                    id = own.id;
                    own.caller.user
                }
                Some(_) | None => {
                    return Ok(CommandAnswer::Refused { refusal: Refusal::NotAParticipant, state: call.state.name() });
                }
            },
            None => {
                self.is_known_to_be_unknown().await?;
                let early = EarlyCommand {
                    user: receiver.clone(),
                    device: Device::Unknown,
                    kind: EarlyCommandKind::Cancel,
                    trusted: true,
                    reason: reason.clone(),
                    at: self.node.now(),
                    token: None,
                };
                match self.calls.store.keep_early(&id, &early, self.node.now()).await? {
                    Some(call) => call.caller.user,
                    None => {
                        let reason = reason.unwrap_or_else(|| "Caller ended call".into());
                        let event = DirectEvent::Cancelled { call_id: wire_id.to_owned(), reason };
                        return Ok(CommandAnswer::Emitted(self.direct.send(receiver, event).await?));
                    }
                }
            }
        };
        let cancel = Command::Cancel { by: Actor::over_http(&caller, None), reason };
        let judged = self.commands.apply(&id, &cancel).await;
        let known = match &judged {
            Ok(call) => Some(call),
            Err(Failure::Refused { call, .. }) => Some(&**call),
            Err(Failure::NotFound | Failure::RateLimited { .. } | Failure::Unavailable) => None,
        };
        let waits = |end: &End| end.reason == EndReason::Cancelled && !end.reported;
        if self.node.policy.callbacks && known.and_then(Call::end).is_some_and(waits) {
            // The app's own request was there first: Laravel need not be told. Failed: it is told once more.
            drop(self.commands.apply(&id, &Command::Report).await);
        }
        self.answer(judged, receiver).await
    }

    /// The callee rejected over REST.
    async fn rejected(
        &self,
        id: &CallId,
        wire_id: &str,
        caller: &UserId,
        receiver: &UserId,
        reason: Option<String>,
    ) -> CommandOutcome {
        let reject = Command::Reject { by: Actor::over_http(receiver, None), reason: reason.clone() };
        let id = &self.claims.clear_id(id, caller, receiver).await?;
        match self.calls.unless_lost(self.commands.apply(id, &reject).await).await {
            Err(Failure::NotFound) => {}
            judged => return self.answer(judged, caller).await,
        }
        let by = Ender { role: Role::Callee, device: Device::Unknown, verb: Verb::Reject };
        let call = self.new_calls.by_backend(id, wire_id, caller, receiver);
        let call = call.ended(EndReason::Rejected, Some(by), reason.clone(), self.node.now());
        if let (Created::Exists(_), _) = self.calls.create_settled(&call).await? {
            let judged = self.commands.apply(id, &reject).await;
            return self.answer(judged, caller).await;
        }
        let reason = reason.unwrap_or_else(|| "User declined".into());
        let event = DirectEvent::Rejected { call_id: wire_id.to_owned(), reason };
        Ok(CommandAnswer::Emitted(self.direct.send(caller, event).await?))
    }

    /// A call ended over REST, in a party's name or in nobody's.
    async fn ended(&self, id: &CallId, ended_by: Option<&UserId>, reason: Option<String>) -> CommandOutcome {
        let Some(mut call) = self.calls.cached_or_stored(id).await? else {
            return self.calls.unless_lost(Err(Failure::NotFound)).await;
        };
        if let Some(user) = ended_by.filter(|user| call.role_of(user).is_none())
            && let Some(own) = self.calls.doubled(id, user).await?
        {
            call = own;
        }
        let (command, peer) = match ended_by {
            Some(user) => {
                let peer = if *user == call.caller.user { &call.callee.user } else { &call.caller.user };
                (Command::End { by: Actor::over_http(user, None), reason }, peer.clone())
            }
            None => (Command::Dismiss { reason }, call.caller.user.clone()),
        };
        let judged = self.commands.apply(&call.id, &command).await;
        let both = ended_by.is_none() && judged.is_ok() && self.direct.directory.seems_online(&call.callee.user).await;
        match self.answer(judged, &peer).await? {
            CommandAnswer::Emitted(one) => Ok(CommandAnswer::Emitted(one || both)),
            refused @ CommandAnswer::Refused { .. } => Ok(refused),
        }
    }

    async fn answer(&self, judged: Result<Call, Failure>, user: &UserId) -> CommandOutcome {
        match judged {
            Ok(_) => Ok(CommandAnswer::Emitted(self.direct.directory.seems_online(user).await)),
            Err(Failure::Refused { refusal, call }) => Ok(CommandAnswer::Refused { refusal, state: call.state.name() }),
            Err(failure @ (Failure::NotFound | Failure::RateLimited { .. } | Failure::Unavailable)) => Err(failure),
        }
    }
}
