//! Who is away, for how long, and what a deadline means.

use std::time::Duration;

use super::Refusal::NotDue;
use super::State::{Active, Ended, Ringing, Trying};
use super::asking::{ask_again_about_absent, ask_for_push, ask_later, first_question_about_absent};
use super::switching::expire_request;
use super::{Call, Decision, EndReason, Party, PartyPresence, Push, Refused, Role, Timestamp};

/// Graces are prolonged by this much when a large part of the cluster vanished at once.
const PROLONGED: Duration = Duration::from_secs(120);

/// `left`: when, whether its last session promised `acks`, and when that was found; who dialled or accepted over HTTP promised nothing by that.
pub(super) fn leave(
    call: &Call,
    role: Role,
    left: (Timestamp, bool, Timestamp),
    grace: u64,
) -> Result<Decision, Refused> {
    let (at, acks, found) = left;
    // Who dialled or accepted was there then, whatever is found out of an earlier session only now.
    let seen = match role {
        Role::Caller => call.created_at,
        Role::Callee => call.accepted_at().unwrap_or(call.created_at),
    };
    let at = at.max(seen);
    // Of several sessions that are found to have left, the last one counts, until the absence is judged.
    let is_judged = matches!(call.state, Active { doubtful: true, .. });
    if call.party(role).absent_since.is_some_and(|since| since >= at || is_judged) {
        return Err(NotDue.into());
    }
    let mut next = call.clone();
    let party = next.party_mut(role);
    party.attended = true;
    party.acks |= acks;
    party.absent_since = Some(at);
    // Where it was found out late he may have been elsewhere meanwhile, and has all of the time to come back.
    party.grace_until = party.grace_until.max(Some(found.max(at) + Duration::from_millis(grace)));
    Ok(Decision::quiet(next))
}

/// Who left while it rang and is still away when it is accepted has the time of a party to a call, from when he left.
pub(super) fn grace_of_a_call(party: &mut Party, grace: u64) {
    if let (Some(since), Some(until)) = (party.absent_since, party.grace_until) {
        party.grace_until = Some(until.max(since + Duration::from_millis(grace)));
    }
}

pub(super) fn come_back(call: &mut Call, role: Role, now: Timestamp) {
    let party = call.party_mut(role);
    if let Some(since) = party.absent_since.take() {
        party.reconnects += 1;
        party.away += u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
    }
    party.grace_until = None;
    party.prolonged = false;
    let other_is_away = call.party(role.other()).is_away();
    if let Active { doubtful, until, .. } = &mut call.state {
        // Doubt about the maximum stays, doubt about an absence goes with it.
        *doubtful = *doubtful && (other_is_away || until.is_none() || call.unvouched);
        call.lost_at = None;
        call.inquiry = None;
    }
}

impl Party {
    /// It has been away for longer than its grace.
    pub(super) fn is_away(&self) -> bool {
        self.absent_since.is_some() && self.grace_until.is_none()
    }
}

impl Call {
    /// The earliest time at which [`super::step()`] with `Expire` has something to decide.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            Trying | Ringing => {
                let grace = self.caller.grace_until.filter(|grace| *grace < self.ring_until);
                let judged = self.inquiry.map_or(self.ring_until, |inquiry| inquiry.at);
                [grace, Some(judged), self.push_due()].into_iter().flatten().min()
            }
            Active { until, .. } => {
                let asked = self.inquiry.map(|inquiry| inquiry.at);
                let graces = [self.caller.grace_until, self.callee.grace_until];
                [*until, self.lost_at, asked, self.request_due()].into_iter().chain(graces).flatten().min()
            }
            Ended(_) => None,
        }
    }

    /// When the backend is to be asked for a push, if nobody confirms before.
    pub(super) fn push_due(&self) -> Option<Timestamp> {
        match (&self.state, self.push) {
            (Trying, Push::Due(at)) => Some(at),
            (Trying, Push::Unwanted | Push::Asked(_) | Push::Other(_)) => None,
            (Ringing | Active { .. } | Ended(_), _) => None,
        }
    }

    pub fn are_both_away(&self) -> bool {
        self.caller.is_away() && self.callee.is_away()
    }

    /// Both are away, or never were here.
    pub(super) fn is_nobody_there(&self) -> bool {
        [&self.caller, &self.callee].into_iter().all(|party| !party.attended || party.is_away())
    }
}

pub(super) fn expire_ringing(call: &Call, presence: &PartyPresence, now: Timestamp) -> Result<Decision, Refused> {
    match call.caller.grace_until {
        Some(grace) if grace <= now && grace < call.ring_until && !presence.unsure => {
            let mut next = call.clone();
            if presence.caller_present {
                come_back(&mut next, Role::Caller, now);
                Ok(Decision::quiet(next))
            } else if presence.mass_disconnect && !call.caller.prolonged {
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
    presence: &PartyPresence,
    now: Timestamp,
) -> Result<Decision, Refused> {
    let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    let doubtful = |until| Active { accepted_at, until, doubtful: true };
    if let Some(decision) = expire_request(call, presence, now) {
        return Ok(decision);
    }
    let mut next = call.clone();
    for role in [Role::Caller, Role::Callee] {
        if !is_due(call.party(role).grace_until) {
            continue;
        }
        if presence.has(role) {
            come_back(&mut next, role, now);
            return Ok(Decision::quiet(next));
        }
        if presence.unsure {
            continue;
        }
        if presence.mass_disconnect && !call.party(role).prolonged {
            prolong(&mut next, role, now);
            return Ok(Decision::quiet(next));
        }
        if call.party(role).acks {
            return Ok(Decision::tell_both(call.ended(EndReason::Lost { party: role }, None, None, now)));
        }
        next.party_mut(role).grace_until = None;
        next.state = doubtful(until);
        if next.are_both_away() {
            // Counted from now: while no node was there to come back to, nobody was late.
            let rest = call.timeouts.lost.saturating_sub(call.timeouts.call_grace);
            next.lost_at = Some(now + Duration::from_millis(rest));
            next.inquiry = first_question_about_absent(&next, now);
        }
        return Ok(Decision::quiet(next));
    }
    let asked = call.inquiry.map(|inquiry| inquiry.at);
    if call.are_both_away() && [until, call.lost_at, asked].into_iter().any(is_due) {
        // Whoever comes back is noticed at once, unless the store failed then.
        if let Some(role) = [Role::Caller, Role::Callee].into_iter().find(|role| presence.has(*role)) {
            come_back(&mut next, role, now);
            return Ok(Decision::quiet(next));
        }
    }
    if is_due(until) {
        let parties = [&call.caller, &call.callee];
        if call.is_nobody_there() || parties.iter().any(|party| party.acks) {
            return Ok(Decision::tell_both(call.ended(EndReason::MaxDuration, None, None, now)));
        }
        next.state = doubtful(None);
        return Ok(Decision::quiet(next));
    }
    if is_due(call.lost_at) {
        let is_caller_first = call.caller.absent_since <= call.callee.absent_since;
        let party = if is_caller_first { Role::Caller } else { Role::Callee };
        return Ok(Decision::tell_both(call.ended(EndReason::Lost { party }, None, None, now)));
    }
    match call.inquiry {
        Some(inquiry) if inquiry.at <= now => Ok(ask_again_about_absent(call, inquiry, now)),
        Some(_) | None => Err(NotDue.into()),
    }
}

fn prolong(call: &mut Call, role: Role, now: Timestamp) {
    let party = call.party_mut(role);
    party.prolonged = true;
    party.grace_until = Some(now + PROLONGED);
}
