use std::time::Duration;

use super::switching::hears_of_switching;
use super::{Call, Device, End, EndReason, Role, SessionId, State, Timestamp, UserId};

/// Something said to a phone about a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    Incoming,
    Ringing,
    Accepted,
    Rejected {
        reason: String,
    },
    Cancelled {
        reason: String,
    },
    Ended {
        reason: String,
        by: Option<UserId>,
        duration: Option<Duration>,
    },
    Timeout,
    Busy,
    /// The other side asks for video.
    UpgradeRequest {
        number: u64,
        by: UserId,
        until: Timestamp,
    },
    /// How the own request was answered; `reason` is why not.
    UpgradeResponse {
        number: u64,
        accepted: bool,
        reason: Option<String>,
        at: Timestamp,
    },
    /// The other side went back to audio.
    Downgraded {
        number: u64,
        by: UserId,
        at: Timestamp,
    },
}

/// Each kind is said at most once per call and session; what has a number, once for each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum SayKind {
    Incoming,
    Ringing,
    Accepted,
    Rejected,
    Cancelled,
    Ended,
    Timeout,
    Busy,
    UpgradeRequest,
    UpgradeResponse,
    Downgraded,
}

/// A ring that is judged so late was read from a store that came back older, or nobody could judge it.
const JUDGED_LATE: Duration = Duration::from_secs(20);

/// Whether the end of a ring is no news to a session: it connected after the ring was over by its deadline, and that was
/// judged much later. Said all the same, it would close whatever screen is open by now.
pub fn is_stale_ring(call: &Call, connected_at: Timestamp) -> bool {
    let Some(end) = call.end().filter(|end| end.accepted_at.is_none()) else { return false };
    connected_at > call.ring_until && end.at.since(call.ring_until) > JUDGED_LATE
}

impl SayKind {
    pub fn name(self) -> &'static str {
        match self {
            SayKind::Incoming => "incoming",
            SayKind::Ringing => "ringing",
            SayKind::Accepted => "accepted",
            SayKind::Rejected => "rejected",
            SayKind::Cancelled => "cancelled",
            SayKind::Ended => "ended",
            SayKind::Timeout => "timeout",
            SayKind::Busy => "busy",
            SayKind::UpgradeRequest => "upgrade_request",
            SayKind::UpgradeResponse => "upgrade_response",
            SayKind::Downgraded => "downgraded",
        }
    }

    /// The deployed app aborts any calling screen on these, whatever call they name: never said late.
    pub fn aborts_any_screen(self) -> bool {
        match self {
            SayKind::Rejected | SayKind::Timeout | SayKind::Busy => true,
            SayKind::Incoming | SayKind::Ringing | SayKind::Accepted | SayKind::Cancelled | SayKind::Ended => false,
            SayKind::UpgradeRequest | SayKind::UpgradeResponse | SayKind::Downgraded => false,
        }
    }
}

impl Say {
    pub fn kind(&self) -> SayKind {
        match self {
            Say::Incoming => SayKind::Incoming,
            Say::Ringing => SayKind::Ringing,
            Say::Accepted => SayKind::Accepted,
            Say::Rejected { .. } => SayKind::Rejected,
            Say::Cancelled { .. } => SayKind::Cancelled,
            Say::Ended { .. } => SayKind::Ended,
            Say::Timeout => SayKind::Timeout,
            Say::Busy => SayKind::Busy,
            Say::UpgradeRequest { .. } => SayKind::UpgradeRequest,
            Say::UpgradeResponse { .. } => SayKind::UpgradeResponse,
            Say::Downgraded { .. } => SayKind::Downgraded,
        }
    }

    /// What tells one of its kind from the one before it, where a call may have several.
    pub fn number(&self) -> Option<u64> {
        match self {
            Say::UpgradeRequest { number, .. }
            | Say::UpgradeResponse { number, .. }
            | Say::Downgraded { number, .. } => Some(*number),
            Say::Incoming
            | Say::Ringing
            | Say::Accepted
            | Say::Rejected { .. }
            | Say::Cancelled { .. }
            | Say::Ended { .. }
            | Say::Timeout
            | Say::Busy => None,
        }
    }

    /// Whether it is too old to be said: a request that is over, an answer of longer ago than `grace`.
    pub fn is_stale(&self, grace: Duration, now: Timestamp) -> bool {
        match self {
            Say::UpgradeRequest { until, .. } => *until <= now,
            Say::UpgradeResponse { at, .. } | Say::Downgraded { at, .. } => now.since(*at) > grace,
            Say::Incoming
            | Say::Ringing
            | Say::Accepted
            | Say::Rejected { .. }
            | Say::Cancelled { .. }
            | Say::Ended { .. }
            | Say::Timeout
            | Say::Busy => false,
        }
    }

    pub fn cancelled(reason: &str) -> Self {
        Say::Cancelled { reason: reason.to_owned() }
    }
}

/// What a session of `role` on `device` is to have been told about `call` as it stands. Live envelopes, healing and
/// replay all ask this, so they can't disagree.
pub fn hears(call: &Call, role: Role, device: &Device, session: Option<&SessionId>) -> Vec<Say> {
    match (&call.state, role) {
        (State::Trying | State::Ringing, Role::Callee) => vec![Say::Incoming],
        (State::Trying, Role::Caller) => vec![],
        (State::Ringing, Role::Caller) => vec![Say::Ringing],
        (State::Active { .. }, Role::Caller) => {
            let mut says = vec![Say::Accepted];
            if call.caller.device.matches(device) {
                says.extend(hears_of_switching(call, role));
            }
            says
        }
        (State::Active { .. }, Role::Callee) => {
            if call.callee.device.matches(device) {
                hears_of_switching(call, role)
            } else {
                vec![Say::cancelled("Answered elsewhere")]
            }
        }
        (State::Ended(end), role) => {
            let in_the_call = call.party(role).device.matches(device);
            let mut says = if in_the_call { hears_of_switching(call, role) } else { vec![] };
            says.extend(after_end(call, end, role, device, session));
            says
        }
    }
}

/// When a session that promised no acknowledgements may hear `say`: the deployed app has no screen that listens to
/// `call:ended` in the first seconds after an accept. Absent: at once.
pub fn held_until(call: &Call, role: Role, acks: bool, kind: SayKind) -> Option<Timestamp> {
    let end = call.end()?;
    if role != Role::Callee || acks || kind != SayKind::Ended {
        return None;
    }
    let late = end.late_accept.as_ref().map(|late| late.at + Duration::from_millis(call.terms.accept_hold));
    late.or(end.hold_until)
}

fn after_end(call: &Call, end: &End, role: Role, device: &Device, session: Option<&SessionId>) -> Vec<Say> {
    let mut says = Vec::new();
    let words = |default: &str| end.text.clone().unwrap_or_else(|| default.to_owned());
    let elsewhere = end.by.as_ref().is_some_and(|by| by.role == role && !by.device.matches(device));
    match (end.reason, role) {
        (EndReason::Cancelled | EndReason::Superseded, Role::Callee) => {
            says.push(Say::Cancelled { reason: words("Caller ended call") });
        }
        (EndReason::CallerGone, Role::Callee) => says.push(Say::cancelled("User disconnected")),
        // Withdrawn: the session that dialled was refused, another of its user may have joined the ring since.
        (EndReason::Cancelled, Role::Caller) if end.by.is_none() && session != call.caller.session.as_ref() => {
            says.push(Say::Timeout);
        }
        (EndReason::Cancelled | EndReason::Superseded | EndReason::CallerGone, Role::Caller) => {}
        (EndReason::Rejected, Role::Caller) => says.push(Say::Rejected { reason: words("User declined") }),
        (EndReason::Rejected, Role::Callee) => {
            if elsewhere {
                says.push(Say::cancelled("Declined elsewhere"));
            }
        }
        (EndReason::NoAnswer, Role::Caller) => says.push(Say::Timeout),
        (EndReason::NoAnswer, Role::Callee) => says.push(Say::cancelled("Timeout")),
        (EndReason::Busy, Role::Caller) => {
            // Refused at once, it is known where it was dialled only; a ring that gave way, on all his devices.
            if !call.version.is_first() || (session.is_some() && session == call.caller.session.as_ref()) {
                says.push(Say::Busy);
            }
        }
        (EndReason::Busy, Role::Callee) => says.push(Say::cancelled("Declined elsewhere")),
        // The accept told them, unless its envelope was overtaken by that of the end.
        (
            EndReason::HungUp { accept_missed: false, .. } | EndReason::Lost { .. } | EndReason::MaxDuration,
            Role::Callee,
        ) if !in_the_call(call, role, device) => {
            says.push(Say::cancelled("Answered elsewhere"));
        }
        (EndReason::HungUp { by, accept_missed }, role) => {
            // Ended from another device of the same user: the one that talks has to know.
            let talking = &call.party(role).device;
            let talks = elsewhere && !accept_missed && talking.is_known() && talking.matches(device);
            if (by != Some(role) && in_the_call(call, role, device)) || talks {
                says.push(Say::Ended {
                    reason: words("Remote user ended call"),
                    by: by.map(|by| call.party(by).user.clone()),
                    duration: call.duration(),
                });
            }
            // Its devices may still ring.
            if accept_missed && role == Role::Callee && (by != Some(Role::Callee) || elsewhere) {
                let reason = if elsewhere { "Answered elsewhere" } else { "Caller ended call" };
                says.push(Say::cancelled(reason));
            }
        }
        (EndReason::Lost { .. }, role) => {
            if in_the_call(call, role, device) {
                says.push(ended_by_nobody(call, "User disconnected"));
            }
        }
        // Whyever it ended: nobody is left ringing, dialling or in the call.
        (EndReason::Other(_), role) => says.push(match role {
            _ if end.accepted_at.is_some() && in_the_call(call, role, device) => ended_by_nobody(call, "Call ended"),
            Role::Caller => Say::Timeout,
            Role::Callee => Say::cancelled("Call ended"),
        }),
        (EndReason::MaxDuration, role) => {
            if in_the_call(call, role, device) {
                says.push(ended_by_nobody(call, "Maximum duration reached"));
            }
        }
    }
    let lost_accept = end.late_accept.as_ref().filter(|late| role == Role::Callee && late.device.matches(device));
    if lost_accept.is_some() && !says.iter().any(|say| say.kind() == SayKind::Ended) {
        says.push(ended_by_nobody(call, "Call ended"));
    }
    says
}

/// Every device of the caller was told of the accept, of the callee's only the one that answered.
fn in_the_call(call: &Call, role: Role, device: &Device) -> bool {
    role == Role::Caller || call.callee.device.matches(device)
}

fn ended_by_nobody(call: &Call, reason: &str) -> Say {
    Say::Ended { reason: reason.to_owned(), by: None, duration: call.duration() }
}
