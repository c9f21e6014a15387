//! What phones ask for: initiate, alert, accept, reject, cancel, end.

use std::sync::Arc;
use std::time::Duration;

use super::announce::Announced;
use super::claim::Claimed;
use super::delivery::Audience;
use super::retry::Owed;
use super::{Failure, Node, Session};
use crate::call::{
    Actor, Call, CallId, Command, Contention, Device, EndReason, Inquiry, Offer, Party, Push, Role, State, UserId,
    Version, What, contend, resolve,
};
use crate::store::{Created, RingLimit, StoreError};
use crate::telemetry::metrics::{self, Freed, Limit};

/// Displaced calls, verdicts and lost replies in a row before an initiate is given up as unavailable.
const ATTEMPTS: u32 = 16;

/// A create whose reply was lost is sent again; not one that ran out of time.
const TRIED_AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// How long a device has to confirm the ring before a push is asked for.
const PUSH_PATIENCE: Duration = Duration::from_secs(2);

/// An unmodified backend is asked this long before a ring is given up.
const ASKED_AHEAD: Duration = Duration::from_secs(2);

/// A checked `call:initiate`.
#[derive(Clone, Debug)]
pub struct Initiate {
    pub id: CallId,
    /// The id as it was sent.
    pub spelled: String,
    pub receiver: UserId,
    pub call_type: Option<String>,
    pub offer: Offer,
    /// Instead of the configured ring timeout.
    pub ring_timeout: Option<Duration>,
    /// The backend said that it knows the call.
    pub named: bool,
}

/// How an initiate was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Initiated {
    /// `call:incoming` went out, or the call exists already.
    Ringing,
    /// The callee has no session; the call is tracked and rings him when he connects.
    Offline,
    /// A verdict was waiting, or an accept came first: the outcome follows the answer.
    Settled(Box<Call>),
    Busy {
        /// The call, as spelled, in which the receiver rings the dialer.
        ringing: Option<String>,
    },
}

impl Node {
    /// Rings the receiver. Answers after `call:incoming` went out to every node that holds him.
    pub(super) async fn initiate(self: &Arc<Self>, by: &Actor, request: Initiate) -> Result<Initiated, Failure> {
        if by.session.is_some() && self.stall.catches_up(self.node.clock.elapsed()) {
            // Its caller may be on another node by now, and in another call.
            tracing::warn!(call = %request.id, "this process stood still, what was dialled meanwhile does not ring");
            return Err(Failure::Unavailable);
        }
        let call = self.new_call(by, request);
        let (id, nonce) = (call.id.clone(), call.born);
        self.retries.dials_again(&id, &by.user);
        let mut may_exist = None;
        let dialled = self.dial(by, call, &mut may_exist).await;
        if let (Err(Failure::Unavailable), Some(id)) = (&dialled, may_exist) {
            self.owe(&id, Owed::Withdrawal { caller: by.user.clone(), nonce });
        }
        dialled
    }

    /// `may_exist` becomes the call's id where a reply was lost that may have been the one of a write.
    async fn dial(
        self: &Arc<Self>,
        by: &Actor,
        mut call: Call,
        may_exist: &mut Option<CallId>,
    ) -> Result<Initiated, Failure> {
        let (mut seen, began) = (Vec::new(), self.node.clock.elapsed());
        for _ in 0..ATTEMPTS {
            self.all_put_back().await?;
            if !self.is_still_dialled(by, began) {
                return Err(Failure::Unavailable);
            }
            let decided_at = self.node.clock.elapsed();
            let mut failed = |error: &StoreError| {
                if !error.is_refusal() {
                    *may_exist = Some(call.id.clone());
                }
            };
            let (created, announced) = match self.create(&call, &seen).await {
                Ok(created) => created,
                // Perhaps written all the same: asked once more, the own nonce tells.
                // It took so long that who dialled may have dialled somebody else: this one is not to be the newer of both.
                Err(error) if self.node.since(decided_at) > TRIED_AGAIN_WITHIN => {
                    failed(&error);
                    return Err(error.into());
                }
                Err(error) => {
                    failed(&error);
                    let again = self.create(&call, &seen).await;
                    again.inspect_err(failed)?
                }
            };
            match created {
                Created::Created(call) => return Ok(self.ring(*call, decided_at, announced).await),
                Created::Exists(existing) if existing.version == call.version => {
                    return Ok(self.ring(*existing, decided_at, None).await);
                }
                Created::Exists(existing) => match self.claim_id(by, &call, &existing).await? {
                    Claimed::Own => call.named = true,
                    Claimed::Doubled(id) => call.id = id,
                    Claimed::No => return self.initiate_again(by, &call, *existing).await,
                },
                Created::TooManyRings { limit, wait } => {
                    metrics::limited(match limit {
                        RingLimit::PerMinute => Limit::Rings,
                        RingLimit::PerCallee => Limit::RingTime,
                        RingLimit::PerCaller => Limit::CallerRingTime,
                    });
                    return Err(Failure::TooManyRings { wait });
                }
                Created::Verdicts(verdicts) => {
                    call = resolve(&self.trying(&call), &verdicts);
                    seen = verdicts;
                }
                // Nobody here can say whether it gives way.
                Created::Taken => return self.answer_busy(call, None).await,
                Created::Busy { caller, callee } => {
                    // The callee's line first: only a dial that rings may end a call of the dialer's own.
                    for line in [callee, caller].into_iter().flatten() {
                        match contend(&line, by, &call.callee.user) {
                            Contention::Free => {}
                            Contention::Displace(_) => self.take_line(&line, by, &call.callee.user).await?,
                            // Laravel, while it waits for this answer, is not asked back.
                            Contention::Busy if by.session.is_some() && self.is_over_elsewhere(&line, by).await => {}
                            Contention::Busy => {
                                self.verify(&line);
                                return self.answer_busy(call, None).await;
                            }
                            Contention::Glare => return self.answer_busy(call, Some(line.spelled.clone())).await,
                        }
                    }
                }
            }
        }
        Err(Failure::Unavailable)
    }

    /// A dial that had to wait may not be the newer one of another that its user made elsewhere meanwhile: who waits for
    /// it is connected here still, or has not waited for long.
    fn is_still_dialled(&self, by: &Actor, began: Duration) -> bool {
        let has_waited = self.node.since(began) > TRIED_AGAIN_WITHIN;
        !has_waited || by.session.as_ref().is_some_and(|session| self.local.has(&by.user, session))
    }

    pub(super) fn new_call(&self, by: &Actor, request: Initiate) -> Call {
        let now = self.node.now();
        let born = rand::random();
        let ring_until = now + request.ring_timeout.unwrap_or(self.node.policy.ring_timeout);
        Call {
            order: 0,
            over: 0,
            id: request.id,
            spelled: request.spelled,
            version: Version::default().next(born),
            born,
            letters: rand::random(),
            created_at: now,
            ring_until,
            caller: Party {
                device: by.device.clone(),
                acks: by.acks,
                attended: by.session.is_some(),
                session: by.session.clone(),
                tokens: by.token.iter().cloned().collect(),
                ..Party::new(by.user.clone())
            },
            callee: Party::new(request.receiver),
            call_type: request.call_type,
            offer: Some(request.offer),
            terms: self.node.policy.terms(by.acks),
            rang_at: None,
            push: if self.node.policy.webhooks { Push::Due(now + PUSH_PATIENCE) } else { Push::Unwanted },
            unvouched: false,
            named: request.named || by.session.is_none(),
            verified: None,
            inquiry: self.node.policy.callbacks.then(|| Inquiry { at: ring_until - ASKED_AHEAD, asked: 0 }),
            lost_at: None,
            switching: None,
            state: State::Trying,
        }
    }

    /// The call as if no verdict had been seen yet.
    fn trying(&self, call: &Call) -> Call {
        Call { callee: Party::new(call.callee.user.clone()), state: State::Trying, ..call.clone() }
    }

    async fn ring(self: &Arc<Self>, call: Call, decided_at: Duration, announced: Option<Announced>) -> Initiated {
        metrics::call_initiated();
        match call.state {
            State::Trying | State::Ringing => {}
            // A verdict was waiting.
            State::Active { .. } => metrics::call_accepted(),
            State::Ended(_) => metrics::call_ended(&call),
        }
        let call = self.still_true(&call, decided_at).await.unwrap_or(call);
        if !call.is_ringing() {
            self.cache.see(&call, self.node.now());
            return Initiated::Settled(Box::new(call));
        }
        // The caller's sessions hear nothing yet, but turn to this call: nothing of an older one is told any more.
        let reached = self.tell_rest(&call, Audience::BOTH, announced).await;
        if reached.acks == 0 && call.push != Push::Unwanted {
            self.push_now(&call.id);
        }
        if reached.sessions > 0 {
            return Initiated::Ringing;
        }
        self.timeline.note(&call.id, self.node.milestone(What::NoSession).of(Role::Callee, Device::Unknown));
        Initiated::Offline
    }

    /// The same id once more: the first answer again, or a refusal.
    async fn initiate_again(
        self: &Arc<Self>,
        by: &Actor,
        dialled: &Call,
        existing: Call,
    ) -> Result<Initiated, Failure> {
        let (receiver, call_type) = (dialled.callee.user.clone(), dialled.call_type.clone());
        let again = Command::Initiate { by: by.clone(), receiver, call_type, offer: dialled.offer.clone() };
        let call = self.transition(&existing.id, &again).await?;
        if let State::Active { .. } = call.state {
            return Ok(Initiated::Settled(Box::new(call)));
        }
        // Told again: whoever heard it stays quiet, and a first attempt of unknown outcome may have told nobody.
        Ok(if self.tell(&call, Audience::CALLEE).await.sessions == 0 { Initiated::Offline } else { Initiated::Ringing })
    }

    /// Ends the call on a line that yields to a new one. Where it yields no longer, the line is still taken: the next
    /// attempt finds what it is now.
    async fn take_line(self: &Arc<Self>, line: &Call, dialer: &Actor, receiver: &UserId) -> Result<(), Failure> {
        let yielded = Command::Yield { dialer: dialer.clone(), receiver: receiver.clone() };
        match self.transition(&line.id, &yielded).await {
            Ok(_) => {
                if let State::Active { doubtful: true, .. } = line.state {
                    metrics::line_freed(Freed::Doubtful);
                }
                Ok(())
            }
            Err(Failure::NotFound | Failure::Refused { .. }) => Ok(()),
            Err(failure @ (Failure::Unavailable | Failure::TooManyRings { .. })) => Err(failure),
        }
    }

    /// Ends the call on a line that gives way; that another ended it first is as good.
    pub(super) async fn displace(self: &Arc<Self>, line: &Call, command: Command) -> Result<(), Failure> {
        match self.transition(&line.id, &command).await {
            Ok(_) | Err(Failure::NotFound | Failure::Refused { .. }) => Ok(()),
            Err(failure @ (Failure::Unavailable | Failure::TooManyRings { .. })) => Err(failure),
        }
    }

    /// Records a busy call as ended, so that an accept by push meets a call that is over.
    async fn answer_busy(self: &Arc<Self>, mut call: Call, ringing: Option<String>) -> Result<Initiated, Failure> {
        call = call.ended(EndReason::Busy, None, None, self.node.now());
        self.create_settled(&call).await?;
        metrics::call_ended(&call);
        Ok(Initiated::Busy { ringing })
    }

    /// What follows the answer to an initiate: an outcome that was waiting, or an accept that overtook the answer.
    pub(super) async fn after_initiate(self: &Arc<Self>, session: &Arc<Session>, id: &CallId, answer: &Initiated) {
        if !session.acks && session.was_told_accepted(id) {
            if let Ok(Some(call)) = self.store.load(id).await
                && matches!(call.state, State::Active { .. })
            {
                session.repeat_accepted(&call, self.node.now());
            }
        } else if let Initiated::Settled(call) = answer {
            self.tell_settled(call).await;
        }
    }

    /// Tells the outcome of a call that was settled before it was initiated.
    pub(super) async fn tell_settled(self: &Arc<Self>, call: &Call) {
        // The callee never rang for it; only a hang-up that met his accept concerns him.
        let callee = matches!(call.end().map(|end| end.reason), Some(EndReason::HungUp { .. }));
        self.tell(call, Audience { caller: true, callee }).await;
    }
}
