//! What the backend is told of a call by webhook: derived from the record alone.

use super::{Call, EndReason, Media, Push, Role, Timestamp, UserId};

/// A milestone of a call, told at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    pub kind: WebhookEventKind,
    /// Rises within a call. The same milestone has the same number whenever it is derived.
    pub seq: u64,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookEventKind {
    Initiated,
    /// The callee has to be woken by push.
    PushRequired,
    Ringing,
    Accepted,
    /// A question: somebody was told busy because of this call; is it still one?
    Verify,
    /// To video.
    Upgraded,
    /// Back to audio.
    Downgraded,
    Rejected,
    Cancelled,
    Missed,
    Ended,
}

impl WebhookEventKind {
    /// The webhook's type.
    pub fn name(self) -> &'static str {
        match self {
            WebhookEventKind::Initiated => "call.initiated",
            WebhookEventKind::PushRequired => "call.push_required",
            WebhookEventKind::Ringing => "call.ringing",
            WebhookEventKind::Accepted => "call.accepted",
            WebhookEventKind::Verify => "call.verify",
            WebhookEventKind::Upgraded => "call.upgraded",
            WebhookEventKind::Downgraded => "call.downgraded",
            WebhookEventKind::Rejected => "call.rejected",
            WebhookEventKind::Cancelled => "call.cancelled",
            WebhookEventKind::Missed => "call.missed",
            WebhookEventKind::Ended => "call.ended",
        }
    }
}

/// What happened between two records of a call, in order.
pub fn events(before: Option<&Call>, after: &Call) -> Vec<WebhookEvent> {
    let known = before.map(events_so_far).unwrap_or_default();
    let is_new = |event: &WebhookEvent| !known.iter().any(|known| (known.seq, known.kind) == (event.seq, event.kind));
    events_so_far(after).into_iter().filter(is_new).collect()
}

/// Every milestone that the record still shows, in order: what a call that was put back after a loss of the store
/// has to tell again.
pub fn events_so_far(call: &Call) -> Vec<WebhookEvent> {
    let mut events = vec![WebhookEvent { kind: WebhookEventKind::Initiated, seq: 1, at: call.created_at }];
    if let Push::Asked(at) = call.push {
        events.push(WebhookEvent { kind: WebhookEventKind::PushRequired, seq: 2, at });
    }
    if let Some(at) = call.rang_at {
        events.push(WebhookEvent { kind: WebhookEventKind::Ringing, seq: 3, at });
    }
    if let Some(at) = call.accepted_at() {
        events.push(WebhookEvent { kind: WebhookEventKind::Accepted, seq: 4, at });
    }
    // The part of the history that repeats, questions and changes of the type; the end comes behind it.
    let repeated = call.verified.map_or(0, |verified| verified.times);
    for change in call.changes() {
        let kind = if change.to == Media::Audio { WebhookEventKind::Downgraded } else { WebhookEventKind::Upgraded };
        events.push(WebhookEvent { kind, seq: change.seq, at: change.at });
    }
    let is_change = call.changes().last().is_some_and(|last| last.seq == 4 + repeated);
    if let (Some(last), false) = (call.verified, is_change) {
        events.push(WebhookEvent { kind: WebhookEventKind::Verify, seq: 4 + repeated, at: last.at });
    }
    if let Some(end) = call.end() {
        events.push(WebhookEvent { kind: kind_of(end.reason), seq: 5 + repeated, at: end.at });
    }
    events
}

fn kind_of(reason: EndReason) -> WebhookEventKind {
    match reason {
        EndReason::Cancelled | EndReason::Superseded | EndReason::CallerGone => WebhookEventKind::Cancelled,
        EndReason::Rejected => WebhookEventKind::Rejected,
        EndReason::NoAnswer | EndReason::Busy => WebhookEventKind::Missed,
        EndReason::HungUp { .. } | EndReason::Lost { .. } | EndReason::MaxDuration | EndReason::Other(_) => {
            WebhookEventKind::Ended
        }
    }
}

impl Call {
    /// The id of an outbox message about this call, the same whenever it is derived: from the record's own random part,
    /// never from its id, which a phone chooses and which may be used again when the record is gone. No dots: they
    /// separate what is signed. A record of a node that kept no such part has ids as that node gave them.
    pub fn outbox_id(&self, kind: &str, number: u64) -> String {
        match (self.outbox_seed, kind) {
            (0, "msg") => format!("{}.{number}", self.id),
            (0, kind) => format!("{}.{kind}.{number}", self.id),
            (own, kind) => format!("{kind}_{own:016x}_{number}"),
        }
    }

    /// The party that ended the call, where one did.
    pub fn ended_by(&self) -> Option<&UserId> {
        let end = self.end()?;
        let role = end.by.as_ref().map(|by| by.role).or(match end.reason {
            EndReason::HungUp { by, .. } => by,
            EndReason::Superseded => Some(Role::Caller),
            EndReason::Cancelled
            | EndReason::CallerGone
            | EndReason::Rejected
            | EndReason::NoAnswer
            | EndReason::Busy
            | EndReason::Lost { .. }
            | EndReason::MaxDuration
            | EndReason::Other(_) => None,
        })?;
        Some(&self.party(role).user)
    }
}
