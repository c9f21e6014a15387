//! Every event and acknowledgement, byte for byte: deployed phones depend on them.

use std::time::Duration;

use serde_json::{Value, json};

use super::acks;
use super::events::{busy, call_event, direct_event, message_event, presence_event, ready_event, reject_confirmed};
use crate::call::{Call, ErrorCode, Notification, Refusal, RingDetails, Timestamp, UserId};
use crate::signaling::{CallOutcome, DirectEvent, Failure, Handed, Initiated, Message, Ready, ReadyCall};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_001_234);
/// Names of the server's own fields, null, and what sits deeper.
const EXTRA: &str = r#"{"balanceTime":"12:00","timestamp":7,"callId":"x","deep":{"b":[1,2.5,null],"a":"é"},"none":null,"expiresInMs":"y"}"#;

/// Calls in every state, as they are stored.
fn calls() -> Vec<Call> {
    let samples: Value = serde_json::from_str(include_str!("../store/golden/versions.json")).unwrap();
    let mut calls: Vec<Call> = serde_json::from_value(samples["call"].clone()).unwrap();
    let stored: Vec<Call> = serde_json::from_str(include_str!("../store/golden/call.json")).unwrap();
    calls.extend(stored);
    calls[0].ring_details = Some(RingDetails {
        channel_name: "c".into(),
        agora_token: String::new(),
        caller_name: "Ana \"A\"".into(),
        extra: EXTRA.into(),
    });
    calls
}

fn notifications() -> Vec<(Notification, bool)> {
    let by = UserId::parse("USR_2").unwrap();
    let reason = || "because".to_owned();
    let answer = |accepted, reason| Notification::UpgradeResponse { number: 1, accepted, reason, at: NOW };
    let ended = |by, duration| Notification::Ended { reason: reason(), by, duration };
    [
        Notification::Incoming,
        Notification::Ringing,
        Notification::Accepted,
        Notification::Rejected { reason: reason() },
        Notification::Cancelled { reason: reason() },
        ended(None, None),
        ended(Some(by.clone()), Some(Duration::from_millis(4321))),
        Notification::Timeout,
        Notification::Busy,
        Notification::UpgradeRequest { number: 1, by: by.clone(), until: NOW + Duration::from_secs(9) },
        answer(true, None),
        answer(false, Some(reason())),
        Notification::Downgraded { number: 1, by, at: NOW },
    ]
    .into_iter()
    .map(|notification| (notification, false))
    .chain([(Notification::Accepted, true)])
    .collect()
}

fn messages() -> Vec<Message> {
    let samples: Value = serde_json::from_str(include_str!("../store/golden/versions.json")).unwrap();
    let mut found = Vec::new();
    let mut left = vec![&samples["envelope"]];
    while let Some(value) = left.pop() {
        if let Ok(message) = serde_json::from_value::<Message>(value.clone()) {
            found.push(message);
        }
        match value {
            Value::Object(fields) => left.extend(fields.values()),
            Value::Array(list) => left.extend(list),
            _ => {}
        }
    }
    found
}

fn events() -> Vec<(String, Value)> {
    let (calls, user) = (calls(), UserId::parse("USR_1").unwrap());
    let mut events = Vec::new();
    let mut put = |(name, payload): (&str, Value)| events.push((name.to_owned(), payload));
    for (notification, repeat) in notifications() {
        put(call_event(&calls[0], &notification, NOW, repeat));
    }
    put(call_event(&calls[1], &Notification::Incoming, NOW, false));
    put(busy("CALL_1"));
    put(reject_confirmed("1"));
    put(presence_event(&user, true, NOW));
    put(presence_event(&user, false, NOW));
    let (call_id, reason) = ("CALL_9".to_owned(), "so".to_owned());
    put(direct_event(&DirectEvent::Cancelled { call_id: call_id.clone(), reason: reason.clone() }, NOW));
    put(direct_event(&DirectEvent::Rejected { call_id, reason }, NOW));
    put(direct_event(&DirectEvent::App { event: "app:x".into(), data: json!({"b": 1, "a": null}) }, NOW));
    for message in messages() {
        put(message_event(&message, NOW));
        let full = Message { id: Some("m1".into()), order: 1_800_000_000_000_123, keep: true, ..message.clone() };
        put(message_event(&full, NOW));
        put(direct_event(&DirectEvent::Message(Box::new(Message { order: 0, id: None, keep: false, ..message })), NOW));
    }
    let outcome = |reason: &str| CallOutcome {
        call_id: calls[0].id.clone(),
        wire_id: "CALL_1".into(),
        reason: reason.into(),
        ended_at: NOW,
    };
    let ready = |call, ended| Ready { session_id: "s".into(), server_time: NOW, call, ended };
    put(ready_event(&ready(None, Vec::new())));
    for call in &calls {
        put(ready_event(&ready(ReadyCall::of(call, &user, NOW), vec![outcome("hung_up"), outcome("of a newer node")])));
    }
    events
}

fn acknowledgements() -> Vec<Value> {
    let mut bodies = vec![acks::not_supported(), acks::contradicted().body, acks::invalid_text("unknown event").body];
    for call in calls() {
        bodies.push(acks::done("CALL_1", &call));
        for refusal in [Refusal::NotAParticipant, Refusal::InvalidState, Refusal::AnsweredElsewhere] {
            bodies.push(acks::failed(&Failure::Refused { refusal, call: Box::new(call.clone()) }).body);
        }
    }
    let (call, to) = (calls().remove(0), UserId::parse("USR_2").unwrap());
    for (devices, kept, again) in [(0, false, false), (2, true, false), (1, false, true), (3, true, true)] {
        let handed = Handed { call: call.clone(), to: to.clone(), devices, order: 77, kept, again };
        bodies.push(acks::handed("CALL_1", &handed));
    }
    let users = ["USR_9", "USR_1", "USR_5"].map(|id| (UserId::parse(id).unwrap(), id == "USR_1"));
    bodies.push(acks::presence(&users));
    bodies.push(acks::presence(&[]));
    let busy = |ringing| Initiated::Busy { ringing };
    for answer in [
        Initiated::Ringing,
        Initiated::Settled(Box::new(call)),
        Initiated::Offline,
        busy(None),
        busy(Some("CALL_8".to_owned())),
    ] {
        bodies.push(acks::initiated("CALL_1", &answer));
    }
    for failure in
        [Failure::NotFound, Failure::Unavailable, Failure::RateLimited { wait: Duration::from_micros(1_500_900) }]
    {
        bodies.push(acks::failed(&failure).body);
    }
    bodies.push(acks::rate_limited(Duration::ZERO).body);
    bodies
}

#[test]
fn what_phones_hear_keeps_its_bytes() {
    let events = events().into_iter().map(|(name, payload)| format!("{name} {payload}"));
    let acks = acknowledgements();
    let words = acks.iter().map(|ack| format!("{} {ack}", acks::outcome(ack)));
    let told: Vec<String> = events.chain(words).collect();
    let golden: Vec<&str> = include_str!("golden/payloads.txt").lines().collect();
    for (told, golden) in told.iter().zip(&golden) {
        assert_eq!(told, golden);
    }
    assert_eq!(told.len(), golden.len());
    assert_eq!(acks::contradicted().code, ErrorCode::NotAParticipant);
}
