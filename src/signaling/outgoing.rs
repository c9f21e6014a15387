//! What a change of a call has to tell the backend: letters for the outbox, written in the same step as the change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Failure, Node};
use crate::call::{Call, CallId, Command, Event, EventKind, Timestamp, UserId, Verdict, callbacks, events, milestones};
use crate::store::{Created, DeadLetter, Letter, Queue, Replayed, StoreError, Which};
use crate::telemetry::metrics;
use crate::telemetry::trace::{self, Kind};

/// Who is online is of no use later.
const PRESENCE_LIFE: Duration = Duration::from_secs(300);

impl Node {
    /// The letters of a change.
    pub(super) fn letters(&self, before: Option<&Call>, after: &Call) -> Vec<Letter> {
        let mut letters = Vec::new();
        if self.policy.webhooks {
            letters.extend(events(before, after).iter().map(|event| webhook(after, event, self.clock.now())));
        }
        if self.policy.callbacks
            && let Some(callback) = callbacks(before, after)
        {
            match serde_json::to_string(&callback) {
                Ok(body) => letters.push(Letter {
                    id: after.letter_id("callback", after.version.counter),
                    queue: Queue::Callbacks,
                    call: Some(after.id.clone()),
                    at: self.clock.now(),
                    due: callback.due,
                    until: Some(callback.until),
                    body,
                }),
                Err(error) => tracing::error!(call = %after.id, %error, "a callback can't be written"),
            }
        }
        letters
    }

    /// Creates a call together with its letters.
    pub(super) async fn create(self: &Arc<Self>, call: &Call, seen: &[Verdict]) -> Result<Created, StoreError> {
        // A line that is not put back yet would not make busy.
        self.all_put_back().await?;
        let (letters, now) = (self.letters(None, call), self.clock.now());
        let added = milestones(None, call, None, now, self.node());
        let created = self.calls.create(call, seen, &letters, &added, now);
        let created = trace::part("store: create", Kind::Client, created).await;
        if let Err(StoreError::Another) = created {
            // Whoever tries again waits for what is put back into this one.
            self.check_generation().await?;
        }
        let created = created?;
        if let Created::Created(call) = &created {
            self.posted(&letters);
            // One that was over before it began has no other end.
            self.traces.ended(call);
        }
        Ok(created)
    }

    /// Creates a call that is settled: verdicts that wait for it change nothing.
    pub(super) async fn create_settled(self: &Arc<Self>, call: &Call) -> Result<Created, StoreError> {
        match self.create(call, &[]).await? {
            Created::Verdicts(verdicts) => self.create(call, &verdicts).await,
            created => Ok(created),
        }
    }

    /// Wakes the workers of this node.
    pub(super) fn posted(&self, letters: &[Letter]) {
        self.bell.ring(letters);
        if letters.iter().any(|letter| letter.queue == Queue::Pushes) {
            metrics::push_required();
        }
    }

    /// The newest letters that were given up.
    pub(super) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.outbox.dead_letters(limit).await
    }

    /// Has dead letters sent again, some at most.
    pub(super) async fn replay_letters(&self, which: &Which) -> Result<Replayed, StoreError> {
        self.outbox.replay(which, self.clock.now()).await
    }

    /// Takes back that a receiver wants nothing more.
    pub(super) async fn webhooks_on(&self) -> Result<(), StoreError> {
        self.outbox.switch_off(None).await
    }

    pub(super) async fn append_presence(&self, user: &UserId, online: bool) {
        let now = self.clock.now();
        let kind = if online { "user.online" } else { "user.offline" };
        let data = json!({"userId": user, "timestamp": now.as_millis()});
        let letter = Letter {
            id: format!("msg_{:032x}", rand::random::<u128>()),
            queue: Queue::Events,
            call: None,
            at: now,
            due: now,
            until: Some(now + PRESENCE_LIFE),
            body: json!({"type": kind, "timestamp": now.rfc3339(), "data": data}).to_string(),
        };
        match self.outbox.append(std::slice::from_ref(&letter)).await {
            Ok(()) => self.posted(&[letter]),
            Err(error) => tracing::warn!(%error, "a user's presence could not be posted"),
        }
    }

    /// Asks for a push at once where no device of the callee can confirm the ring.
    pub(super) fn push_now(self: &Arc<Self>, id: &CallId) {
        let (signaling, id) = (Arc::clone(self), id.clone());
        self.spawn(async move {
            match signaling.transition(&id, &Command::Push).await {
                Ok(_) | Err(Failure::NotFound | Failure::Refused { .. } | Failure::TooManyRings { .. }) => {}
                // Its deadline is stored: the push is two seconds late.
                Err(Failure::Unavailable) => tracing::warn!(call = %id, "asking for a push at once failed"),
            }
        });
    }

    /// Asks by webhook whether a call that makes others busy still is one.
    pub(super) fn verify(self: &Arc<Self>, line: &Call) {
        if !self.policy.webhooks || line.is_ringing() {
            return;
        }
        let (signaling, id) = (Arc::clone(self), line.id.clone());
        // Refused where it was asked a moment ago.
        self.spawn(async move { drop(signaling.transition(&id, &Command::Verify).await) });
    }
}

fn webhook(call: &Call, event: &Event, now: Timestamp) -> Letter {
    let push = event.kind == EventKind::PushRequired;
    let body = json!({
        "type": event.kind.name(),
        "timestamp": event.at.rfc3339(),
        "data": data(call, event),
    });
    Letter {
        id: call.letter_id("msg", event.seq),
        queue: if push { Queue::Pushes } else { Queue::Events },
        call: Some(call.id.clone()),
        at: now,
        due: now,
        until: push.then_some(call.ring_until),
        body: body.to_string(),
    }
}

fn data(call: &Call, event: &Event) -> Value {
    let mut data = Map::new();
    if event.kind == EventKind::PushRequired
        && let Some(offer) = &call.offer
    {
        // What the app's ring screen needs, as `call:incoming` would carry it; own fields win.
        if let Ok(Value::Object(extra)) = serde_json::from_str::<Value>(&offer.extra) {
            data.extend(extra.into_iter().filter(|(_, value)| !value.is_null()));
        }
        data.insert("callerName".into(), offer.caller_name.as_str().into());
        data.insert("channelName".into(), offer.channel_name.as_str().into());
        data.insert("agoraToken".into(), offer.agora_token.as_str().into());
        data.insert("expiresAt".into(), call.ring_until.as_millis().into());
    }
    let mut put = |name: &str, value: Value| drop(data.insert(name.into(), value));
    put("callId", call.spelled.as_str().into());
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
    }
    if let Some(by) = call.ended_by() {
        put("endedBy", by.as_str().into());
    }
    if let Some(since) = call.absent_since() {
        put("absentSince", since.as_millis().into());
    }
    Value::Object(data)
}
