//! What each line of a history says about how a call ended.

use serde_json::Value;

use super::video::is_of_video;
use crate::chaos::history::{Entry, What};
use crate::chaos::world::is_obeyed;

/// Ways in which a call may have ended, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways(u16);

impl Ways {
    pub const CANCELLED: Ways = Ways(1);
    pub const SUPERSEDED: Ways = Ways(1 << 1);
    pub const CALLER_GONE: Ways = Ways(1 << 2);
    pub const REJECTED: Ways = Ways(1 << 3);
    pub const NO_ANSWER: Ways = Ways(1 << 4);
    pub const BUSY: Ways = Ways(1 << 5);
    /// Hung up while it rang: whoever did believed it accepted.
    pub const MISSED: Ways = Ways(1 << 6);
    pub const HUNG_UP: Ways = Ways(1 << 7);
    pub const LOST: Ways = Ways(1 << 8);
    pub const MAXIMUM: Ways = Ways(1 << 9);
    pub const ANY: Ways = Ways((1 << 10) - 1);

    pub const fn or(self, other: Ways) -> Ways {
        Ways(self.0 | other.0)
    }

    pub fn and(self, other: Ways) -> Ways {
        Ways(self.0 & other.0)
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// A name for tables; that of the likeliest where several are left.
    pub fn name(self) -> &'static str {
        const NAMES: [(Ways, &str); 10] = [
            (Ways::HUNG_UP, "hung up"),
            (Ways::REJECTED, "rejected"),
            (Ways::CANCELLED, "cancelled"),
            (Ways::NO_ANSWER, "no answer"),
            (Ways::BUSY, "busy"),
            (Ways::MISSED, "hung up while ringing"),
            (Ways::CALLER_GONE, "caller gone"),
            (Ways::LOST, "lost"),
            (Ways::SUPERSEDED, "superseded"),
            (Ways::MAXIMUM, "maximum"),
        ];
        NAMES.iter().find(|(way, _)| !self.and(*way).is_none()).map_or("contradictory", |(_, name)| name)
    }
}

/// After an accept.
const ACCEPTED: Ways = Ways::HUNG_UP.or(Ways::LOST).or(Ways::MAXIMUM);
const ANY_HANG_UP: Ways = Ways::HUNG_UP.or(Ways::MISSED);

/// What a line says about a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Word {
    pub ways: Ways,
    /// It says that the call has ended, for everybody.
    pub ends: bool,
    /// The phone has nothing more to do with the call.
    pub frees: bool,
}

impl Word {
    const fn end(ways: Ways) -> Option<Self> {
        Some(Word { ways, ends: true, frees: true })
    }

    /// The call goes on elsewhere, or its end was told before.
    const FREED: Option<Self> = Some(Word { ways: Ways::ANY, ends: false, frees: true });

    const fn accepted() -> Option<Self> {
        Some(Word { ways: ACCEPTED, ends: false, frees: false })
    }
}

/// What is known so far of a call when a line about it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// The phone has accepted it,
    pub sent: bool,
    /// and was refused.
    pub refused: bool,
    /// Its dial was answered, and not with "unavailable": it is not withdrawn.
    pub dialled: bool,
}

/// Whether the line answers a dial, and not with "unavailable".
pub fn is_dialled(entry: &Entry) -> bool {
    let (What::Acked { event, answer, .. } | What::Answered { event, answer, .. }) = &entry.what else { return false };
    event == "call:initiate" && answer.is_object() && answer["code"] != "unavailable"
}

/// Whether a phone knows after this line that the call exists.
pub fn tells_of_the_call(line: &Entry, id: &str) -> bool {
    match &line.what {
        What::Heard { event, .. } => event != "call:reject:confirmed",
        What::Acked { event, answer, .. } if event == "call:initiate" => {
            answer["success"] == true || answer["useFcmFallback"] == true
        }
        What::Open { call, .. } => call.as_ref().is_some_and(|call| call["callId"] == id),
        _ => false,
    }
}

/// Reads a line about the call `id`.
pub fn word(entry: &Entry, id: &str, accepts: Known) -> Option<Word> {
    match &entry.what {
        What::Open { call, ended, .. } => {
            if let Some(outcome) = ended.iter().find(|outcome| outcome["callId"] == id) {
                return Word::end(by_name(outcome["reason"].as_str()));
            }
            let live = call.as_ref().filter(|call| call["callId"] == id && call["state"] == "active")?;
            // Another device of the callee has it.
            if live["role"] == "callee" && !accepts.sent { Word::FREED } else { Word::accepted() }
        }
        What::Heard { event, payload, .. } => {
            // The end of a ring that was withdrawn: who dialled it was told, or may believe, that it never began.
            if event == "call:timeout" && !accepts.dialled {
                return Word::end(Ways::NO_ANSWER.or(Ways::CANCELLED));
            }
            heard(event, payload["reason"].as_str().unwrap_or_default(), accepts.refused)
        }
        What::Acked { event, answer, .. } => acked(event, answer),
        // Who said it has done what he could.
        What::Said { event, .. } if event != "call:accept" => Word::FREED,
        What::Answered { event, status: Some(200), answer, .. } => answered(event, answer),
        _ => None,
    }
}

/// Over HTTP.
fn answered(event: &str, answer: &Value) -> Option<Word> {
    if !is_obeyed(answer) {
        return if answer["state"] == "ended" { Word::end(Ways::ANY) } else { Word::FREED };
    }
    match event {
        "call:accept" => Word::accepted(),
        "call:reject" => Word::end(Ways::REJECTED.or(Ways::HUNG_UP)),
        "call:cancel" => Word::end(Ways::CANCELLED.or(Ways::HUNG_UP)),
        "call:end" => Word::end(ANY_HANG_UP),
        _ => None,
    }
}

fn heard(event: &str, reason: &str, was_refused: bool) -> Option<Word> {
    match (event, reason) {
        ("call:accepted", _) => Word::accepted(),
        ("call:rejected", _) => Word::end(Ways::REJECTED),
        ("call:timeout", _) => Word::end(Ways::NO_ANSWER),
        ("call:busy", _) => Word::end(Ways::BUSY),
        ("call:cancelled", "Answered elsewhere") => Word::FREED,
        ("call:cancelled", "Declined elsewhere") => Word::end(Ways::REJECTED.or(Ways::BUSY)),
        ("call:cancelled", "Timeout") => Word::end(Ways::NO_ANSWER),
        ("call:cancelled", "User disconnected") => Word::end(Ways::CALLER_GONE),
        ("call:cancelled", _) => Word::end(Ways::CANCELLED.or(Ways::SUPERSEDED).or(Ways::MISSED)),
        // The answer to an accept that lost says no more than that the call is over.
        ("call:ended", "Call ended") => Word::end(Ways::ANY),
        ("call:ended", "Remote user ended call") if was_refused => Word::end(Ways::ANY),
        ("call:ended", "User disconnected") => Word::end(Ways::LOST),
        ("call:ended", "Maximum duration reached") => Word::end(Ways::MAXIMUM),
        ("call:ended", _) => Word::end(ANY_HANG_UP),
        _ => None,
    }
}

fn acked(event: &str, answer: &Value) -> Option<Word> {
    let (code, state) = (answer["code"].as_str(), answer["state"].as_str());
    match (event, answer["success"] == true) {
        // Too late, or not for this device: the call goes on.
        (_, false) if is_of_video(event) && code == Some("invalid_state") && state != Some("ended") => None,
        ("call:initiate", false) if answer["busy"] == true => Word::end(Ways::BUSY),
        ("call:initiate", _) => None,
        ("call:accept", true) => Word::accepted(),
        ("call:reject", true) => Word::end(Ways::REJECTED.or(Ways::HUNG_UP)),
        ("call:cancel", true) => Word::end(Ways::CANCELLED.or(Ways::HUNG_UP)),
        ("call:end", true) => Word::end(ANY_HANG_UP),
        (_, false) if code == Some("invalid_state") && state == Some("ended") => {
            Word::end(by_name(answer["reason"].as_str()))
        }
        (_, false) if matches!(code, Some("invalid_state" | "not_a_participant" | "call_not_found")) => Word::FREED,
        _ => None,
    }
}

fn by_name(reason: Option<&str>) -> Ways {
    match reason {
        Some("cancelled") => Ways::CANCELLED,
        Some("superseded") => Ways::SUPERSEDED,
        Some("caller_gone") => Ways::CALLER_GONE,
        Some("rejected") => Ways::REJECTED,
        Some("no_answer") => Ways::NO_ANSWER,
        Some("busy") => Ways::BUSY,
        Some("hung_up") => ANY_HANG_UP,
        Some("lost") => Ways::LOST,
        Some("max_duration") => Ways::MAXIMUM,
        _ => Ways::ANY,
    }
}
