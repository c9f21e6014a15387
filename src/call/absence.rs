//! Who is away, for how long, and what a deadline means.

use std::time::Duration;

use super::Refusal::NotDue;
use super::State::Active;
use super::asking::{ask_for_push, ask_later};
use super::{Call, Decision, EndReason, Party, Refused, Role, Timestamp, Witness};

/// Graces are prolonged by this much when a large part of the cluster vanished at once.
const PROLONGED: Duration = Duration::from_secs(120);

pub(super) fn leave(call: &Call, role: Role, at: Timestamp, grace: u64) -> Result<Decision, Refused> {
    if call.party(role).absent_since.is_some() {
        return Err(NotDue.into());
    }
    let mut next = call.clone();
    let party = next.party_mut(role);
    party.attended = true;
    party.absent_since = Some(at);
    party.grace_until = Some(at + Duration::from_millis(grace));
    Ok(Decision::quiet(next))
}

/// Who left while it rang and is still away when it is accepted has the time of a party to a call, from when he left.
pub(super) fn grace_of_a_call(party: &mut Party, grace: u64) {
    if let (Some(since), Some(until)) = (party.absent_since, party.grace_until) {
        party.grace_until = Some(until.max(since + Duration::from_millis(grace)));
    }
}

pub(super) fn come_back(call: &mut Call, role: Role) {
    let party = call.party_mut(role);
    party.absent_since = None;
    party.grace_until = None;
    party.prolonged = false;
    let other_is_here = call.party(role.other()).absent_since.is_none();
    if let Active { doubtful, until, .. } = &mut call.state {
        // Doubt about the maximum stays, doubt about an absence goes with it.
        *doubtful = *doubtful && (!other_is_here || until.is_none() || call.unvouched);
    }
}

pub(super) fn expire_ringing(call: &Call, witness: &Witness, now: Timestamp) -> Result<Decision, Refused> {
    match call.caller.grace_until {
        Some(grace) if grace <= now && grace < call.ring_until => {
            let mut next = call.clone();
            if witness.caller_present {
                come_back(&mut next, Role::Caller);
                Ok(Decision::quiet(next))
            } else if witness.storm && !call.caller.prolonged {
                prolong(&mut next, Role::Caller, now);
                Ok(Decision::quiet(next))
            } else {
                Ok(Decision::tell(call.ended(EndReason::CallerGone, None, None, now), Role::Callee))
            }
        }
        Some(_) | None => match call.inquiry {
            Some(inquiry) if inquiry.at <= now => ask_later(call, inquiry, now),
            None if call.ring_until <= now => Ok(Decision::tell_both(call.ended(EndReason::NoAnswer, None, None, now))),
            // Nobody confirmed: perhaps nobody was told, by a node that died or lost the store. Whoever judges tells again.
            Some(_) | None if call.push_due().is_some_and(|due| due <= now) => {
                ask_for_push(call, now).map(|decision| Decision { tell_callee: true, ..decision })
            }
            Some(_) | None => Err(NotDue.into()),
        },
    }
}

pub(super) fn expire_active(
    call: &Call,
    accepted_at: Timestamp,
    until: Option<Timestamp>,
    witness: &Witness,
    now: Timestamp,
) -> Result<Decision, Refused> {
    let mut next = call.clone();
    for role in [Role::Caller, Role::Callee] {
        if call.party(role).grace_until.is_none_or(|grace| grace > now) {
            continue;
        }
        let present = match role {
            Role::Caller => witness.caller_present,
            Role::Callee => witness.callee_present,
        };
        if present {
            come_back(&mut next, role);
            return Ok(Decision::quiet(next));
        }
        if witness.storm && !call.party(role).prolonged {
            prolong(&mut next, role, now);
            return Ok(Decision::quiet(next));
        }
        let other = call.party(role.other());
        if call.party(role).acks || (other.attended && other.absent_since.is_some() && other.grace_until.is_none()) {
            return Ok(Decision::tell_both(call.ended(EndReason::Lost { party: role }, None, None, now)));
        }
        next.party_mut(role).grace_until = None;
        next.state = Active { accepted_at, until, doubtful: true };
        return Ok(Decision::quiet(next));
    }
    if until.is_some_and(|until| until <= now) {
        let parties = [&call.caller, &call.callee];
        let nobody_ever = parties.iter().all(|party| !party.attended);
        if nobody_ever || parties.iter().any(|party| party.acks) {
            return Ok(Decision::tell_both(call.ended(EndReason::MaxDuration, None, None, now)));
        }
        next.state = Active { accepted_at, until: None, doubtful: true };
        return Ok(Decision::quiet(next));
    }
    Err(NotDue.into())
}

fn prolong(call: &mut Call, role: Role, now: Timestamp) {
    let party = call.party_mut(role);
    party.prolonged = true;
    party.grace_until = Some(now + PROLONGED);
}
