//! What a change of a call has to tell the backend: messages for the outbox, written in the same step as the change.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Timestamp, UserId, WebhookEvent, WebhookEventKind, callbacks, events};
use crate::shapes::{webhook_of_call, webhook_of_presence};
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
        OutboxMessage {
            id: format!("msg_{:032x}", rand::random::<u128>()),
            queue: Queue::Events,
            call: None,
            at: now,
            due: now,
            until: Some(now + PRESENCE_LIFE),
            body: webhook_of_presence(user, online, now).to_string(),
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
    OutboxMessage {
        id: call.outbox_id("msg", event.seq),
        queue: if push { Queue::Pushes } else { Queue::Events },
        call: Some(call.id.clone()),
        at: now,
        due: now,
        until: push.then_some(call.ring_until),
        body: webhook_of_call(call, event).to_string(),
    }
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
