//! The wire events towards phones: names and fields of docs/protocol.md 4.

use serde_json::{Map, Value};

use super::heard::{
    AboutCall, Accepted, BackToAudio, Ended, Incoming, LiveCall, Message as Said, NoAnswer, PastCall,
    Ready as Greeting, Ringing, Timeout, Told, VideoAnswered, VideoAsked,
};
use super::said::RING_FIELDS;
use super::table::heard_events;
use crate::call::{Call, Notification, RingDetails, Timestamp, UserId};
use crate::shapes::{CallId, CallType, MessageId, MessageOrder, Millis, Presence, Time, True, payload};
use crate::signaling::{DirectEvent, Message, Ready, ReadyCall};

/// An event's name and payload.
pub type WireEvent<'a> = (&'a str, Value);

heard_events! {
    /// To the session that connected.
    "session:ready" => Ready(Greeting<'a>),
        r#"{"sessionId": "a2fe86ad2f1c4e0c9e4c8f6a51f0d3b7", "serverTime": 1795368390826,
        "call": {"callId": "CALL_17642", "role": "callee", "state": "ringing", "peerId": "USR_1001",
        "callType": "VIDEO", "expiresInMs": 29886},
        "ended": [{"callId": "CALL_17601", "reason": "hung_up", "endedAt": 1795367790112}]}"#,
        r#"{"sessionId": "a2fe86ad2f1c4e0c9e4c8f6a51f0d3b7", "serverTime": 1795368390826, "ended": []}"#;
    /// To every device of the callee. With `acks` it asks for an acknowledgement.
    "call:incoming" => Incoming(Incoming<'a>),
        r#"{"callId": "CALL_17642", "callerId": "USR_1001", "callerName": "Ana", "callType": "VIDEO",
        "channelName": "channel-17642", "agoraToken": "006a", "agoraAppId": "app",
        "timestamp": 1795368390715, "expiresInMs": 29997}"#;
    /// To every device of the caller: a device of the callee has confirmed.
    "call:ringing" => Ringing(Ringing<'a>),
        r#"{"callId": "CALL_17642", "timestamp": 1795368390790}"#;
    /// To every device of the caller.
    "call:accepted" => Accepted(Accepted<'a>),
        r#"{"callId": "CALL_17642", "receiverId": "USR_1002", "timestamp": 1795368390931}"#;
    /// To every device of the caller.
    "call:rejected" => Rejected(Told<'a>),
        r#"{"callId": "CALL_17642", "reason": "User declined", "timestamp": 1795368394715}"#;
    /// To devices of the callee.
    "call:cancelled" => Cancelled(Told<'a>),
        r#"{"callId": "CALL_17642", "reason": "Answered elsewhere", "timestamp": 1795368390931}"#;
    /// To the other party, and the device in the call if another of its user ended it.
    "call:ended" => Ended(Ended<'a>),
        r#"{"callId": "CALL_17642", "reason": "Remote user ended call", "endedBy": "USR_1001",
        "durationMs": 61227, "timestamp": 1795368452158}"#;
    /// To every device of the caller.
    "call:timeout" => Timeout(Timeout<'a>),
        r#"{"callId": "CALL_17642", "reason": "No answer"}"#;
    /// To the session that initiated.
    "call:busy" => Busy(AboutCall<'a>),
        r#"{"callId": "CALL_17642"}"#;
    /// To the session that rejected.
    "call:reject:confirmed" => RejectConfirmed(AboutCall<'a>),
        r#"{"callId": "CALL_17642"}"#;
    /// To every device of the other party.
    "call:message" => Message(Said<'a>),
        r#"{"callId": "CALL_17642", "senderId": "USR_1001", "messageId": "m1",
        "data": {"type": "chat", "text": "Two minutes, please"}, "timestamp": 1795368390715,
        "order": 1795368390715000, "kept": true}"#;
    /// The other side asks for video.
    "call:upgrade:request" => VideoAsked(VideoAsked<'a>),
        r#"{"callId": "CALL_17642", "senderId": "USR_1001", "timestamp": 1795368400715, "expiresInMs": 30000}"#;
    /// How the own request for video was answered.
    "call:upgrade:response" => VideoAnswered(VideoAnswered<'a>),
        r#"{"callId": "CALL_17642", "accepted": true, "timestamp": 1795368405120}"#,
        r#"{"callId": "CALL_17642", "accepted": false, "reason": "No answer", "timestamp": 1795368420715}"#;
    /// The other side went back to audio.
    "call:downgraded" => BackToAudio(BackToAudio<'a>),
        r#"{"callId": "CALL_17642", "senderId": "USR_1001", "timestamp": 1795368430715}"#;
    /// To sessions that subscribed.
    "user:online" => Online(Presence<'a>),
        r#"{"userId": "USR_1002", "timestamp": 1795368390715}"#;
    /// To sessions that subscribed, 3 s after the last connection went.
    "user:offline" => Offline(Presence<'a>),
        r#"{"userId": "USR_1002", "timestamp": 1795368390715}"#;
}

/// What is said about a call, as the phone reads it.
pub fn call_event(call: &Call, notification: &Notification, now: Timestamp, repeat: bool) -> WireEvent<'static> {
    let (call_id, timestamp) = (CallId(&call.wire_id), now.into());
    let event = match notification {
        Notification::Incoming => return incoming(call, now),
        Notification::Ringing => Event::Ringing(Ringing { call_id, timestamp }),
        Notification::Accepted => {
            let receiver_id = (&call.callee.user).into();
            Event::Accepted(Accepted { call_id, timestamp, receiver_id, repeat: repeat.then_some(true) })
        }
        Notification::Rejected { reason } => Event::Rejected(Told { call_id, reason, timestamp }),
        Notification::Cancelled { reason } => Event::Cancelled(Told { call_id, reason, timestamp }),
        Notification::Ended { reason, by, duration } => {
            let (ended_by, duration_ms) = (by.as_ref().map(Into::into), duration.map(Millis::from));
            Event::Ended(Ended { call_id, reason, timestamp, ended_by, duration_ms })
        }
        Notification::Timeout => Event::Timeout(Timeout { call_id, reason: NoAnswer::NoAnswer }),
        Notification::Busy => Event::Busy(AboutCall { call_id }),
        Notification::UpgradeRequest { by, until, .. } => Event::VideoAsked(VideoAsked {
            call_id,
            sender_id: by.into(),
            timestamp,
            expires_in_ms: until.since(now).into(),
        }),
        Notification::UpgradeResponse { accepted, reason, .. } => {
            Event::VideoAnswered(VideoAnswered { call_id, accepted: *accepted, timestamp, reason: reason.as_deref() })
        }
        Notification::Downgraded { by, .. } => {
            Event::BackToAudio(BackToAudio { call_id, sender_id: by.into(), timestamp })
        }
    };
    event.on_wire()
}

pub fn busy(call_id: &str) -> WireEvent<'static> {
    Event::Busy(AboutCall { call_id: CallId(call_id) }).on_wire()
}

pub fn reject_confirmed(call_id: &str) -> WireEvent<'static> {
    Event::RejectConfirmed(AboutCall { call_id: CallId(call_id) }).on_wire()
}

pub fn presence_event(user: &UserId, online: bool, now: Timestamp) -> WireEvent<'static> {
    let presence = Presence::new(user, now);
    if online { Event::Online(presence).on_wire() } else { Event::Offline(presence).on_wire() }
}

pub fn direct_event(event: &DirectEvent, now: Timestamp) -> WireEvent<'_> {
    let timestamp = now.into();
    match event {
        DirectEvent::Cancelled { call_id, reason } => {
            Event::Cancelled(Told { call_id: CallId(call_id), reason, timestamp }).on_wire()
        }
        DirectEvent::Rejected { call_id, reason } => {
            Event::Rejected(Told { call_id: CallId(call_id), reason, timestamp }).on_wire()
        }
        DirectEvent::Message(message) => message_event(message, now),
        DirectEvent::App { event, data } => (event, data.clone()),
    }
}

/// What the other side said, with the time at which it did.
pub fn message_event(message: &Message, now: Timestamp) -> WireEvent<'static> {
    // An order counts microseconds; an older node gives none.
    let order = Some(message.order).filter(|order| *order > 0);
    let said = Said {
        call_id: CallId(&message.call_id),
        sender_id: (&message.sender).into(),
        data: &message.data,
        timestamp: order.map_or(now.into(), |order| Time::from_millis(order / 1000)),
        order: order.map(MessageOrder),
        message_id: message.id.as_deref().map(MessageId),
        kept: message.keep.then_some(True),
    };
    Event::Message(said).on_wire()
}

pub fn ready_event(ready: &Ready) -> WireEvent<'static> {
    let ended = ready.ended.iter().map(|outcome| PastCall {
        call_id: CallId(&outcome.wire_id),
        reason: &outcome.reason,
        ended_at: outcome.ended_at.into(),
    });
    let greeting = Greeting {
        session_id: &ready.session_id,
        server_time: ready.server_time.into(),
        ended: ended.collect(),
        call: ready.call.as_ref().map(live),
    };
    Event::Ready(greeting).on_wire()
}

fn live(call: &ReadyCall) -> LiveCall<'_> {
    LiveCall {
        call_id: CallId(&call.wire_id),
        role: call.role.into(),
        state: (&call.state).into(),
        peer_id: (&call.peer).into(),
        call_type: call.call_type.as_deref().map(CallType),
        expires_in_ms: call.expires_in_ms.map(Millis),
    }
}

fn incoming(call: &Call, now: Timestamp) -> WireEvent<'static> {
    let unknown = RingDetails::default();
    let ring_details = call.ring_details.as_ref().unwrap_or(&unknown);
    let mut further: Map<String, Value> = serde_json::from_str(&ring_details.extra).unwrap_or_default();
    // Own fields win.
    further.retain(|name, _| !RING_FIELDS.contains(&name.as_str()));
    let incoming = Incoming {
        call_id: CallId(&call.wire_id),
        caller_id: (&call.caller.user).into(),
        caller_name: &ring_details.caller_name,
        call_type: call.call_type.as_deref().map(CallType),
        channel_name: &ring_details.channel_name,
        agora_token: &ring_details.agora_token,
        timestamp: now.into(),
        expires_in_ms: Millis(call.rings_for_ms(now)),
        further,
    };
    Event::Incoming(incoming).on_wire()
}
