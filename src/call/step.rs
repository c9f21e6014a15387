use std::time::Duration;

use super::absence::{come_back, expire_active, expire_ringing, leave};
use super::{Call, Device, End, EndReason, Ender, LateAccept, Role, SessionId, State, Timestamp, UserId, Verb};

/// Who sent a command. Taken from the socket or from Laravel's request, never from a phone's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    pub user: UserId,
    pub device: Device,
    /// The device promised acknowledgements.
    pub acks: bool,
    /// Absent over HTTP.
    pub session: Option<SessionId>,
}

/// What may be done to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The same initiate once more.
    Initiate {
        by: Actor,
    },
    /// A device confirmed that it rings.
    Alert {
        by: Actor,
    },
    Accept {
        by: Actor,
    },
    Reject {
        by: Actor,
        reason: Option<String>,
    },
    Cancel {
        by: Actor,
        reason: Option<String>,
    },
    End {
        by: Actor,
    },
    /// Laravel ended it in nobody's name.
    Dismiss {
        reason: Option<String>,
    },
    /// A newer call of this party takes its line.
    Displace {
        by: Role,
    },
    /// Laravel reports an accepted call of this party that we never saw.
    Preempt {
        by: Role,
    },
    /// The party's device has no session left since `at`.
    Leave {
        role: Role,
        at: Timestamp,
    },
    Return {
        role: Role,
    },
    /// A deadline may be due.
    Expire(Witness),
}

/// What the store says of the parties at the time a deadline is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    pub caller_present: bool,
    pub callee_present: bool,
    /// Much of the cluster vanished within seconds: nobody is called lost for a while.
    pub storm: bool,
}

/// The outcome of a command that was obeyed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The changed call, its version still to be raised; absent for a repeat, which changes nothing.
    pub next: Option<Call>,
    pub tell_caller: bool,
    pub tell_callee: bool,
}

impl Decision {
    pub(super) fn unchanged() -> Self {
        Self { next: None, tell_caller: false, tell_callee: false }
    }

    pub(super) fn tell_both(next: Call) -> Self {
        Self { next: Some(next), tell_caller: true, tell_callee: true }
    }

    pub(super) fn tell(next: Call, role: Role) -> Self {
        Self { next: Some(next), tell_caller: role == Role::Caller, tell_callee: role == Role::Callee }
    }

    pub(super) fn quiet(next: Call) -> Self {
        Self { next: Some(next), tell_caller: false, tell_callee: false }
    }
}

/// Why a command was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotAParticipant,
    InvalidState,
    /// Another device of the user has the call: the sender hears `Answered elsewhere`.
    AnsweredElsewhere,
    /// The call is over: the sender's session hears `call:ended`.
    Over,
    /// No deadline is due, or nothing is left to do.
    NotDue,
}

/// A rule said no. `record` is a change to keep all the same: an accept that lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    pub refusal: Refusal,
    pub record: Option<Box<Call>>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, record: None }
    }
}

use Refusal::{InvalidState, NotAParticipant, NotDue};
use State::{Active, Ended, Ringing, Trying};

/// Decides what `command` does to `call` at `now`; touches nothing.
pub fn step(call: &Call, command: &Command, now: Timestamp) -> Result<Decision, Refused> {
    match (&call.state, command) {
        (Trying | Ringing | Active { .. }, Command::Initiate { by }) => {
            require(call, by, Role::Caller)?;
            Ok(Decision::unchanged())
        }
        (Ended(_), Command::Initiate { by }) => {
            require(call, by, Role::Caller)?;
            Err(InvalidState.into())
        }

        (Trying, Command::Alert { by }) => {
            require(call, by, Role::Callee)?;
            let mut next = call.clone();
            next.callee.acks |= by.acks;
            next.callee.attended |= by.session.is_some();
            next.state = Ringing;
            Ok(Decision::tell(next, Role::Caller))
        }
        (Ringing, Command::Alert { by }) => {
            require(call, by, Role::Callee)?;
            Ok(Decision::unchanged())
        }
        (Active { .. } | Ended(_), Command::Alert { by }) => {
            require(call, by, Role::Callee)?;
            Err(InvalidState.into())
        }

        (Trying | Ringing, Command::Accept { by }) => {
            require(call, by, Role::Callee)?;
            let mut next = call.clone();
            next.offer = None;
            seat(&mut next, by);
            let max = Duration::from_millis(call.terms.max);
            next.state = Active { accepted_at: now, until: Some(now + max), doubtful: false };
            if by.device.is_known() { Ok(Decision::tell_both(next)) } else { Ok(Decision::tell(next, Role::Caller)) }
        }
        (Active { .. }, Command::Accept { by }) => {
            require(call, by, Role::Callee)?;
            if !call.callee.device.is_known() && by.device.is_known() {
                let mut next = call.clone();
                seat(&mut next, by);
                Ok(Decision::tell(next, Role::Callee))
            } else if call.callee.device.matches(&by.device) {
                Ok(Decision::unchanged())
            } else {
                Err(Refusal::AnsweredElsewhere.into())
            }
        }
        (Ended(end), Command::Accept { by }) => {
            require(call, by, Role::Callee)?;
            if end.accepted_at.is_some() || end.late_accept.is_some() {
                return Err(Refusal::Over.into());
            }
            let mut next = call.clone();
            let late_accept = Some(LateAccept { at: now, device: by.device.clone() });
            next.state = Ended(End { late_accept, ..end.clone() });
            Err(Refused { refusal: InvalidState, record: Some(Box::new(next)) })
        }

        (Trying | Ringing, Command::Reject { by, reason }) => {
            require(call, by, Role::Callee)?;
            let next = finish(call, EndReason::Rejected, Some((by, Role::Callee, Verb::Reject)), reason.clone(), now);
            if by.device.is_known() { Ok(Decision::tell_both(next)) } else { Ok(Decision::tell(next, Role::Caller)) }
        }
        (Active { .. }, Command::Reject { by, .. }) => {
            require(call, by, Role::Callee)?;
            if !call.callee.device.matches(&by.device) {
                return Err(Refusal::AnsweredElsewhere.into());
            }
            Ok(Decision::tell(hang_up(call, by, Role::Callee, Verb::Reject, None, now), Role::Caller))
        }
        (Ended(end), Command::Reject { by, .. }) => {
            require(call, by, Role::Callee)?;
            repeat(end, by, Role::Callee, Verb::Reject)
        }

        (Trying | Ringing, Command::Cancel { by, reason }) => {
            require(call, by, Role::Caller)?;
            let next = finish(call, EndReason::Cancelled, Some((by, Role::Caller, Verb::Cancel)), reason.clone(), now);
            Ok(Decision::tell(next, Role::Callee))
        }
        (Active { accepted_at, .. }, Command::Cancel { by, reason }) => {
            // A cancel that met an accept: the callee must not be left alone with the clock running.
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            let mut next = hang_up(call, by, role, Verb::Cancel, reason.clone(), now);
            let audible = *accepted_at + Duration::from_millis(call.terms.accept_hold);
            if let (Role::Caller, true, Ended(end)) = (role, now < audible, &mut next.state) {
                end.hold_until = Some(audible);
            }
            Ok(Decision::tell(next, role.other()))
        }
        (Ended(end), Command::Cancel { by, .. }) => {
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            repeat(end, by, role, Verb::Cancel)
        }

        (Trying | Ringing, Command::End { by }) => {
            // The app ends only after media flowed: an accept never reached us.
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            Ok(Decision::tell_both(hang_up(call, by, role, Verb::End, None, now)))
        }
        (Active { .. }, Command::End { by }) => {
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            Ok(Decision::tell(hang_up(call, by, role, Verb::End, None, now), role.other()))
        }
        (Ended(end), Command::End { by }) => {
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            repeat(end, by, role, Verb::End)
        }

        (Trying | Ringing, Command::Dismiss { reason }) => {
            let hung_up = EndReason::HungUp { by: None, accept_missed: true };
            Ok(Decision::tell_both(finish(call, hung_up, None, reason.clone(), now)))
        }
        (Active { .. }, Command::Dismiss { reason }) => {
            let hung_up = EndReason::HungUp { by: None, accept_missed: false };
            Ok(Decision::tell_both(finish(call, hung_up, None, reason.clone(), now)))
        }
        (Ended(_), Command::Dismiss { .. }) => Err(InvalidState.into()),

        (Trying | Ringing, Command::Displace { by: Role::Caller }) => {
            Ok(Decision::tell(finish(call, EndReason::Superseded, None, None, now), Role::Callee))
        }
        (Trying | Ringing, Command::Displace { by: Role::Callee } | Command::Preempt { .. }) => {
            Ok(Decision::tell_both(finish(call, EndReason::Busy, None, None, now)))
        }
        (Active { doubtful: true, .. }, Command::Displace { by } | Command::Preempt { by }) => {
            let party = if call.caller.absent_since.is_some() {
                Role::Caller
            } else if call.callee.absent_since.is_some() {
                Role::Callee
            } else {
                by.other()
            };
            Ok(Decision::tell_both(finish(call, EndReason::Lost { party }, None, None, now)))
        }
        (Active { doubtful: false, .. }, Command::Displace { by } | Command::Preempt { by }) => {
            let hung_up = EndReason::HungUp { by: Some(*by), accept_missed: false };
            Ok(Decision::tell(finish(call, hung_up, None, None, now), by.other()))
        }
        (Ended(_), Command::Displace { .. } | Command::Preempt { .. }) => Err(NotDue.into()),

        // A ringing callee's absence changes nothing: the push rings it.
        (Trying | Ringing, Command::Leave { role: Role::Callee, .. }) => Err(NotDue.into()),
        (Trying | Ringing, Command::Leave { role: Role::Caller, at }) => {
            leave(call, Role::Caller, *at, call.terms.caller_grace)
        }
        (Active { .. }, Command::Leave { role, at }) => leave(call, *role, *at, call.terms.call_grace),
        (Ended(_), Command::Leave { .. }) => Err(NotDue.into()),

        (Trying | Ringing | Active { .. }, Command::Return { role }) => {
            if call.party(*role).absent_since.is_none() {
                return Err(NotDue.into());
            }
            let mut next = call.clone();
            come_back(&mut next, *role);
            Ok(Decision::quiet(next))
        }
        (Ended(_), Command::Return { .. }) => Err(NotDue.into()),

        (Trying | Ringing, Command::Expire(witness)) => expire_ringing(call, witness, now),
        (Active { accepted_at, until, .. }, Command::Expire(witness)) => {
            expire_active(call, *accepted_at, *until, witness, now)
        }
        (Ended(_), Command::Expire(_)) => Err(NotDue.into()),
    }
}

fn require(call: &Call, actor: &Actor, role: Role) -> Result<(), Refused> {
    if call.role_of(&actor.user) == Some(role) { Ok(()) } else { Err(NotAParticipant.into()) }
}

/// Binds the callee's side to the device that answered.
fn seat(call: &mut Call, by: &Actor) {
    call.callee.device = by.device.clone();
    call.callee.acks = by.acks;
    call.callee.attended |= by.session.is_some();
}

pub(super) fn finish(
    call: &Call,
    reason: EndReason,
    by: Option<(&Actor, Role, Verb)>,
    text: Option<String>,
    now: Timestamp,
) -> Call {
    let mut next = call.clone();
    next.offer = None;
    for role in [Role::Caller, Role::Callee] {
        next.party_mut(role).grace_until = None;
    }
    let accepted_at = match &call.state {
        Active { accepted_at, .. } => Some(*accepted_at),
        Trying | Ringing => None,
        Ended(end) => end.accepted_at,
    };
    next.state = Ended(End {
        reason,
        at: now,
        text: text.filter(|text| !text.is_empty()),
        by: by.map(|(actor, role, verb)| Ender { role, device: actor.device.clone(), verb }),
        accepted_at,
        hold_until: None,
        late_accept: None,
    });
    next
}

fn hang_up(call: &Call, by: &Actor, role: Role, verb: Verb, text: Option<String>, now: Timestamp) -> Call {
    let reason = EndReason::HungUp { by: Some(role), accept_missed: call.is_ringing() };
    finish(call, reason, Some((by, role, verb)), text, now)
}

fn repeat(end: &End, by: &Actor, role: Role, verb: Verb) -> Result<Decision, Refused> {
    match &end.by {
        Some(ender) if ender.role == role && ender.verb == verb && ender.device.matches(&by.device) => {
            Ok(Decision::unchanged())
        }
        Some(_) | None => Err(InvalidState.into()),
    }
}
