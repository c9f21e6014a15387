use serde::{Deserialize, Serialize};

use super::{
    CallId, CallTimeouts, Device, EndReason, Ender, Foreign, Inquiry, LateAccept, SealedToken, SessionId, Switching,
    Timestamp, UserId, Verified, Version, foreign,
};

/// Tokens kept of one party; the oldest goes first.
const TOKENS_PER_PARTY: usize = 3;

/// One call, as stored. Fields are only ever added, with a default: old and new nodes share one store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its place in the order of all calls, handed out by the store in the step that created it and larger than every
    /// one before: what decides which of two calls is newer. 0 until it is written, and from a node that knows none.
    /// The first field, where the script that creates the call puts it in.
    #[serde(default)]
    pub order: u64,
    /// The same for its end: tells who joined before it from who joined after. The second field, for the same reason.
    #[serde(default)]
    pub over: u64,
    pub id: CallId,
    /// The id as it was initiated (`CALL_123`), echoed to peers.
    #[serde(rename = "spelled")]
    pub wire_id: String,
    pub version: Version,
    /// The nonce of the version it was created with, by which whoever dialled knows it; 0 from a node that kept none. Where
    /// that dial was withdrawn, of the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub born: u64,
    /// The nonces of those who dialled it once more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redialled: Vec<u64>,
    /// Random since its birth and never changed: what ids of its outbox messages are made of; 0 from a node that kept
    /// none.
    #[serde(default, rename = "letters", skip_serializing_if = "is_zero")]
    pub outbox_seed: u64,
    pub created_at: Timestamp,
    pub ring_until: Timestamp,
    pub caller: Party,
    pub callee: Party,
    /// As it was sent, or as it changed since; unknown for a call that only Laravel told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_type: Option<String>,
    /// What else the callee's phone needs to ring; dropped once nobody can be rung any more.
    #[serde(rename = "offer")]
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub ring_details: Option<RingDetails>,
    #[serde(rename = "terms")]
    pub timeouts: CallTimeouts,
    /// Since when a device of the callee rings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rang_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Push::is_unwanted")]
    pub push: Push,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub verified: Option<Verified>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub inquiry: Option<Inquiry>,
    /// Both parties are away, which without `acks` proves nothing: called lost at this time, unless somebody knows
    /// better before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    /// The store came back older, and no node knew this accepted call: it may have ended long ago.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unvouched: bool,
    /// The backend named this call to us with these parties, in a request or by its row. Else its id is only what a phone
    /// said, and may be that of another call in the backend's table.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub named: bool,
    /// Between audio and video, once somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub switching: Option<Switching>,
    pub state: State,
}

/// Whether the backend is asked to wake the callee by push. Absent unless webhooks are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    #[default]
    Unwanted,
    /// Asked for at this time unless a device confirms before.
    Due(Timestamp),
    Asked(Timestamp),
    /// Neither due nor asked for: whoever wrote it sees to the push.
    #[serde(untagged)]
    Other(Foreign),
}

impl Push {
    fn is_unwanted(&self) -> bool {
        *self == Push::Unwanted
    }
}

/// One side of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    pub user: UserId,
    #[serde(default)]
    pub device: Device,
    /// Its session promised acknowledgements, so its absence can be trusted.
    #[serde(default)]
    pub acks: bool,
    /// It had a session in this call; one that never had can't be lost.
    #[serde(default)]
    pub attended: bool,
    /// The session that sent `call:initiate`: the only one that hears `call:busy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<Timestamp>,
    /// When its absence is to be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_until: Option<Timestamp>,
    /// Its grace was prolonged because much of the cluster vanished at once.
    #[serde(default)]
    pub prolonged: bool,
    /// Absences that ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reconnects: u64,
    /// How long they were together, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub away: u64,
    /// What the legacy callbacks are made with, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<SealedToken>,
}

/// On a ring screen, for a caller without a name.
pub const UNNAMED: &str = "Unknown";

/// The fields of `call:initiate` that `call:incoming` carries on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RingDetails {
    pub channel_name: String,
    pub agora_token: String,
    pub caller_name: String,
    /// Further fields as the text of a JSON object, at most 4 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
}

/// A call has two sides, whatever the version: no `Other`. An optional role that is not known is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Caller,
    Callee,
}

impl Role {
    pub fn other(self) -> Role {
        match self {
            Role::Caller => Role::Callee,
            Role::Callee => Role::Caller,
        }
    }
}

/// No `Other`: a record in a state that is not known can't be read, so that nobody here decides on it. Whether it holds
/// its lines is said beside it, in the field `live` of its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Rung, but no device has said so yet.
    Trying,
    /// A device of the callee confirmed that it rings.
    Ringing,
    Active {
        accepted_at: Timestamp,
        /// The upper bound, until it has been judged.
        #[serde(default)]
        until: Option<Timestamp>,
        /// Somebody was absent too long to be sure that it goes on, or the upper bound passed: [`super::contend()`] says
        /// whom the line yields to.
        #[serde(default)]
        doubtful: bool,
    },
    Ended(End),
}

impl State {
    /// The name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            State::Trying => "trying",
            State::Ringing => "ringing",
            State::Active { .. } => "active",
            State::Ended(_) => "ended",
        }
    }
}

/// How, when and by whom a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub reason: EndReason,
    pub at: Timestamp,
    /// The sender's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub by: Option<Ender>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// A cancel met a young accept: the callee's legacy sessions are told at this time, not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<Timestamp>,
    /// An accept that came after the end.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "foreign::optional")]
    pub late_accept: Option<LateAccept>,
    /// The backend took an accept after the end of an accepted call, or once more: its row is ongoing since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<Timestamp>,
    /// The backend reported the end too, so it need not be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Call {
    pub fn is_live(&self) -> bool {
        match self.state {
            State::Trying | State::Ringing | State::Active { .. } => true,
            State::Ended(_) => false,
        }
    }

    /// Notes that a request comes with the version that is about to be written.
    pub fn note_request(&mut self, before: &Call) {
        let nonce = Some(self.version.nonce);
        match &mut self.switching {
            Some(now) if now.open.is_some() && now.open.as_ref() != before.request() => now.asked_in = nonce,
            Some(_) | None => {}
        }
    }

    /// Whether its last request came with this version.
    pub fn was_asked_in(&self, version: Version) -> bool {
        self.switching.as_ref().and_then(|switching| switching.asked_in) == Some(version.nonce)
    }

    /// In milliseconds, how long it still rings: never longer than it may in all, where the clock of a node is behind that of
    /// the one that made it.
    pub fn rings_for_ms(&self, now: Timestamp) -> u64 {
        u64::try_from(self.ring_until.since(now.max(self.created_at)).as_millis()).unwrap_or(u64::MAX)
    }

    pub fn is_ringing(&self) -> bool {
        match self.state {
            State::Trying | State::Ringing => true,
            State::Active { .. } | State::Ended(_) => false,
        }
    }

    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended(end) => Some(end),
            State::Trying | State::Ringing | State::Active { .. } => None,
        }
    }

    pub fn accepted_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Trying | State::Ringing => None,
            State::Active { accepted_at, .. } => Some(*accepted_at),
            State::Ended(end) => end.accepted_at,
        }
    }

    pub fn party(&self, role: Role) -> &Party {
        match role {
            Role::Caller => &self.caller,
            Role::Callee => &self.callee,
        }
    }

    pub(super) fn party_mut(&mut self, role: Role) -> &mut Party {
        match role {
            Role::Caller => &mut self.caller,
            Role::Callee => &mut self.callee,
        }
    }

    pub fn role_of(&self, user: &UserId) -> Option<Role> {
        if self.caller.user == *user {
            Some(Role::Caller)
        } else if self.callee.user == *user {
            Some(Role::Callee)
        } else {
            None
        }
    }

    /// `now`, but no earlier than the last turn of the call: the clock of the node that wrote that may be ahead by some
    /// milliseconds.
    pub(super) fn not_before(&self, now: Timestamp) -> Timestamp {
        let changed_at = self.changes().last().map(|change| change.at);
        let ended_at = self.end().map(|end| end.at);
        let asked_at = self.request().map(|request| request.at);
        [Some(self.created_at), self.rang_at, self.accepted_at(), asked_at, changed_at, ended_at]
            .into_iter()
            .flatten()
            .fold(now, Ord::max)
    }

    /// The call as it is after its end at `now`, its version still to be raised.
    pub fn ended(&self, reason: EndReason, by: Option<Ender>, text: Option<String>, now: Timestamp) -> Call {
        let (now, accepted_at) = (self.not_before(now), self.accepted_at());
        let mut next = self.clone();
        next.ring_details = None;
        next.inquiry = None;
        next.lost_at = None;
        next.give_request_up(now);
        next.caller.grace_until = None;
        next.callee.grace_until = None;
        next.state = State::Ended(End {
            reason,
            at: now,
            text: text.filter(|text| !text.is_empty()),
            by,
            accepted_at,
            hold_until: None,
            late_accept: None,
            reopened: None,
            reported: false,
        });
        next
    }
}

impl Party {
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            device: Device::Unknown,
            acks: false,
            attended: false,
            session: None,
            absent_since: None,
            grace_until: None,
            prolonged: false,
            reconnects: 0,
            away: 0,
            tokens: Vec::new(),
        }
    }

    /// Keeps the token that this party acted with.
    pub(super) fn keep_token(&mut self, token: Option<&SealedToken>) {
        let Some(token) = token else { return };
        self.tokens.retain(|kept| kept != token);
        self.tokens.insert(0, token.clone());
        self.tokens.truncate(TOKENS_PER_PARTY);
    }
}
