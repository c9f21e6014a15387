//! The wire events towards phones: names and fields of docs/protocol.md 4.

use serde_json::{Map, Value, json};

use crate::call::{Call, Notification, Role, Timestamp, UserId};
use crate::signaling::Ready;
use crate::signaling::{DirectEvent, Message};

/// An event's name and payload.
pub type WireEvent<'a> = (&'a str, Value);

/// What is said about a call, as the phone reads it.
pub fn call_event(call: &Call, notification: &Notification, now: Timestamp, repeat: bool) -> WireEvent<'static> {
    let id = call.wire_id.as_str();
    let timestamp = now.as_millis();
    match notification {
        Notification::Incoming => ("call:incoming", incoming(call, now)),
        Notification::Ringing => ("call:ringing", json!({"callId": id, "timestamp": timestamp})),
        Notification::Accepted => {
            let mut payload = json!({"callId": id, "timestamp": timestamp, "receiverId": call.callee.user});
            if repeat {
                payload["repeat"] = true.into();
            }
            ("call:accepted", payload)
        }
        Notification::Rejected { reason } => {
            ("call:rejected", json!({"callId": id, "reason": reason, "timestamp": timestamp}))
        }
        Notification::Cancelled { reason } => {
            ("call:cancelled", json!({"callId": id, "reason": reason, "timestamp": timestamp}))
        }
        Notification::Ended { reason, by, duration } => {
            let mut payload = json!({"callId": id, "reason": reason, "timestamp": timestamp});
            if let Some(by) = by {
                payload["endedBy"] = by.as_str().into();
            }
            if let Some(duration) = duration {
                payload["durationMs"] = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into();
            }
            ("call:ended", payload)
        }
        Notification::Timeout => ("call:timeout", json!({"callId": id, "reason": "No answer"})),
        Notification::Busy => busy(id),
        Notification::UpgradeRequest { by, until, .. } => {
            let left = u64::try_from(until.since(now).as_millis()).unwrap_or(u64::MAX);
            let payload = json!({"callId": id, "senderId": by, "timestamp": timestamp, "expiresInMs": left});
            ("call:upgrade:request", payload)
        }
        Notification::UpgradeResponse { accepted, reason, .. } => {
            let mut payload = json!({"callId": id, "accepted": accepted, "timestamp": timestamp});
            if let Some(reason) = reason {
                payload["reason"] = reason.as_str().into();
            }
            ("call:upgrade:response", payload)
        }
        Notification::Downgraded { by, .. } => {
            ("call:downgraded", json!({"callId": id, "senderId": by, "timestamp": timestamp}))
        }
    }
}

pub fn busy(call_id: &str) -> WireEvent<'static> {
    ("call:busy", json!({"callId": call_id}))
}

pub fn reject_confirmed(call_id: &str) -> WireEvent<'static> {
    ("call:reject:confirmed", json!({"callId": call_id}))
}

pub fn presence_event(user: &UserId, online: bool, now: Timestamp) -> WireEvent<'static> {
    let name = if online { "user:online" } else { "user:offline" };
    (name, json!({"userId": user, "timestamp": now.as_millis()}))
}

pub fn direct_event(event: &DirectEvent, now: Timestamp) -> WireEvent<'_> {
    let timestamp = now.as_millis();
    match event {
        DirectEvent::Cancelled { call_id, reason } => {
            ("call:cancelled", json!({"callId": call_id, "reason": reason, "timestamp": timestamp}))
        }
        DirectEvent::Rejected { call_id, reason } => {
            ("call:rejected", json!({"callId": call_id, "reason": reason, "timestamp": timestamp}))
        }
        DirectEvent::Message(message) => message_event(message, now),
        DirectEvent::App { event, data } => (event, data.clone()),
    }
}

/// What the other side said, with the time at which it did.
pub fn message_event(message: &Message, now: Timestamp) -> WireEvent<'static> {
    // An order counts microseconds; an older node gives none.
    let said_at = if message.order > 0 { message.order / 1000 } else { now.as_millis() };
    let mut payload = json!({
        "callId": message.call_id,
        "senderId": message.sender,
        "data": message.data,
        "timestamp": said_at,
    });
    if message.order > 0 {
        payload["order"] = message.order.into();
    }
    if let Some(id) = &message.id {
        payload["messageId"] = id.as_str().into();
    }
    if message.keep {
        payload["kept"] = true.into();
    }
    ("call:message", payload)
}

pub fn ready_event(ready: &Ready) -> WireEvent<'static> {
    let ended: Vec<Value> = ready
        .ended
        .iter()
        .map(|outcome| {
            json!({
                "callId": outcome.wire_id,
                "reason": outcome.reason,
                "endedAt": outcome.ended_at.as_millis(),
            })
        })
        .collect();
    let mut payload = json!({
        "sessionId": ready.session_id,
        "serverTime": ready.server_time.as_millis(),
        "ended": ended,
    });
    if let Some(call) = &ready.call {
        let role = match call.role {
            Role::Caller => "caller",
            Role::Callee => "callee",
        };
        let mut snapshot = json!({"callId": call.wire_id, "role": role, "state": call.state, "peerId": call.peer});
        if let Some(call_type) = &call.call_type {
            snapshot["callType"] = call_type.as_str().into();
        }
        if let Some(expires_in_ms) = call.expires_in_ms {
            snapshot["expiresInMs"] = expires_in_ms.into();
        }
        payload["call"] = snapshot;
    }
    ("session:ready", payload)
}

fn incoming(call: &Call, now: Timestamp) -> Value {
    let ring_details = call.ring_details.clone().unwrap_or_default();
    let further: Map<String, Value> = serde_json::from_str(&ring_details.extra).unwrap_or_default();
    let mut payload = json!({
        "callId": call.wire_id,
        "callerId": call.caller.user,
        "callerName": ring_details.caller_name,
        "callType": call.call_type,
        "channelName": ring_details.channel_name,
        "agoraToken": ring_details.agora_token,
        "timestamp": now.as_millis(),
        "expiresInMs": call.rings_for_ms(now),
    });
    for (name, value) in further {
        // Own fields win.
        if payload.get(&name).is_none() {
            payload[name] = value;
        }
    }
    payload
}
