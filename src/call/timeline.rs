//! The history of a call for who asks why a phone did not ring: outside the version, never decided upon.

use serde::{Deserialize, Serialize};

use super::switching::SHOWN;
use super::{Actor, Call, Command, Device, Foreign, Media, NodeId, Push, Refusal, Role, State, Timestamp, foreign};

/// Milestones kept of one call; the oldest goes first.
pub const MILESTONES: usize = 64;

/// Something that happened to a call, as stored. Fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Milestone {
    pub at: Timestamp,
    pub what: What,
    /// Where it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub device: Device,
    /// Whose side it is about.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub party: Option<Role>,
    /// Why, as a word of a closed set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Created,
    /// The callee had no session to ring.
    NoSession,
    /// `call:incoming` was handed to a session.
    Delivered,
    /// A session was to hear `call:incoming`, but no longer reads.
    Deaf,
    /// The node did not hear of the call, after all retries.
    Undelivered,
    /// The first device confirmed that it rings.
    Ringing,
    PushRequired,
    Accepted,
    /// The device of a party that answered without one became known.
    Bound,
    AcceptRefused,
    /// A party has no session left.
    Absent,
    Returned,
    /// The line yields to a new call from now on.
    Doubtful,
    /// A party asked for video.
    UpgradeRequested,
    Upgraded,
    UpgradeRefused,
    /// Back to audio.
    Downgraded,
    Ended,
    /// The store had lost the call, a node put it back; what came before is lost.
    Restored,
    /// Listed with its time and node, whatever it was.
    #[serde(untagged)]
    Other(Foreign),
}

impl What {
    /// The name in the answer to Laravel.
    pub fn name(self) -> &'static str {
        match self {
            What::Created => "created",
            What::NoSession => "no_session",
            What::Delivered => "delivered",
            What::Deaf => "deaf",
            What::Undelivered => "undelivered",
            What::Ringing => "ringing",
            What::PushRequired => "push_required",
            What::Accepted => "accepted",
            What::Bound => "bound",
            What::AcceptRefused => "accept_refused",
            What::Absent => "absent",
            What::Returned => "returned",
            What::Doubtful => "doubtful",
            What::UpgradeRequested => "upgrade_requested",
            What::Upgraded => "upgraded",
            What::UpgradeRefused => "upgrade_refused",
            What::Downgraded => "downgraded",
            What::Ended => "ended",
            What::Restored => "restored",
            What::Other(_) => "other",
        }
    }
}

fn is_unknown(device: &Device) -> bool {
    !device.is_known()
}

impl Milestone {
    pub fn new(what: What, at: Timestamp, node: &NodeId) -> Self {
        Self { at, what, node: Some(node.clone()), device: Device::Unknown, party: None, reason: None }
    }

    pub fn of(self, party: Role, device: Device) -> Self {
        Self { party: Some(party), device, ..self }
    }

    pub fn because(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }
}

/// What a change of a call adds to its history; `by` sent the command that caused it.
pub fn milestones(
    before: Option<&Call>,
    after: &Call,
    by: Option<&Actor>,
    now: Timestamp,
    node: &NodeId,
) -> Vec<Milestone> {
    let mut added = Vec::new();
    let milestone = |what, at| Milestone::new(what, at, node);
    let device = by.map(|by| by.device.clone()).unwrap_or_default();
    if before.is_none() {
        added.push(milestone(What::Created, after.created_at).of(Role::Caller, after.caller.device.clone()));
    }
    if let (Push::Asked(at), false) = (after.push, before.is_some_and(|before| matches!(before.push, Push::Asked(_)))) {
        added.push(milestone(What::PushRequired, at));
    }
    if let (Some(at), None) = (after.rang_at, before.and_then(|before| before.rang_at)) {
        added.push(milestone(What::Ringing, at).of(Role::Callee, device.clone()));
    }
    let accepted_before = before.and_then(Call::accepted_at);
    if let (Some(at), None) = (after.accepted_at(), accepted_before) {
        added.push(milestone(What::Accepted, at).of(Role::Callee, after.callee.device.clone()));
    }
    if let Some(before) = before {
        absences(before, after, now, node, &mut added);
        if accepted_before.is_some() && before.callee.device != after.callee.device {
            added.push(milestone(What::Bound, now).of(Role::Callee, after.callee.device.clone()));
        }
        switches(before, after, node, &mut added);
    }
    let Some(end) = after.end() else { return added };
    let ended_before = before.and_then(Call::end);
    if ended_before.is_none() {
        let ended = milestone(What::Ended, end.at).because(end.reason.name());
        added.push(match &end.by {
            Some(by) => ended.of(by.role, by.device.clone()),
            None => ended,
        });
    }
    if let (Some(late), None) = (&end.late_accept, ended_before.and_then(|end| end.late_accept.as_ref())) {
        added.push(milestone(What::AcceptRefused, late.at).of(Role::Callee, late.device.clone()).because("ended"));
    }
    if let Some(at) = end.reopened
        && ended_before.is_some_and(|before| before.reopened != Some(at))
    {
        added.push(milestone(What::AcceptRefused, at).of(Role::Callee, device).because("ended"));
    }
    added
}

fn absences(before: &Call, after: &Call, now: Timestamp, node: &NodeId, added: &mut Vec<Milestone>) {
    let doubtful = |call: &Call| matches!(call.state, State::Active { doubtful: true, .. });
    for role in [Role::Caller, Role::Callee] {
        let (was, is) = (before.party(role), after.party(role));
        match (was.absent_since, is.absent_since) {
            (None, Some(at)) => added.push(Milestone::new(What::Absent, at, node).of(role, is.device.clone())),
            (Some(_), None) => added.push(Milestone::new(What::Returned, now, node).of(role, is.device.clone())),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
    if doubtful(after) && !doubtful(before) {
        added.push(Milestone::new(What::Doubtful, now, node));
    }
}

fn switches(before: &Call, after: &Call, node: &NodeId, added: &mut Vec<Milestone>) {
    let of = |what, at, role| Milestone::new(what, at, node).of(role, after.party(role).device.clone());
    if let Some(request) =
        after.request().filter(|request| before.request() != Some(request) && request.number <= SHOWN)
    {
        added.push(of(What::UpgradeRequested, request.at, request.by));
    }
    let answered = after.last_answer().filter(|answer| before.last_answer() != Some(answer) && answer.number <= SHOWN);
    if let Some((answer, why)) = answered.and_then(|answer| answer.refused.map(|why| (answer, why))) {
        let to = if answer.to_caller { Role::Caller } else { Role::Callee };
        added.push(of(What::UpgradeRefused, answer.at, to).because(why.name()));
    }
    for change in after.changes().iter().skip(before.changes().len()) {
        let what = if change.to == Media::Audio { What::Downgraded } else { What::Upgraded };
        added.push(of(what, change.at, change.by));
    }
}

/// What a refusal that changes nothing adds: an accept that came too late, or from another device.
pub fn refused(call: &Call, command: &Command, refusal: Refusal, now: Timestamp, node: &NodeId) -> Option<Milestone> {
    let Command::Accept { by } = command else { return None };
    let reason = match refusal {
        Refusal::AnsweredElsewhere => "answered_elsewhere",
        Refusal::InvalidState | Refusal::Over => call.state.name(),
        Refusal::NotAParticipant | Refusal::NotDue => return None,
    };
    Some(Milestone::new(What::AcceptRefused, now, node).of(Role::Callee, by.device.clone()).because(reason))
}
