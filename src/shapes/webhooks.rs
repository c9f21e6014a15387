use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::payload;
use super::words::{CallId, CallStateName, Millis, Presence, ServerReason, Time, UserId};
use crate::call::{self, Call, Role, Timestamp, WebhookEvent, WebhookEventKind};

#[derive(Serialize, ToSchema)]
pub struct Webhook<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    data: T,
}

/// Bill by `talkMs`. `call.push_required` carries what the ring screen needs besides.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookCall<'a> {
    // First, so that the call's own fields win.
    #[serde(flatten)]
    further: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agora_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    call_id: CallId<'a>,
    #[schema(minimum = 1)]
    seq: u64,
    state: CallStateName,
    caller_id: UserId<'a>,
    receiver_id: UserId<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_type: Option<&'a str>,
    created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    ringing_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<Time>,
    /// The type before, of `call.upgraded` and `call.downgraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'static str>,
    /// The type from `at` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<UserId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ServerReason>,
    /// The sender's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    talk_ms: Option<Millis>,
    /// `talkMs` by `AUDIO`, `VIDEO`, `UNKNOWN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    talk_ms_by_type: Option<BTreeMap<&'static str, Millis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    caller_reconnects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_away_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    receiver_reconnects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver_away_ms: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<UserId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent_since: Option<Time>,
}

/// The body of a webhook about a call.
pub fn webhook_of_call(call: &Call, event: &WebhookEvent) -> Value {
    payload(&Webhook { kind: event.kind.name(), timestamp: event.at.rfc3339(), data: call_told(call, event) })
}

/// The body of the webhook that says that a user came or went.
pub fn webhook_of_presence(user: &call::UserId, online: bool, now: Timestamp) -> Value {
    let kind = if online { "user.online" } else { "user.offline" };
    payload(&Webhook { kind, timestamp: now.rfc3339(), data: Presence::new(user, now) })
}

fn call_told<'a>(call: &'a Call, event: &WebhookEvent) -> WebhookCall<'a> {
    // What the app's ring screen needs, as `call:incoming` would carry it.
    let ring_details = call.ring_details.as_ref().filter(|_| event.kind == WebhookEventKind::PushRequired);
    let further: Map<String, Value> =
        ring_details.and_then(|details| serde_json::from_str(&details.extra).ok()).unwrap_or_default();
    let changed = matches!(event.kind, WebhookEventKind::Upgraded | WebhookEventKind::Downgraded);
    let change = call.changes().iter().find(|change| changed && change.seq == event.seq);
    let end = call.end();
    // What is counted of a call that is over.
    let over = end.and(Some(call));
    let talked = over.and_then(|call| Some((call.duration()?, call.talk()?)));
    // What never happened is left out.
    let counted = |count: u64| Some(count).filter(|count| over.is_some() && *count > 0);
    let away = |role: Role| Some(Millis::from(call.time_away(role))).filter(|Millis(away)| over.is_some() && *away > 0);
    WebhookCall {
        further: further.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        caller_name: ring_details.map(|details| details.caller_name.as_str()),
        channel_name: ring_details.map(|details| details.channel_name.as_str()),
        agora_token: ring_details.map(|details| details.agora_token.as_str()),
        expires_at: ring_details.map(|_| call.ring_until.into()),
        call_id: CallId(&call.wire_id),
        seq: event.seq,
        state: (&call.state).into(),
        caller_id: (&call.caller.user).into(),
        receiver_id: (&call.callee.user).into(),
        call_type: call.call_type.as_deref(),
        created_at: call.created_at.into(),
        ringing_at: call.rang_at.map(Time::from),
        accepted_at: call.accepted_at().map(Time::from),
        from: change.map(|change| change.from().name()),
        to: change.map(|change| change.to.name()),
        at: change.map(|change| change.at.into()),
        by: change.map(|change| (&call.party(change.by).user).into()),
        ended_at: end.map(|end| end.at.into()),
        reason: end.map(|end| (&end.reason).into()),
        text: end.and_then(|end| end.text.as_deref()),
        duration_ms: talked.map(|(duration, _)| duration.into()),
        talk_ms: talked.map(|(_, talk)| talk.into()),
        talk_ms_by_type: talked
            .map(|_| call.talk_shown().into_iter().map(|(media, talk)| (media, Millis(talk))).collect()),
        ring_ms: over.and_then(Call::ring_time).map(Millis::from),
        confirm_ms: over.and_then(Call::time_to_confirm).map(Millis::from),
        caller_reconnects: counted(call.caller.reconnects),
        caller_away_ms: away(Role::Caller),
        receiver_reconnects: counted(call.callee.reconnects),
        receiver_away_ms: away(Role::Callee),
        ended_by: over.and_then(Call::ended_by).map(UserId::from),
        absent_since: over.and_then(Call::absent_since).map(Time::from),
    }
}
