//! What an unmodified backend is told of a call over its own REST API (semantics.md, "With deployed apps and an
//! unmodified backend"): derived from the change alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Call, Device, End, EndReason, Role, State, Timestamp, Verb};

/// A request in the name of a party.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Callback {
    pub ask: Ask,
    /// Whose token it is made with.
    pub by: Role,
    pub due: Timestamp,
    /// Not made after this.
    pub until: Timestamp,
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
    /// The backend has an accepted call that nobody is in. Made once: a second end would cost money.
    End,
}

/// The app's own REST request goes first.
const TWIN: Duration = Duration::from_secs(2);
const REJECT_AGAIN: Duration = Duration::from_secs(5);
const CANCEL_FOR: Duration = Duration::from_secs(120);
/// The app's REST accept must have come before the end that undoes it, and below 10 s nothing is billed.
const ACCEPT_SETTLES: Duration = Duration::from_secs(5);
const UNBILLED: Duration = Duration::from_secs(9);

/// What the backend has to be told of a change.
pub fn callbacks(before: Option<&Call>, after: &Call) -> Option<Callback> {
    let State::Ended(end) = &after.state else { return None };
    match before.and_then(Call::end) {
        Some(known) if known.late_accept.is_none() => after_late_accept(end),
        Some(_) => None,
        None => after_end(end),
    }
}

fn after_end(end: &End) -> Option<Callback> {
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
        until: end.at + CANCEL_FOR,
    };
    match end.reason {
        EndReason::Rejected => by_phone.map(|_| Callback {
            ask: Ask::Reject { reason: words("User declined") },
            by: Role::Callee,
            due: end.at,
            until: end.at + REJECT_AGAIN,
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
        EndReason::HungUp { .. } | EndReason::Lost { .. } | EndReason::MaxDuration | EndReason::Other(_) => None,
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
        // Media flowed: both apps end it themselves.
        EndReason::HungUp { .. } | EndReason::Lost { .. } | EndReason::MaxDuration | EndReason::Other(_) => None,
    }
}

fn undo(accepted_at: Timestamp) -> Callback {
    Callback { ask: Ask::End, by: Role::Callee, due: accepted_at + ACCEPT_SETTLES, until: accepted_at + UNBILLED }
}
