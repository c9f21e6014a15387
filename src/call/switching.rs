//! An accepted call changes between audio and video: to video if the other side agrees, back to audio without asking.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Refusal::{AnsweredElsewhere, InvalidState, NotAParticipant};
use super::absence::come_back;
use super::{Actor, Call, Decision, Foreign, Notification, PartyPresence, Refused, Role, Timestamp, Verified};

/// Who is away for so long while he is asked can't be reached; a shorter absence is a change of networks.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(10);
/// Changes of one call. Each to video takes both sides; the record grows by it.
const CHANGES_AT_MOST: usize = 32;
/// Requests and answers that a timeline shows: more would push its beginning out.
pub(super) const SHOWN: u64 = 8;

/// What is sent between the parties of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    Audio,
    Video,
    /// Counted as neither.
    #[serde(untagged)]
    Other(Foreign),
}

impl Media {
    /// As `callType` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Media::Audio => "AUDIO",
            Media::Video => "VIDEO",
            Media::Other(_) => "OTHER",
        }
    }

    pub fn read(call_type: &str) -> Self {
        [Media::Audio, Media::Video]
            .into_iter()
            .find(|media| media.name().eq_ignore_ascii_case(call_type))
            .unwrap_or(Media::Other(Foreign))
    }
}

/// What was asked, answered and changed; absent where nobody asked. A node that does not know it forgets it with its next
/// change of the record, and the call keeps the type that it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Switching {
    /// Requests and changes so far: the number of each, so that a session hears it once.
    #[serde(default)]
    pub count: u64,
    /// The type as it was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialled: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The nonce of the version that brought the last request: who lost the reply of that knows it, though it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_in: Option<u64>,
}

/// The other side is asked for video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub number: u64,
    pub by: Role,
    pub at: Timestamp,
    /// Answered with no, by whoever judges it, if nobody answers before.
    pub until: Timestamp,
}

/// The answer to the last request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// That of its request.
    pub number: u64,
    /// Whose request it answers; of both where both asked at once.
    #[serde(default)]
    pub to_caller: bool,
    #[serde(default)]
    pub to_callee: bool,
    pub at: Timestamp,
    /// Why not; absent where it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<NoVideo>,
    /// In the words of who declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Why a request for video came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoVideo {
    Declined,
    NoAnswer,
    Unreachable,
    CallEnded,
    /// Refused, whyever.
    #[serde(untagged)]
    Other(Foreign),
}

impl NoVideo {
    /// The name in the timeline.
    pub fn name(self) -> &'static str {
        match self {
            NoVideo::Declined => "declined",
            NoVideo::NoAnswer => "no_answer",
            NoVideo::Unreachable => "unreachable",
            NoVideo::CallEnded => "call_ended",
            NoVideo::Other(_) => "other",
        }
    }

    /// As phones read it.
    fn text(self) -> &'static str {
        match self {
            NoVideo::Declined => "User declined",
            NoVideo::NoAnswer => "No answer",
            NoVideo::Unreachable => "User disconnected",
            NoVideo::CallEnded => "Call ended",
            NoVideo::Other(_) => "Not possible",
        }
    }
}

/// The call changed its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub number: u64,
    pub at: Timestamp,
    pub to: Media,
    /// Who wanted it.
    pub by: Role,
    /// Its place among what the backend is told of the call.
    pub seq: u64,
}

impl Answer {
    /// The answer to the other side, if it is one.
    fn but_not_to(self, role: Role) -> Option<Self> {
        let answer = match role {
            Role::Caller => Self { to_caller: false, ..self },
            Role::Callee => Self { to_callee: false, ..self },
        };
        (answer.to_caller || answer.to_callee).then_some(answer)
    }

    pub fn is_to(&self, role: Role) -> bool {
        match role {
            Role::Caller => self.to_caller,
            Role::Callee => self.to_callee,
        }
    }

    pub fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }
}

impl Change {
    /// There are two types.
    pub fn from(&self) -> Media {
        match self.to {
            Media::Video => Media::Audio,
            Media::Audio => Media::Video,
            Media::Other(foreign) => Media::Other(foreign),
        }
    }
}

impl Call {
    /// What is sent between its parties; absent where nobody said.
    pub fn media(&self) -> Option<Media> {
        self.call_type.as_deref().map(Media::read)
    }

    /// The type it was dialled with.
    pub fn dialled_type(&self) -> Option<&str> {
        match &self.switching {
            Some(switching) => switching.dialled.as_deref(),
            None => self.call_type.as_deref(),
        }
    }

    /// The open request for video.
    pub fn request(&self) -> Option<&Request> {
        self.switching.as_ref()?.open.as_ref()
    }

    /// The answer to the last request.
    pub fn last_answer(&self) -> Option<&Answer> {
        self.switching.as_ref()?.answer.as_ref()
    }

    /// Every change of its type, in order.
    pub fn changes(&self) -> &[Change] {
        self.switching.as_ref().map_or(&[], |switching| &switching.changes)
    }

    /// When the open request is to be judged: at its end, or before, since who is asked can't be reached.
    pub(super) fn request_due(&self) -> Option<Timestamp> {
        let request = self.request()?;
        let away = self.party(request.by.other()).absent_since;
        let given_up = away.map(|since| since.max(request.at) + UNREACHABLE_AFTER);
        Some(given_up.map_or(request.until, |at| at.min(request.until)))
    }

    /// Whose sessions have to be looked for before the open request is judged: of who is asked and was away.
    pub fn asks_whether_back(&self, now: Timestamp) -> Option<Role> {
        let asked = self.request()?.by.other();
        let is_due = self.request_due().is_some_and(|due| due <= now);
        (is_due && self.party(asked).absent_since.is_some()).then_some(asked)
    }

    fn switching_mut(&mut self) -> &mut Switching {
        let dialled = self.call_type.clone();
        self.switching.get_or_insert_with(|| Switching { dialled, ..Switching::default() })
    }

    /// Closes the open request with an answer, if there is one.
    fn answer_request(&mut self, refused: Option<NoVideo>, text: Option<String>, now: Timestamp) -> Option<Request> {
        let switching = self.switching.as_mut()?;
        let request = switching.open.take()?;
        switching.answer = Some(Answer {
            number: request.number,
            to_caller: request.by == Role::Caller,
            to_callee: request.by == Role::Callee,
            at: now,
            refused,
            text,
        });
        Some(request)
    }

    /// Nobody can answer any more.
    pub(super) fn give_request_up(&mut self, now: Timestamp) {
        self.answer_request(Some(NoVideo::CallEnded), None, now);
    }

    /// The call is of another type from now on. Counted among what the backend was told and asked, where a node that
    /// does not know of types counts on.
    fn change_type(&mut self, to: Media, by: Role, number: u64, now: Timestamp) {
        let told = self.verified.map_or(0, |verified| verified.times) + 1;
        self.verified = Some(Verified { times: told, at: self.verified.map(|last| last.at).unwrap_or_default() });
        self.switching_mut().changes.push(Change { number, at: now, to, by, seq: 4 + told });
        self.call_type = Some(to.name().to_owned());
    }
}

/// The part of an accepted call that an actor has: only the device in the call speaks for it.
fn part(call: &Call, by: &Actor) -> Result<Role, Refused> {
    let role = participant(call, by)?;
    if call.party(role).device.matches(&by.device) { Ok(role) } else { Err(AnsweredElsewhere.into()) }
}

/// Nothing can be asked in this state: whoever takes part hears that, others that they don't.
pub(super) fn out_of_place(call: &Call, by: &Actor) -> Result<Decision, Refused> {
    participant(call, by).and_then(|_| Err(InvalidState.into()))
}

fn participant(call: &Call, by: &Actor) -> Result<Role, Refused> {
    call.role_of(&by.user).ok_or_else(|| NotAParticipant.into())
}

/// `call:upgrade` in an accepted call.
pub(super) fn request(call: &Call, by: &Actor, now: Timestamp) -> Result<Decision, Refused> {
    let role = part(call, by)?;
    let mut next = call.clone();
    if call.media() == Some(Media::Video) {
        let was_his = call.last_answer().is_some_and(|answer| answer.is_accepted() && answer.is_to(role));
        return if was_his { Ok(Decision::unchanged()) } else { Err(InvalidState.into()) };
    }
    match call.request() {
        Some(request) if request.by == role => return Ok(Decision::unchanged()),
        Some(_) => {
            // Both want it: that is the answer to both.
            let Some(answered) = next.answer_request(None, None, now) else { return Err(InvalidState.into()) };
            if let Some(answer) = next.switching_mut().answer.as_mut() {
                (answer.to_caller, answer.to_callee) = (true, true);
            }
            next.change_type(Media::Video, answered.by, answered.number, now);
            return Ok(Decision::tell_both(next));
        }
        None => {}
    }
    if call.changes().len() >= CHANGES_AT_MOST {
        return Err(InvalidState.into());
    }
    let until = now + Duration::from_millis(call.timeouts.asked);
    let switching = next.switching_mut();
    switching.count += 1;
    let number = switching.count;
    switching.open = Some(Request { number, by: role, at: now, until });
    Ok(Decision::tell(next, role.other()))
}

/// `call:upgrade:response` in an accepted call.
pub(super) fn answer(
    call: &Call,
    by: &Actor,
    accepted: bool,
    text: Option<String>,
    now: Timestamp,
) -> Result<Decision, Refused> {
    let role = part(call, by)?;
    if call.request().is_some_and(|request| request.by == role.other()) {
        let mut next = call.clone();
        let refused = (!accepted).then_some(NoVideo::Declined);
        let request = next.answer_request(refused, text.filter(|_| !accepted), now);
        if let (Some(request), true) = (request, accepted) {
            next.change_type(Media::Video, request.by, request.number, now);
        }
        return Ok(Decision::tell(next, role.other()));
    }
    // He said so already, to the last request of the other side.
    let was_his = |answer: &Answer| {
        answer.is_to(role.other())
            && if accepted { answer.is_accepted() } else { answer.refused == Some(NoVideo::Declined) }
    };
    if call.request().is_none() && call.last_answer().is_some_and(was_his) {
        return Ok(Decision::unchanged());
    }
    Err(InvalidState.into())
}

/// `call:downgrade` in an accepted call.
pub(super) fn downgrade(call: &Call, by: &Actor, now: Timestamp) -> Result<Decision, Refused> {
    let role = part(call, by)?;
    if call.media() != Some(Media::Video) {
        // Both at once, or the same once more: it is as he wants it.
        let was_video = call.changes().last().is_some_and(|last| last.to == Media::Audio);
        return if was_video { Ok(Decision::unchanged()) } else { Err(InvalidState.into()) };
    }
    let mut next = call.clone();
    let switching = next.switching_mut();
    switching.count += 1;
    let number = switching.count;
    // What this side was answered is no longer so. The other side may not have heard yet that its request was answered.
    switching.answer = switching.answer.take().and_then(|answer| answer.but_not_to(role));
    next.change_type(Media::Audio, role, number, now);
    Ok(Decision::tell(next, role.other()))
}

/// The open request is due, if it is.
pub(super) fn expire_request(call: &Call, presence: &PartyPresence, now: Timestamp) -> Option<Decision> {
    let request = call.request()?;
    if call.request_due()? > now {
        return None;
    }
    let asked = request.by.other();
    let mut next = call.clone();
    let is_away = call.party(asked).absent_since.is_some();
    if is_away && presence.has(asked) {
        come_back(&mut next, asked, now);
        if request.until > now {
            return Some(Decision::quiet(next));
        }
    }
    if is_away && presence.unsure && request.until > now {
        return None;
    }
    let why = if is_away && !presence.has(asked) { NoVideo::Unreachable } else { NoVideo::NoAnswer };
    next.answer_request(Some(why), None, now);
    Some(Decision::tell(next, request.by))
}

/// What the device in the call is to have been told of its type: how its request was answered, that the other side went
/// back to audio, what it is asked.
pub(super) fn notifications_of_switching(call: &Call, role: Role) -> Vec<Notification> {
    let mut list = Vec::new();
    let user = |role| call.party(role).user.clone();
    if let Some(answer) = call.last_answer().filter(|answer| answer.is_to(role)) {
        list.push(Notification::UpgradeResponse {
            number: answer.number,
            accepted: answer.is_accepted(),
            reason: answer.refused.map(|why| answer.text.clone().unwrap_or_else(|| why.text().to_owned())),
            at: answer.at,
        });
    }
    if !call.is_live() {
        return list;
    }
    if let Some(last) = call.changes().last().filter(|last| last.to == Media::Audio && last.by != role) {
        list.push(Notification::Downgraded { number: last.number, by: user(last.by), at: last.at });
    }
    if let Some(request) = call.request().filter(|request| request.by != role) {
        list.push(Notification::UpgradeRequest { number: request.number, by: user(request.by), until: request.until });
    }
    list
}
