//! A call is dialled.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::claims::{Claimed, Claims};
use super::guard::{Dial, DialGuard};
use super::initiated::{Initiated, too_many_rings};
use super::retry_queue::{Owed, RetryQueue};
use crate::call::{
    Actor, Audience, Call, CallId, Command, Contention, Device, EndReason, Push, Role, SAID_LATER, State, UserId, What,
    contend, resolve,
};
use crate::signaling::backend::Inquiries;
use crate::signaling::calls::{Announced, Calls, Failure, Initiate, NewCalls};
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::Session;
use crate::store::Created;
use crate::telemetry::metrics::{self, Freed};

/// Displaced calls, early commands and lost replies in a row before an initiate is given up as unavailable.
const ATTEMPTS: u32 = 16;

/// Dials.
pub struct Dialing {
    pub node: Arc<NodeContext>,
    pub new_calls: Arc<NewCalls>,
    pub calls: Arc<Calls>,
    pub commands: Arc<Commands>,
    pub claims: Arc<Claims>,
    pub inquiries: Arc<Inquiries>,
    pub guard: DialGuard,
    pub queue: Arc<RetryQueue>,
}

impl Dialing {
    /// Rings the receiver. Answers after `call:incoming` went out to every node that holds him.
    pub async fn initiate(&self, by: &Actor, request: Initiate) -> Result<Initiated, Failure> {
        let Some(dial) = self.guard.begin(by) else {
            tracing::warn!(call = %request.id, "this process stood still, what was dialled meanwhile does not ring");
            return Err(Failure::Unavailable);
        };
        let call = self.new_calls.dialled(by, request);
        let (id, nonce) = (call.id.clone(), call.born);
        let refused = self.queue.dials_again(&id, &by.user);
        let mut may_exist = None;
        let dialled = Box::pin(self.dial(&dial, by, call, &mut may_exist)).await;
        let withdraw = |id: &CallId, nonce| self.queue.owe(id, Owed::Withdrawal { caller: by.user.clone(), nonce });
        if dialled.is_err() {
            // What an earlier attempt wrote is still nobody's call.
            refused.into_iter().for_each(|nonce| withdraw(&id, nonce));
        }
        if let (Err(Failure::Unavailable), Some(id)) = (&dialled, may_exist) {
            withdraw(&id, nonce);
        }
        dialled
    }

    /// `may_exist` becomes the call's id where a reply was lost that may have been the one of a write.
    async fn dial(
        &self,
        dial: &Dial<'_>,
        by: &Actor,
        mut call: Call,
        may_exist: &mut Option<CallId>,
    ) -> Result<Initiated, Failure> {
        let (mut seen, mut repeated) = (Vec::new(), false);
        let said_at = self.node.clock.elapsed();
        for _ in 0..ATTEMPTS {
            self.calls.identity.all_restored().await?;
            // Who would ring now heard nothing for as long as a ring lasts.
            if !dial.is_wanted() || call.ring_until <= self.node.now() {
                return Err(Failure::Unavailable);
            }
            let decided_at = self.node.clock.elapsed();
            let (created, announced) = match self.calls.create(&call, &seen).await {
                Ok(created) => created,
                Err(error) => {
                    if !error.is_refusal() {
                        *may_exist = Some(call.id.clone());
                    }
                    if mem::replace(&mut repeated, true) || !dial.may_repeat(decided_at) {
                        return Err(error.into());
                    }
                    // Perhaps written all the same: asked once more, the own nonce tells.
                    continue;
                }
            };
            match created {
                Created::Created(call) => return Ok(self.ring(*call, decided_at, announced).await),
                Created::Exists(existing) if existing.version == call.version => {
                    return Ok(self.ring(*existing, decided_at, None).await);
                }
                Created::Exists(existing) => match self.claims.claim_id(by, &call, &existing).await? {
                    Claimed::Own => call.named = true,
                    Claimed::Doubled(id) => call.id = id,
                    Claimed::No => return self.initiate_again(by, &call, *existing, may_exist).await,
                },
                Created::TooManyRings { limit, wait } => return Err(too_many_rings(limit, wait)),
                Created::EarlyCommands(early_commands) => {
                    call = resolve(&NewCalls::trying(&call), &early_commands);
                    seen = early_commands;
                }
                // Nobody here can say whether it gives way.
                Created::Taken => return self.answer_busy(by, call, None, may_exist).await,
                Created::Busy { caller, callee, limited } => {
                    let has_waited = self.node.since(said_at) > SAID_LATER;
                    if has_waited && [&caller, &callee].into_iter().flatten().any(|line| line.overtakes(&call)) {
                        tracing::info!(call = %call.id, "a dial that waited gives way to what its user has taken up since");
                        return Err(Failure::Unavailable);
                    }
                    let mut yielding = Vec::new();
                    for line in [callee, caller].into_iter().flatten() {
                        match contend(&line, by, &call.callee.user) {
                            Contention::Free => {}
                            Contention::Displace(_) => yielding.push(line),
                            // Laravel, while it waits for this answer, is not asked back.
                            Contention::Busy
                                if by.session.is_some() && self.inquiries.is_over_elsewhere(&line, by).await => {}
                            Contention::Busy => {
                                self.commands.verify(&line);
                                return self.answer_busy(by, call, None, may_exist).await;
                            }
                            Contention::Glare => {
                                return self.answer_busy(by, call, Some(line.wire_id.clone()), may_exist).await;
                            }
                        }
                    }
                    // Only a dial that rings ends a call: one that would be refused takes no line.
                    if let Some((limit, wait)) = limited {
                        return Err(too_many_rings(limit, wait));
                    }
                    // The callee's line first: the dialer's own ends when that is free.
                    for line in yielding {
                        self.take_line(&line, by, &call.callee.user).await?;
                    }
                }
            }
        }
        Err(Failure::Unavailable)
    }

    async fn ring(&self, call: Call, decided_at: Duration, announced: Option<Announced>) -> Initiated {
        metrics::call_initiated();
        match call.state {
            State::Trying | State::Ringing => {}
            // An early command was waiting.
            State::Active { .. } => metrics::call_accepted(),
            State::Ended(_) => metrics::call_ended(&call),
        }
        let call = self.commands.delivery.still_true(&call, decided_at).await.unwrap_or(call);
        if !call.is_ringing() {
            self.calls.cache.see(&call, self.node.now());
            return Initiated::Settled(Box::new(call));
        }
        // The caller's sessions hear nothing yet, but turn to this call: nothing of an older one is told any more.
        let reached = self.commands.delivery.tell_rest(&call, Audience::BOTH, announced).await;
        if reached.acks == 0 && call.push != Push::Unwanted {
            self.commands.push_now(&call.id);
        }
        if reached.sessions > 0 {
            return Initiated::Ringing;
        }
        self.calls.timeline.note(&call.id, self.node.milestone(What::NoSession).of(Role::Callee, Device::Unknown));
        Initiated::Offline
    }

    /// The same id once more: the first answer again, or a refusal.
    async fn initiate_again(
        &self,
        by: &Actor,
        dialled: &Call,
        existing: Call,
        may_exist: &mut Option<CallId>,
    ) -> Result<Initiated, Failure> {
        let (receiver, call_type) = (dialled.callee.user.clone(), dialled.call_type.clone());
        let (ring_details, nonce) = (dialled.ring_details.clone(), dialled.born);
        let again = Command::Initiate { by: by.clone(), receiver, call_type, ring_details, nonce };
        *may_exist = Some(existing.id.clone());
        let call = self.commands.apply(&existing.id, &again).await?;
        if let State::Active { .. } = call.state {
            return Ok(Initiated::Settled(Box::new(call)));
        }
        // Told again: whoever heard it stays quiet, and a first attempt of unknown outcome may have told nobody.
        Ok(if self.commands.delivery.tell(&call, Audience::CALLEE).await.sessions == 0 {
            Initiated::Offline
        } else {
            Initiated::Ringing
        })
    }

    /// Ends the call on a line that yields to a new one. Where it yields no longer, the line is still taken: the next
    /// attempt finds what it is now.
    async fn take_line(&self, line: &Call, dialer: &Actor, receiver: &UserId) -> Result<(), Failure> {
        let yielded = Command::Yield { dialer: dialer.clone(), receiver: receiver.clone() };
        match self.commands.apply(&line.id, &yielded).await {
            Ok(_) => {
                if let State::Active { doubtful: true, .. } = line.state {
                    metrics::line_freed(Freed::Doubtful);
                }
                Ok(())
            }
            Err(Failure::NotFound | Failure::Refused { .. }) => Ok(()),
            Err(failure @ (Failure::Unavailable | Failure::RateLimited { .. })) => Err(failure),
        }
    }

    /// Records a busy call as ended, so that an accept by push meets a call that is over.
    async fn answer_busy(
        &self,
        by: &Actor,
        call: Call,
        ringing: Option<String>,
        may_exist: &mut Option<CallId>,
    ) -> Result<Initiated, Failure> {
        let busy = call.ended(EndReason::Busy, None, None, self.node.now());
        let ended = match self.calls.create_settled(&busy).await?.0 {
            Created::Exists(own) if own.born == call.born => *own,
            _ => busy,
        };
        if ended.is_live() {
            // A first attempt, whose reply was lost, rang before the store was; its node has put it back meanwhile.
            return self.initiate_again(by, &call, ended, may_exist).await;
        }
        metrics::call_ended(&ended);
        Ok(Initiated::Busy { ringing })
    }

    /// What follows the answer to an initiate: an outcome that was waiting, or an accept that had overtaken the answer.
    pub async fn after_initiate(&self, session: &Arc<Session>, id: &CallId, answer: &Initiated, overtaken: bool) {
        if overtaken {
            if let Ok(Some(call)) = self.calls.load(id).await
                && matches!(call.state, State::Active { .. })
            {
                session.repeat_accepted(&call, self.node.now());
            }
        } else if let Initiated::Settled(call) = answer {
            self.tell_settled(call).await;
        }
    }

    /// Tells the outcome of a call that was settled before it was initiated.
    pub async fn tell_settled(&self, call: &Call) {
        // The callee never rang for it; only a hang-up that met his accept concerns him.
        let callee = matches!(call.end().map(|end| end.reason), Some(EndReason::HungUp { .. }));
        self.commands.delivery.tell(call, Audience { caller: true, callee }).await;
    }
}
