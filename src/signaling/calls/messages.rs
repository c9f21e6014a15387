//! What a change of a call has to tell the backend: messages for the outbox, written in the same step as the change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::call::{Call, Role, Timestamp, UserId, WebhookEvent, WebhookEventKind, callbacks, events};
use crate::signaling::node::NodeContext;
use crate::store::{OutboxMessage, Queue, WakeUp};
use crate::telemetry::metrics;

/// Who is online is of no use later.
const PRESENCE_LIFE: Duration = Duration::from_secs(300);

/// Makes the outbox messages of this node, and wakes their dispatchers.
pub struct OutboxMessages {
    node: Arc<NodeContext>,
    wake_up: WakeUp,
}

impl OutboxMessages {
    pub fn new(node: Arc<NodeContext>, wake_up: WakeUp) -> Self {
        Self { node, wake_up }
    }

    /// The messages of a change.
    pub fn of(&self, before: Option<&Call>, after: &Call) -> Vec<OutboxMessage> {
        let mut messages = Vec::new();
        if self.node.policy.webhooks {
            messages.extend(events(before, after).iter().map(|event| webhook(after, event, self.node.now())));
        }
        if self.node.policy.callbacks
            && let Some(callback) = callbacks(before, after)
        {
            match serde_json::to_string(&callback) {
                Ok(body) => messages.push(OutboxMessage {
                    id: after.outbox_id("callback", after.version.counter),
                    queue: Queue::Callbacks,
                    call: Some(after.id.clone()),
                    at: self.node.now(),
                    due: callback.due,
                    until: Some(callback.until),
                    body,
                }),
                Err(error) => tracing::error!(call = %after.id, %error, "a callback can't be written"),
            }
        }
        messages
    }

    /// A user came or went.
    pub fn of_presence(&self, user: &UserId, online: bool) -> OutboxMessage {
        let now = self.node.now();
        let kind = if online { "user.online" } else { "user.offline" };
        let data = json!({"userId": user, "timestamp": now.as_millis()});
        OutboxMessage {
            id: format!("msg_{:032x}", rand::random::<u128>()),
            queue: Queue::Events,
            call: None,
            at: now,
            due: now,
            until: Some(now + PRESENCE_LIFE),
            body: json!({"type": kind, "timestamp": now.rfc3339(), "data": data}).to_string(),
        }
    }

    /// They are written: wakes the dispatchers of this node.
    pub fn posted(&self, messages: &[OutboxMessage]) {
        self.wake_up.signal(messages);
        if messages.iter().any(|message| message.queue == Queue::Pushes) {
            metrics::push_required();
        }
    }
}

fn webhook(call: &Call, event: &WebhookEvent, now: Timestamp) -> OutboxMessage {
    let push = event.kind == WebhookEventKind::PushRequired;
    let body = json!({
        "type": event.kind.name(),
        "timestamp": event.at.rfc3339(),
        "data": data(call, event),
    });
    OutboxMessage {
        id: call.outbox_id("msg", event.seq),
        queue: if push { Queue::Pushes } else { Queue::Events },
        call: Some(call.id.clone()),
        at: now,
        due: now,
        until: push.then_some(call.ring_until),
        body: body.to_string(),
    }
}

fn data(call: &Call, event: &WebhookEvent) -> Value {
    let mut data = Map::new();
    if event.kind == WebhookEventKind::PushRequired
        && let Some(ring_details) = &call.ring_details
    {
        // What the app's ring screen needs, as `call:incoming` would carry it; own fields win.
        if let Ok(Value::Object(extra)) = serde_json::from_str::<Value>(&ring_details.extra) {
            data.extend(extra.into_iter().filter(|(_, value)| !value.is_null()));
        }
        data.insert("callerName".into(), ring_details.caller_name.as_str().into());
        data.insert("channelName".into(), ring_details.channel_name.as_str().into());
        data.insert("agoraToken".into(), ring_details.agora_token.as_str().into());
        data.insert("expiresAt".into(), call.ring_until.as_millis().into());
    }
    let mut put = |name: &str, value: Value| drop(data.insert(name.into(), value));
    put("callId", call.wire_id.as_str().into());
    put("seq", event.seq.into());
    put("state", call.state.name().into());
    put("callerId", call.caller.user.as_str().into());
    put("receiverId", call.callee.user.as_str().into());
    if let Some(call_type) = &call.call_type {
        put("callType", call_type.as_str().into());
    }
    put("createdAt", call.created_at.as_millis().into());
    if let Some(at) = call.rang_at {
        put("ringingAt", at.as_millis().into());
    }
    if let Some(at) = call.accepted_at() {
        put("acceptedAt", at.as_millis().into());
    }
    if let WebhookEventKind::Upgraded | WebhookEventKind::Downgraded = event.kind
        && let Some(change) = call.changes().iter().find(|change| change.seq == event.seq)
    {
        put("from", change.from().name().into());
        put("to", change.to.name().into());
        put("at", change.at.as_millis().into());
        put("by", call.party(change.by).user.as_str().into());
    }
    let Some(end) = call.end() else { return Value::Object(data) };
    put("endedAt", end.at.as_millis().into());
    put("reason", end.reason.name().into());
    if let Some(text) = &end.text {
        put("text", text.as_str().into());
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if let (Some(duration), Some(talk)) = (call.duration(), call.talk()) {
        put("durationMs", millis(duration).into());
        put("talkMs", millis(talk).into());
        put("talkMsByType", json!(call.talk_shown()));
    }
    if let Some(rang) = call.ring_time() {
        put("ringMs", millis(rang).into());
    }
    if let Some(time) = call.time_to_confirm() {
        put("confirmMs", millis(time).into());
    }
    for (role, reconnects, away) in
        [(Role::Caller, "callerReconnects", "callerAwayMs"), (Role::Callee, "receiverReconnects", "receiverAwayMs")]
    {
        // What never happened is left out.
        let counted = [(reconnects, call.party(role).reconnects), (away, millis(call.time_away(role)))];
        counted.into_iter().filter(|(_, count)| *count > 0).for_each(|(name, count)| put(name, count.into()));
    }
    if let Some(by) = call.ended_by() {
        put("endedBy", by.as_str().into());
    }
    if let Some(since) = call.absent_since() {
        put("absentSince", since.as_millis().into());
    }
    Value::Object(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Push, RingDetails, events_so_far};

    /// Further fields of an initiate that are named like the webhook's own.
    const EXTRA: &str =
        r#"{"balanceTime":"12:00","seq":"x","state":"y","reason":"z","none":null,"deep":{"b":[1,2.5,null]}}"#;

    /// Calls in every state, as they are stored, and one that was told all of it.
    fn calls() -> Vec<Call> {
        let samples: serde_json::Value =
            serde_json::from_str(include_str!("../../store/golden/versions.json")).unwrap();
        let mut calls: Vec<Call> = serde_json::from_value(samples["call"].clone()).unwrap();
        let stored: Vec<Call> = serde_json::from_str(include_str!("../../store/golden/call.json")).unwrap();
        let mut told = stored[2].clone();
        told.push = Push::Asked(Timestamp::from_millis(1_800_000_001_000));
        told.rang_at = Some(Timestamp::from_millis(1_800_000_002_000));
        told.caller = calls[0].caller.clone();
        told.callee.reconnects = 1;
        told.call_type = Some("video".into());
        told.ring_details = Some(RingDetails {
            channel_name: "c".into(),
            agora_token: String::new(),
            caller_name: "Ana \"A\"".into(),
            extra: EXTRA.into(),
        });
        calls.extend(stored);
        calls.push(told);
        calls
    }

    /// Receivers verify a signature over these bytes, and store them.
    #[test]
    fn what_the_backend_is_told_keeps_its_bytes() {
        let now = Timestamp::from_millis(1_800_000_001_234);
        let mut told = Vec::new();
        for call in calls() {
            let all = events_so_far(&call).into_iter();
            told.extend(all.map(|event| webhook(&call, &event, now).body));
        }
        let golden: Vec<&str> = include_str!("golden/webhooks.txt").lines().collect();
        for (told, golden) in told.iter().zip(&golden) {
            assert_eq!(told, golden);
        }
        assert_eq!(told.len(), golden.len());
    }
}
