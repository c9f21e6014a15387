use std::time::Duration;

use super::switching::notifications_of_switching;
use super::{Call, Device, End, EndReason, Role, SessionId, State, Timestamp, UserId};

/// What a phone is sent about a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Notification {
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

/// Each kind is sent at most once per call and session; what has a number, once for each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum NotificationKind {
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

/// Whether the end of a ring is no news to a session: it connected after the ring was over by its deadline, and that
/// was judged much later. Sent all the same, it would close whatever screen is open by now.
pub fn is_stale_ring(call: &Call, connected_at: Timestamp) -> bool {
    let Some(end) = call.end().filter(|end| end.accepted_at.is_none()) else { return false };
    connected_at > call.ring_until && end.at.since(call.ring_until) > JUDGED_LATE
}

impl NotificationKind {
    pub fn name(self) -> &'static str {
        match self {
            NotificationKind::Incoming => "incoming",
            NotificationKind::Ringing => "ringing",
            NotificationKind::Accepted => "accepted",
            NotificationKind::Rejected => "rejected",
            NotificationKind::Cancelled => "cancelled",
            NotificationKind::Ended => "ended",
            NotificationKind::Timeout => "timeout",
            NotificationKind::Busy => "busy",
            NotificationKind::UpgradeRequest => "upgrade_request",
            NotificationKind::UpgradeResponse => "upgrade_response",
            NotificationKind::Downgraded => "downgraded",
        }
    }

    /// The deployed app aborts any calling screen on these, whatever call they name: never sent late.
    pub fn aborts_any_screen(self) -> bool {
        match self {
            NotificationKind::Rejected | NotificationKind::Timeout | NotificationKind::Busy => true,
            NotificationKind::Incoming
            | NotificationKind::Ringing
            | NotificationKind::Accepted
            | NotificationKind::Cancelled
            | NotificationKind::Ended => false,
            NotificationKind::UpgradeRequest | NotificationKind::UpgradeResponse | NotificationKind::Downgraded => {
                false
            }
        }
    }
}

impl Notification {
    pub fn kind(&self) -> NotificationKind {
        match self {
            Notification::Incoming => NotificationKind::Incoming,
            Notification::Ringing => NotificationKind::Ringing,
            Notification::Accepted => NotificationKind::Accepted,
            Notification::Rejected { .. } => NotificationKind::Rejected,
            Notification::Cancelled { .. } => NotificationKind::Cancelled,
            Notification::Ended { .. } => NotificationKind::Ended,
            Notification::Timeout => NotificationKind::Timeout,
            Notification::Busy => NotificationKind::Busy,
            Notification::UpgradeRequest { .. } => NotificationKind::UpgradeRequest,
            Notification::UpgradeResponse { .. } => NotificationKind::UpgradeResponse,
            Notification::Downgraded { .. } => NotificationKind::Downgraded,
        }
    }

    /// What tells one of its kind from the one before it, where a call may have several.
    pub fn number(&self) -> Option<u64> {
        match self {
            Notification::UpgradeRequest { number, .. }
            | Notification::UpgradeResponse { number, .. }
            | Notification::Downgraded { number, .. } => Some(*number),
            Notification::Incoming
            | Notification::Ringing
            | Notification::Accepted
            | Notification::Rejected { .. }
            | Notification::Cancelled { .. }
            | Notification::Ended { .. }
            | Notification::Timeout
            | Notification::Busy => None,
        }
    }

    /// Whether it is too old to be sent: a request that is over, an answer that was given longer than `grace` before the
    /// session connected.
    pub fn is_stale(&self, grace: Duration, now: Timestamp, connected_at: Timestamp) -> bool {
        match self {
            Notification::UpgradeRequest { until, .. } => *until <= now,
            Notification::UpgradeResponse { at, .. } | Notification::Downgraded { at, .. } => {
                connected_at.since(*at) > grace
            }
            Notification::Incoming
            | Notification::Ringing
            | Notification::Accepted
            | Notification::Rejected { .. }
            | Notification::Cancelled { .. }
            | Notification::Ended { .. }
            | Notification::Timeout
            | Notification::Busy => false,
        }
    }

    pub fn cancelled(reason: &str) -> Self {
        Notification::Cancelled { reason: reason.to_owned() }
    }
}

/// What a session of `role` on `device` is to have been told about `call` as it stands. Live envelopes, healing and
/// replay all ask this, so they can't disagree.
pub fn notifications(call: &Call, role: Role, device: &Device, session: Option<&SessionId>) -> Vec<Notification> {
    match (&call.state, role) {
        (State::Trying | State::Ringing, Role::Callee) => vec![Notification::Incoming],
        (State::Trying, Role::Caller) => vec![],
        (State::Ringing, Role::Caller) => vec![Notification::Ringing],
        (State::Active { .. }, Role::Caller) => {
            let mut notifications = vec![Notification::Accepted];
            if call.caller.device.matches(device) {
                notifications.extend(notifications_of_switching(call, role));
            }
            notifications
        }
        (State::Active { .. }, Role::Callee) => {
            if call.callee.device.matches(device) {
                notifications_of_switching(call, role)
            } else {
                vec![Notification::cancelled("Answered elsewhere")]
            }
        }
        (State::Ended(end), role) => {
            let in_the_call = call.party(role).device.matches(device);
            let mut notifications = if in_the_call { notifications_of_switching(call, role) } else { vec![] };
            notifications.extend(after_end(call, end, role, device, session));
            notifications
        }
    }
}

/// When a session that promised no acknowledgements may be sent this kind: the deployed app has no screen that
/// listens to `call:ended` in the first seconds after an accept. Absent: at once.
pub fn held_until(call: &Call, role: Role, acks: bool, kind: NotificationKind) -> Option<Timestamp> {
    let end = call.end()?;
    if role != Role::Callee || acks || kind != NotificationKind::Ended {
        return None;
    }
    let late = end.late_accept.as_ref().map(|late| late.at + Duration::from_millis(call.timeouts.accept_hold));
    late.or(end.hold_until)
}

fn after_end(call: &Call, end: &End, role: Role, device: &Device, session: Option<&SessionId>) -> Vec<Notification> {
    let mut notifications = Vec::new();
    let words = |default: &str| end.text.clone().unwrap_or_else(|| default.to_owned());
    let elsewhere = end.by.as_ref().is_some_and(|by| by.role == role && !by.device.matches(device));
    match (end.reason, role) {
        (EndReason::Cancelled | EndReason::Superseded, Role::Callee) => {
            notifications.push(Notification::Cancelled { reason: words("Caller ended call") });
        }
        (EndReason::CallerGone, Role::Callee) => notifications.push(Notification::cancelled("User disconnected")),
        // Withdrawn: the session that dialled was refused, another of its user may have joined the ring since.
        (EndReason::Cancelled, Role::Caller) if end.by.is_none() && session != call.caller.session.as_ref() => {
            notifications.push(Notification::Timeout);
        }
        (EndReason::Cancelled | EndReason::Superseded | EndReason::CallerGone, Role::Caller) => {}
        (EndReason::Rejected, Role::Caller) => {
            notifications.push(Notification::Rejected { reason: words("User declined") })
        }
        (EndReason::Rejected, Role::Callee) => {
            if elsewhere {
                notifications.push(Notification::cancelled("Declined elsewhere"));
            }
        }
        (EndReason::NoAnswer, Role::Caller) => notifications.push(Notification::Timeout),
        (EndReason::NoAnswer, Role::Callee) => notifications.push(Notification::cancelled("Timeout")),
        (EndReason::Busy, Role::Caller) => {
            // Refused at once, it is known where it was dialled only; a ring that gave way, on all his devices.
            if !call.version.is_first() || (session.is_some() && session == call.caller.session.as_ref()) {
                notifications.push(Notification::Busy);
            }
        }
        (EndReason::Busy, Role::Callee) => notifications.push(Notification::cancelled("Declined elsewhere")),
        // The accept told them, unless its envelope was overtaken by that of the end.
        (
            EndReason::HungUp { accept_missed: false, .. } | EndReason::Lost { .. } | EndReason::MaxDuration,
            Role::Callee,
        ) if !in_the_call(call, role, device) => {
            notifications.push(Notification::cancelled("Answered elsewhere"));
        }
        (EndReason::HungUp { by, accept_missed }, role) => {
            // Ended from another device of the same user: the one that talks has to know.
            let talking = &call.party(role).device;
            let talks = elsewhere && !accept_missed && talking.is_known() && talking.matches(device);
            if (by != Some(role) && in_the_call(call, role, device)) || talks {
                notifications.push(Notification::Ended {
                    reason: words("Remote user ended call"),
                    by: by.map(|by| call.party(by).user.clone()),
                    duration: call.duration(),
                });
            }
            // Its devices may still ring.
            if accept_missed && role == Role::Callee && (by != Some(Role::Callee) || elsewhere) {
                let reason = if elsewhere { "Answered elsewhere" } else { "Caller ended call" };
                notifications.push(Notification::cancelled(reason));
            }
        }
        (EndReason::Lost { .. }, role) => {
            if in_the_call(call, role, device) {
                notifications.push(ended_by_nobody(call, "User disconnected"));
            }
        }
        // Whyever it ended: nobody is left ringing, dialling or in the call.
        (EndReason::Other(_), role) => notifications.push(match role {
            _ if end.accepted_at.is_some() && in_the_call(call, role, device) => ended_by_nobody(call, "Call ended"),
            Role::Caller => Notification::Timeout,
            Role::Callee => Notification::cancelled("Call ended"),
        }),
        (EndReason::MaxDuration, role) => {
            if in_the_call(call, role, device) {
                notifications.push(ended_by_nobody(call, "Maximum duration reached"));
            }
        }
    }
    let lost_accept = end.late_accept.as_ref().filter(|late| role == Role::Callee && late.device.matches(device));
    if lost_accept.is_some() && !notifications.iter().any(|notification| notification.kind() == NotificationKind::Ended)
    {
        notifications.push(ended_by_nobody(call, "Call ended"));
    }
    notifications
}

/// Every device of the caller was told of the accept, of the callee's only the one that answered.
fn in_the_call(call: &Call, role: Role, device: &Device) -> bool {
    role == Role::Caller || call.callee.device.matches(device)
}

fn ended_by_nobody(call: &Call, reason: &str) -> Notification {
    Notification::Ended { reason: reason.to_owned(), by: None, duration: call.duration() }
}
