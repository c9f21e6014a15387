//! Reads what phones say, event by event: docs/protocol.md 3.

use serde_json::{Map, Value};

use super::payload::{EXTRA_LIMIT, FieldError, Fields};
use crate::call::{Actor, CallId, Command, RingDetails, UserId};
use crate::signaling::{Initiate, MAX_SUBSCRIPTIONS, MessageContent};

/// The fields of an initiate that are no further ones: `call:incoming` sets them itself, or has no use for them.
pub(super) const RING_FIELDS: [&str; 9] = [
    "callId",
    "callerId",
    "callerName",
    "receiverId",
    "callType",
    "channelName",
    "agoraToken",
    "timestamp",
    "expiresInMs",
];

/// Reads `call:initiate`. A call that the callee's ring screen could not show is refused here, complete or not at all.
pub fn read_initiate(fields: Fields, caller: &UserId, caller_name: &str) -> Result<Initiate, FieldError> {
    let (id, wire_id) = fields.call_id()?;
    let receiver = fields.user("receiverId")?;
    if receiver == *caller {
        return Err(FieldError::OneselfCalled);
    }
    let call_type = fields.filled("callType")?.to_owned();
    if !["AUDIO", "VIDEO"].iter().any(|known| known.eq_ignore_ascii_case(&call_type)) {
        return Err(FieldError::CallType);
    }
    let ring_details = RingDetails {
        channel_name: fields.filled("channelName")?.to_owned(),
        agora_token: fields.text("agoraToken")?.to_owned(),
        caller_name: caller_name.to_owned(),
        extra: extra(fields.into_object())?,
    };
    Ok(Initiate { id, wire_id, receiver, call_type: Some(call_type), ring_details, ring_timeout: None, named: false })
}

/// Reads what a party does to a call. No field but `callId` can refuse it.
pub fn read_command(fields: &Fields) -> Result<(CallId, String, Option<String>), FieldError> {
    let (id, wire_id) = fields.call_id()?;
    Ok((id, wire_id, fields.reason()))
}

/// Reads a message of a party to the other.
pub fn read_message(fields: &Fields) -> Result<(CallId, String, MessageContent), FieldError> {
    let content =
        MessageContent { data: fields.data()?, keep: fields.optional_flag("keep")?, id: fields.message_id()? };
    let (id, wire_id) = fields.call_id()?;
    Ok((id, wire_id, content))
}

/// Reads an event about video. Whom it concerns is in the record: of the payload only the call counts, and the answer.
pub fn read_switch(event: &str, fields: &Fields, by: Actor) -> Result<(CallId, String, Command), FieldError> {
    let (id, wire_id) = fields.call_id()?;
    let command = match event {
        "call:upgrade:response" => {
            Command::AnswerVideo { by, accepted: fields.flag("accepted")?, reason: fields.reason() }
        }
        "call:downgrade" => Command::Downgrade { by },
        _ => Command::RequestVideo { by },
    };
    Ok((id, wire_id, command))
}

/// Reads who is to be watched, or no more.
pub fn read_users(fields: &Fields) -> Result<Vec<UserId>, FieldError> {
    fields.users("userIds", MAX_SUBSCRIPTIONS)
}

/// Every further field, without nulls.
fn extra(mut fields: Map<String, Value>) -> Result<String, FieldError> {
    fields.retain(|name, _| !RING_FIELDS.contains(&name.as_str()));
    drop_nulls(&mut fields);
    if fields.is_empty() {
        return Ok(String::new());
    }
    let text = Value::Object(fields).to_string();
    if text.len() > EXTRA_LIMIT { Err(FieldError::TooMuchExtra) } else { Ok(text) }
}

/// What a phone may not say of a call for which the backend has spoken: how a ring is billed, joined or shown.
const CLAIMS: [&str; 11] = [
    "callid",
    "callerid",
    "callername",
    "receiverid",
    "calltype",
    "channelname",
    "agoratoken",
    "timestamp",
    "expiresinms",
    "agoraappid",
    "balancetime",
];

/// Takes from an initiate's further fields those, however they are spelled, that only the backend may fill in.
pub fn drop_claims(ring_details: &mut RingDetails) {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(&ring_details.extra) else { return };
    fields.retain(|name, _| {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        !CLAIMS.contains(&plain.to_ascii_lowercase().as_str())
    });
    ring_details.extra = if fields.is_empty() { String::new() } else { Value::Object(fields).to_string() };
}

/// The app reads a JSON null in a text field as the text "null".
fn drop_nulls(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
    for value in fields.values_mut() {
        if let Value::Object(inner) = value {
            drop_nulls(inner);
        }
    }
}
