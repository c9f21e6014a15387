//! What the backend is asked because of a call: for a push, whether an active call still is one, and whether it knows
//! better than a deadline.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Refusal::NotDue;
use super::State::Ended;
use super::{Call, Decision, End, Push, Refused, Timestamp};

/// One question about a call that makes others busy in this time.
const VERIFIED_FOR: Duration = Duration::from_secs(5);
/// A backend that gives no answer is asked again after this; a node that died while it asked is succeeded then.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const ASKED_AT_MOST: u32 = 4;
/// Likewise of an accepted call whose parties are both away.
const ASK_ABOUT_ABSENT_AGAIN: Duration = Duration::from_secs(60);
const ASKED_ABOUT_ABSENT_AT_MOST: u32 = 10;

/// When the backend was last asked by webhook whether an active call still is one. `times` counts the questions, and the
/// changes of the type, which the backend is told of between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub times: u64,
    pub at: Timestamp,
}

/// The question to an unmodified backend whether it knows better than the ring deadline. As long as it is open, the
/// call is not judged by its ring deadline: one lost emit must not cut a call that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// When it is asked, or asked again.
    pub at: Timestamp,
    pub asked: u32,
}

pub(super) fn ask_for_push(call: &Call, now: Timestamp) -> Result<Decision, Refused> {
    match call.push {
        Push::Due(_) => Ok(Decision::quiet(Call { push: Push::Asked(now), ..call.clone() })),
        Push::Unwanted | Push::Asked(_) | Push::Other(_) => Err(NotDue.into()),
    }
}

pub(super) fn verify(call: &Call, now: Timestamp) -> Result<Decision, Refused> {
    if call.verified.is_some_and(|last| now.since(last.at) < VERIFIED_FOR) {
        return Err(NotDue.into());
    }
    let times = call.verified.map_or(0, |last| last.times) + 1;
    Ok(Decision::quiet(Call { verified: Some(Verified { times, at: now }), ..call.clone() }))
}

/// Whoever stores this asks the backend now. Without an answer in time the next one asks, and after the last the
/// ring deadline stands.
pub(super) fn ask_later(call: &Call, inquiry: Inquiry, now: Timestamp) -> Result<Decision, Refused> {
    let next = Inquiry { at: now + ASK_AGAIN, asked: inquiry.asked + 1 };
    let inquiry = (inquiry.asked < ASKED_AT_MOST).then_some(next);
    Ok(Decision::quiet(Call { inquiry, ..call.clone() }))
}

/// Whoever stores this asks the backend now whether the call goes on. Without a token of either party nobody can ask.
pub(super) fn first_question_about_absent(call: &Call, now: Timestamp) -> Option<Inquiry> {
    let may_ask = [&call.caller, &call.callee].iter().any(|party| !party.tokens.is_empty());
    may_ask.then(|| Inquiry { at: now + ASK_ABOUT_ABSENT_AGAIN, asked: 1 })
}

pub(super) fn ask_again_about_absent(call: &Call, inquiry: Inquiry, now: Timestamp) -> Decision {
    let next = Inquiry { at: now + ASK_ABOUT_ABSENT_AGAIN, asked: inquiry.asked + 1 };
    let inquiry = (inquiry.asked < ASKED_ABOUT_ABSENT_AT_MOST).then_some(next);
    Decision::quiet(Call { inquiry, ..call.clone() })
}

pub(super) fn keep_deadline(call: &Call) -> Result<Decision, Refused> {
    if call.inquiry.is_none() {
        return Err(NotDue.into());
    }
    Ok(Decision::quiet(Call { inquiry: None, ..call.clone() }))
}

pub(super) fn report(call: &Call, end: &End) -> Result<Decision, Refused> {
    if end.reported || end.reason.is_foreign() {
        return Ok(Decision::unchanged());
    }
    Ok(Decision::quiet(Call { state: Ended(End { reported: true, ..end.clone() }), ..call.clone() }))
}
