use std::time::Duration;

use super::absence::{come_back, expire_active, expire_ringing, grace_of_a_call, leave};
use super::asking::{ask_for_push, keep_deadline, report, verify};
use super::callback::is_undone_later;
use super::dials::Left;
use super::{
    Actor, Call, Command, Contention, Decision, End, EndReason, Ender, LateAccept, Refusal, Refused, RingDetails, Role,
    State, Timestamp, UNNAMED, Verb, contend, switching,
};

use Refusal::{InvalidState, NotAParticipant, NotDue};
use State::{Active, Ended, Ringing, Trying};

/// Decides what `command` does to `call` at `now`; touches nothing.
pub fn step(call: &Call, command: &Command, now: Timestamp) -> Result<Decision, Refused> {
    let now = call.not_before(now);
    match (&call.state, command) {
        (Trying | Ringing | Active { .. }, Command::Initiate { by, receiver, call_type, ring_details, nonce }) => {
            require(call, by, Role::Caller)?;
            if !call.is_dialled_as(receiver, call_type.as_deref()) {
                return Err(InvalidState.into());
            }
            let mut next = call.dialled_with(*nonce);
            if by.session.is_none() && !call.named {
                name_by_backend(&mut next, ring_details.as_ref());
            }
            Ok(if next == *call { Decision::unchanged() } else { Decision::quiet(next) })
        }
        (Ended(_), Command::Initiate { by, .. }) => {
            require(call, by, Role::Caller)?;
            Err(InvalidState.into())
        }

        (Trying, Command::Alert { by }) => {
            require(call, by, Role::Callee)?;
            let mut next = call.clone();
            next.callee.acks |= by.acks;
            next.callee.attended |= by.session.is_some();
            next.callee.keep_token(by.token.as_ref());
            next.rang_at = Some(now);
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
            next.ring_details = None;
            next.inquiry = None;
            seat(&mut next, by);
            grace_of_a_call(&mut next.caller, call.timeouts.call_grace);
            let max = Duration::from_millis(call.timeouts.max);
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
            if end.accepted_at.is_some() {
                return Err(Refused { refusal: Refusal::Over, record: reopened(call, end, by, now) });
            }
            if end.reason.is_foreign() {
                return Err(InvalidState.into());
            }
            if end.late_accept.is_some() {
                return Err(Refused { refusal: InvalidState, record: reopened(call, end, by, now) });
            }
            let mut next = call.clone();
            next.callee.keep_token(by.token.as_ref());
            let late_accept = Some(LateAccept { at: now, device: by.device.clone() });
            next.state = Ended(End { late_accept, ..end.clone() });
            Err(Refused { refusal: InvalidState, record: Some(Box::new(next)) })
        }

        (Trying | Ringing, Command::Reject { by, reason }) => {
            require(call, by, Role::Callee)?;
            let mut next =
                call.ended(EndReason::Rejected, Some(ender(by, Role::Callee, Verb::Reject)), reason.clone(), now);
            next.callee.keep_token(by.token.as_ref());
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
            let mut next =
                call.ended(EndReason::Cancelled, Some(ender(by, Role::Caller, Verb::Cancel)), reason.clone(), now);
            next.caller.keep_token(by.token.as_ref());
            Ok(Decision::tell(next, Role::Callee))
        }
        (Active { accepted_at, .. }, Command::Cancel { by, reason }) => {
            // A cancel that met an accept: the callee must not be left alone with the clock running.
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            let mut next = hang_up(call, by, role, Verb::Cancel, reason.clone(), now);
            if role == Role::Caller {
                hold_for_the_accept(&mut next, *accepted_at, now);
            }
            Ok(Decision::tell(next, role.other()))
        }
        (Ended(end), Command::Cancel { by, .. }) => {
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            repeat(end, by, role, Verb::Cancel)
        }

        (Trying | Ringing, Command::End { by, reason }) => {
            // The app ends only after media flowed: an accept never reached us.
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            Ok(Decision::tell_both(hang_up(call, by, role, Verb::End, reason.clone(), now)))
        }
        (Active { .. }, Command::End { by, reason }) => {
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            Ok(Decision::tell(hang_up(call, by, role, Verb::End, reason.clone(), now), role.other()))
        }
        (Ended(end), Command::End { by, .. }) => {
            let role = call.role_of(&by.user).ok_or(NotAParticipant)?;
            repeat(end, by, role, Verb::End)
        }

        (
            Trying | Ringing | Ended(_),
            Command::RequestVideo { by } | Command::AnswerVideo { by, .. } | Command::Downgrade { by },
        ) => switching::out_of_place(call, by),
        (Active { .. }, Command::RequestVideo { by }) => switching::request(call, by, now),
        (Active { .. }, Command::AnswerVideo { by, accepted, reason }) => {
            switching::answer(call, by, *accepted, reason.clone(), now)
        }
        (Active { .. }, Command::Downgrade { by }) => switching::downgrade(call, by, now),

        (Trying | Ringing, Command::Dismiss { reason }) => {
            let hung_up = EndReason::HungUp { by: None, accept_missed: true };
            Ok(Decision::tell_both(call.ended(hung_up, None, reason.clone(), now)))
        }
        (Active { .. }, Command::Dismiss { reason }) => {
            let hung_up = EndReason::HungUp { by: None, accept_missed: false };
            Ok(Decision::tell_both(call.ended(hung_up, None, reason.clone(), now)))
        }
        (Ended(_), Command::Dismiss { .. }) => Err(InvalidState.into()),

        (Trying | Ringing | Active { .. }, Command::Evict { rank }) if call.rank() != *rank || call.named => {
            Err(NotDue.into())
        }
        (Trying | Ringing, Command::Evict { .. }) => {
            Ok(Decision::tell(call.ended(EndReason::Cancelled, None, None, now), Role::Callee))
        }
        (Active { .. }, Command::Evict { .. }) => step(call, &Command::Dismiss { reason: None }, now),
        (Ended(_), Command::Evict { .. }) => Err(NotDue.into()),

        (Trying | Ringing | Active { .. }, Command::Withdraw { nonce }) => match call.without_dial(*nonce) {
            None => Err(NotDue.into()),
            Some(Left::Others(next)) => Ok(Decision::quiet(*next)),
            Some(Left::Nobody) => Ok(withdraw(call, now)),
        },
        (Ended(_), Command::Withdraw { .. }) => Err(NotDue.into()),

        (Trying | Ringing | Active { .. }, Command::Yield { dialer, receiver }) => {
            match contend(call, dialer, receiver) {
                Contention::Displace(by) => step(call, &Command::Displace { by }, now),
                Contention::Free | Contention::Busy | Contention::Glare => Err(NotDue.into()),
            }
        }
        (Ended(_), Command::Yield { .. }) => Err(NotDue.into()),

        (Trying | Ringing, Command::Displace { by: Role::Caller }) => {
            Ok(Decision::tell(call.ended(EndReason::Superseded, None, None, now), Role::Callee))
        }
        (Trying | Ringing, Command::Displace { by: Role::Callee } | Command::Preempt { .. }) => {
            Ok(Decision::tell_both(call.ended(EndReason::Busy, None, None, now)))
        }
        (Active { doubtful: true, .. }, Command::Displace { by } | Command::Preempt { by }) => {
            let party = if call.caller.absent_since.is_some() {
                Role::Caller
            } else if call.callee.absent_since.is_some() {
                Role::Callee
            } else {
                by.other()
            };
            Ok(Decision::tell_both(call.ended(EndReason::Lost { party }, None, None, now)))
        }
        (Active { doubtful: false, .. }, Command::Displace { by } | Command::Preempt { by }) => {
            let hung_up = EndReason::HungUp { by: Some(*by), accept_missed: false };
            Ok(Decision::tell(call.ended(hung_up, None, None, now), by.other()))
        }
        (Trying | Ringing | Active { .. }, Command::GiveWay { by, accepted }) => {
            if call.accepted_at().is_some() == *accepted {
                step(call, &Command::Preempt { by: *by }, now)
            } else {
                Err(NotDue.into())
            }
        }
        (Ended(_), Command::Displace { .. } | Command::Preempt { .. } | Command::GiveWay { .. }) => Err(NotDue.into()),

        // A ringing callee's absence changes nothing: the push rings it.
        (Trying | Ringing, Command::Leave { role: Role::Callee, .. }) => Err(NotDue.into()),
        (Trying | Ringing, Command::Leave { role: Role::Caller, at, acks, found }) => {
            leave(call, Role::Caller, (*at, *acks, *found), call.timeouts.caller_grace)
        }
        (Active { .. }, Command::Leave { role, at, acks, found }) => {
            leave(call, *role, (*at, *acks, *found), call.timeouts.call_grace)
        }
        (Ended(_), Command::Leave { .. }) => Err(NotDue.into()),

        (Trying | Ringing | Active { .. }, Command::Return { role }) => {
            if call.party(*role).absent_since.is_none() {
                return Err(NotDue.into());
            }
            let mut next = call.clone();
            come_back(&mut next, *role, now);
            Ok(Decision::quiet(next))
        }
        (Ended(_), Command::Return { .. }) => Err(NotDue.into()),

        (Trying, Command::Push) => ask_for_push(call, now),
        (Ringing | Active { .. } | Ended(_), Command::Push) => Err(NotDue.into()),

        (Active { .. }, Command::Verify) => verify(call, now),
        (Trying | Ringing | Ended(_), Command::Verify) => Err(NotDue.into()),

        (Active { accepted_at, until, .. }, Command::Doubt) => {
            if call.unvouched {
                return Err(NotDue.into());
            }
            let state = Active { accepted_at: *accepted_at, until: *until, doubtful: true };
            Ok(Decision::quiet(Call { unvouched: true, state, ..call.clone() }))
        }
        // A ring has its own deadline, and that is near.
        (Trying | Ringing | Ended(_), Command::Doubt) => Err(NotDue.into()),

        (Trying | Ringing, Command::KeepDeadline) => keep_deadline(call),
        (Active { .. } | Ended(_), Command::KeepDeadline) => Err(NotDue.into()),

        (Trying | Ringing | Active { .. }, Command::Report) => Err(NotDue.into()),
        (Ended(end), Command::Report) => report(call, end),

        (Trying | Ringing, Command::Expire(presence)) => expire_ringing(call, presence, now),
        (Active { accepted_at, until, .. }, Command::Expire(presence)) => {
            expire_active(call, *accepted_at, *until, presence, now)
        }
        (Ended(_), Command::Expire(_)) => Err(NotDue.into()),
    }
}

fn require(call: &Call, actor: &Actor, role: Role) -> Result<(), Refused> {
    if call.role_of(&actor.user) == Some(role) { Ok(()) } else { Err(NotAParticipant.into()) }
}

/// The backend spoke for a call that a phone dialled: what it shows on a ring screen takes the place of the phone's.
fn name_by_backend(call: &mut Call, ring_details: Option<&RingDetails>) {
    call.named = true;
    if let (Some(dialled), Some(ring_details)) = (&mut call.ring_details, ring_details) {
        // The phone's token gave it a name, which is the backend's word too.
        let name = if ring_details.caller_name == UNNAMED { &dialled.caller_name } else { &ring_details.caller_name };
        *dialled = RingDetails { caller_name: name.clone(), ..ring_details.clone() };
    }
}

/// Binds the callee's side to the device that answered.
fn seat(call: &mut Call, by: &Actor) {
    call.callee.device = by.device.clone();
    call.callee.acks = by.acks;
    call.callee.attended |= by.session.is_some();
    call.callee.keep_token(by.token.as_ref());
}

/// Over REST the backend has obeyed already what is refused here: its row is ongoing, and that is kept to be undone.
fn reopened(call: &Call, end: &End, by: &Actor, now: Timestamp) -> Option<Box<Call>> {
    if by.session.is_some() || is_undone_later(end, now) {
        return None;
    }
    Some(Box::new(Call { state: Ended(End { reopened: Some(now), ..end.clone() }), ..call.clone() }))
}

fn ender(by: &Actor, role: Role, verb: Verb) -> Ender {
    Ender { role, device: by.device.clone(), verb }
}

fn hang_up(call: &Call, by: &Actor, role: Role, verb: Verb, text: Option<String>, now: Timestamp) -> Call {
    let reason = EndReason::HungUp { by: Some(role), accept_missed: call.is_ringing() };
    let mut next = call.ended(reason, Some(ender(by, role, verb)), text, now);
    next.party_mut(role).keep_token(by.token.as_ref());
    next
}

/// Nobody makes the call any more.
fn withdraw(call: &Call, now: Timestamp) -> Decision {
    let Some(accepted_at) = call.accepted_at() else {
        return Decision::tell_both(call.ended(EndReason::Cancelled, None, None, now));
    };
    // As a cancel that met an accept; in nobody's name, as another session of the caller may have joined it since.
    let hung_up = EndReason::HungUp { by: None, accept_missed: false };
    let mut next = call.ended(hung_up, None, None, now);
    hold_for_the_accept(&mut next, accepted_at, now);
    Decision::tell_both(next)
}

/// The accept may not have been heard yet: the end is said after it.
fn hold_for_the_accept(ended: &mut Call, accepted_at: Timestamp, now: Timestamp) {
    let audible = accepted_at + Duration::from_millis(ended.timeouts.accept_hold);
    if let (true, Ended(end)) = (now < audible, &mut ended.state) {
        end.hold_until = Some(audible);
    }
}

fn repeat(end: &End, by: &Actor, role: Role, verb: Verb) -> Result<Decision, Refused> {
    match &end.by {
        Some(ender) if ender.role == role && ender.verb == verb && ender.device.matches(&by.device) => {
            Ok(Decision::unchanged())
        }
        Some(_) | None => Err(InvalidState.into()),
    }
}
