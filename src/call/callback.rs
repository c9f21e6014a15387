//! What an unmodified backend is told of a call over its own REST API (docs/semantics.md 8):
//! derived from the change alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Call, Device, End, EndReason, Role, RowStatus, State, Timestamp, Verb};

/// A request in the name of a party.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Callback {
    pub ask: Ask,
    /// Whose token it is made with.
    pub by: Role,
    pub due: Timestamp,
    /// Not made after this.
    pub until: Timestamp,
    /// When the call was created that it is about: its id may be another's by now. Absent from an older node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Timestamp>,
}

impl Callback {
    pub fn is_of(&self, call: &Call) -> bool {
        self.of.is_none_or(|created_at| created_at == call.created_at)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    Reject {
        reason: String,
    },
    Cancel {
        reason: String,
        /// Needless if the backend reports the cancel by itself meanwhile.
        unless_reported: bool,
    },
    /// The backend has an accepted call that nobody is in. A second end would cost money: it is repeated only where the
    /// row still is ongoing.
    End,
    /// Ends the row if it is ongoing, which is looked at before the first request too: the apps may have ended it.
    EndOngoing {
        /// Talking time.
        #[serde(default)]
        seconds: u64,
    },
}

/// What is left to say of a row that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// What was to be said.
    Same,
    /// An end without talking time in its place: it was accepted there.
    End,
    /// It is open, and no request that is known to be harmless closes it.
    Unclear,
}

/// The app's own REST request goes first.
const TWIN: Duration = Duration::from_secs(2);
/// How long the end of a ring is tried to be told, and that of a lost call.
const TOLD_FOR: Duration = Duration::from_secs(120);
/// The app's REST accept must have come before the end that undoes it, and below 10 s nothing is billed.
const ACCEPT_SETTLES: Duration = Duration::from_secs(5);
const UNBILLED: Duration = Duration::from_secs(9);
/// A phone of a lost call that is alive hears of the end and tells the backend itself.
const LOSS_SETTLES: Duration = Duration::from_secs(10);

/// What the backend has to be told of a change.
pub fn callbacks(before: Option<&Call>, after: &Call) -> Option<Callback> {
    Some(Callback { of: Some(after.created_at), ..of_a_change(before, after)? })
}

fn of_a_change(before: Option<&Call>, after: &Call) -> Option<Callback> {
    let State::Ended(end) = &after.state else { return None };
    let known = before.and_then(Call::end);
    if let Some(at) = end.reopened
        && known.is_none_or(|known| known.reopened != Some(at))
    {
        return Some(close_again(at));
    }
    match known {
        Some(known) if known.late_accept.is_none() => after_late_accept(end),
        Some(_) => None,
        None => after_end(after, end),
    }
}

/// Whether an accept over REST at `now`, by which the row of an ended call is ongoing again, is undone by a request that
/// is not due yet.
pub(super) fn is_undone_later(end: &End, now: Timestamp) -> bool {
    let late = end.late_accept.as_ref().filter(|_| after_late_accept(end).is_some()).map(|late| late.at);
    [late, end.reopened].into_iter().flatten().any(|at| now < at + ACCEPT_SETTLES)
}

/// Judges a row that was looked at because of `ask`.
pub fn left_to_say(ask: &Ask, call: &Call, row: RowStatus, now: Timestamp) -> Left {
    match (ask, row) {
        (_, RowStatus::Rejected | RowStatus::Cancelled | RowStatus::Missed | RowStatus::Ended) => Left::Nothing,
        (Ask::Reject { .. } | Ask::Cancel { .. }, RowStatus::Open) => Left::Same,
        (Ask::Reject { .. } | Ask::Cancel { .. }, RowStatus::Ongoing) => {
            if call.end().is_some_and(|end| end.late_accept.is_some() || end.reopened.is_some()) {
                // Another request undoes that accept.
                Left::Nothing
            } else if now < call.created_at + UNBILLED {
                // Whenever it was accepted, nothing is billed yet.
                Left::End
            } else {
                Left::Unclear
            }
        }
        (Ask::End | Ask::EndOngoing { .. }, RowStatus::Ongoing) => Left::Same,
        // The request that closes the ring is another one.
        (Ask::End, RowStatus::Open) => Left::Nothing,
        (Ask::EndOngoing { .. }, RowStatus::Open) => Left::Unclear,
    }
}

fn after_end(call: &Call, end: &End) -> Option<Callback> {
    if end.late_accept.is_some() {
        return after_late_accept(end);
    }
    // Over HTTP it was the backend itself that said so.
    let by_phone = end.by.as_ref().filter(|by| by.device != Device::Unknown);
    let words = |default: &str| end.text.clone().unwrap_or_else(|| default.to_owned());
    let cancel = |reason: String, pause: Duration| Callback {
        ask: Ask::Cancel { reason, unless_reported: !pause.is_zero() },
        by: Role::Caller,
        due: end.at + pause,
        until: end.at + TOLD_FOR,
        of: None,
    };
    match end.reason {
        EndReason::Rejected => by_phone.map(|_| Callback {
            ask: Ask::Reject { reason: words("User declined") },
            by: Role::Callee,
            due: end.at,
            until: end.at + TOLD_FOR,
            of: None,
        }),
        EndReason::Cancelled => by_phone.map(|_| cancel(words("Caller ended call"), TWIN)),
        EndReason::NoAnswer => Some(cancel("No answer".into(), Duration::ZERO)),
        EndReason::CallerGone => Some(cancel("User disconnected".into(), Duration::ZERO)),
        EndReason::Superseded => Some(cancel("Caller ended call".into(), Duration::ZERO)),
        EndReason::Busy => Some(cancel("User is busy".into(), Duration::ZERO)),
        // A cancel that met a young accept; any other end both apps tell.
        EndReason::HungUp { by: Some(Role::Caller), .. } => {
            by_phone.filter(|by| by.verb == Verb::Cancel && end.hold_until.is_some())?;
            Some(undo(end.accepted_at?))
        }
        EndReason::HungUp { .. } | EndReason::Other(_) => None,
        // Nobody else can close the row.
        EndReason::Lost { .. } => Some(close(call, end)),
        EndReason::MaxDuration => is_left(call).then(|| close(call, end)),
    }
}

fn after_late_accept(end: &End) -> Option<Callback> {
    let late = end.late_accept.as_ref()?;
    match end.reason {
        EndReason::Cancelled
        | EndReason::Superseded
        | EndReason::CallerGone
        | EndReason::Rejected
        | EndReason::NoAnswer
        | EndReason::Busy => Some(undo(late.at)),
        // Media flowed: both apps end it themselves. But over REST the row became ongoing after their end.
        EndReason::HungUp { .. } | EndReason::Lost { .. } | EndReason::MaxDuration => {
            (!late.device.is_known()).then(|| close_again(late.at))
        }
        EndReason::Other(_) => None,
    }
}

fn undo(accepted_at: Timestamp) -> Callback {
    Callback {
        ask: Ask::End,
        by: Role::Callee,
        due: accepted_at + ACCEPT_SETTLES,
        until: accepted_at + UNBILLED,
        of: None,
    }
}

fn close_again(accepted_at: Timestamp) -> Callback {
    Callback { ask: Ask::EndOngoing { seconds: 0 }, ..undo(accepted_at) }
}

fn close(call: &Call, end: &End) -> Callback {
    Callback {
        ask: Ask::EndOngoing { seconds: call.talk().unwrap_or_default().as_secs() },
        by: Role::Caller,
        due: end.at + LOSS_SETTLES,
        until: end.at + TOLD_FOR,
        of: None,
    }
}

/// Whoever was in the call by a session is away, so that no phone hears of its end. A call that never had a session is
/// the business of the backend alone.
fn is_left(call: &Call) -> bool {
    let parties = [&call.caller, &call.callee];
    parties.iter().any(|party| party.attended)
        && parties.iter().all(|party| !party.attended || party.absent_since.is_some())
}
