use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use super::until;

const PATIENCE: Duration = Duration::from_secs(12);
/// What the app's client gives a handshake; a node that does not keep up lets one wait for half of it.
const FOR_A_HANDSHAKE: Duration = Duration::from_secs(20);

/// How a phone introduces itself.
#[derive(Clone, Debug)]
pub struct Profile {
    pub user: String,
    pub token: String,
    pub device: Option<String>,
    pub acks: bool,
}

impl Profile {
    /// A phone that promises acknowledgements, as new apps do.
    pub fn of(user: &str) -> Self {
        Self { user: user.into(), token: format!("token-of-{user}"), device: None, acks: true }
    }

    /// A phone of the deployed app.
    pub fn deployed(user: &str) -> Self {
        Self { acks: false, ..Self::of(user) }
    }

    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(device.into());
        self
    }
}

/// What a phone heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub event: String,
    pub payload: Value,
}

#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<Heard>>,
    acks: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// Its CONNECT was answered.
    is_let_in: AtomicBool,
    /// `connect_error: text`, `disconnect`, `closed`.
    fate: Mutex<Option<String>>,
    news: Notify,
}

/// A phone on a websocket that speaks the wire protocol itself, so that it can also misbehave.
pub struct Phone {
    pub user: String,
    ear: Arc<Ear>,
    outgoing: mpsc::UnboundedSender<Message>,
    next_ack: AtomicU64,
    acks: bool,
    reader: tokio::task::JoinHandle<()>,
}

impl Phone {
    /// Connects and waits for `session:ready`.
    pub async fn connect(address: SocketAddr, profile: Profile) -> Self {
        let phone = Self::open(address, profile).await;
        phone.expect("session:ready").await;
        phone
    }

    /// Connects; absent where the node refused or closed the connection.
    pub async fn try_connect(address: SocketAddr, profile: Profile) -> Option<Self> {
        let auth = json!({"token": profile.token, "userId": profile.user, "acks": profile.acks});
        let phone = Self::dial(address, &profile.user, auth, profile.acks).await?;
        let deadline = Instant::now() + PATIENCE;
        let ear = Arc::clone(&phone.ear);
        loop {
            let news = ear.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if phone.take("session:ready").is_some() {
                return Some(phone);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if phone.fate().is_some() || tokio::time::timeout(left, news).await.is_err() {
                return None;
            }
        }
    }

    /// Connects without waiting for an answer.
    pub async fn open(address: SocketAddr, profile: Profile) -> Self {
        let mut auth = json!({"token": profile.token, "userId": profile.user, "acks": profile.acks});
        if let Some(device) = &profile.device {
            auth["deviceId"] = device.as_str().into();
        }
        Self::open_with(address, &profile.user, auth, profile.acks).await
    }

    pub async fn open_with(address: SocketAddr, user: &str, auth: Value, acks: bool) -> Self {
        Self::dial(address, user, auth, acks).await.expect("a websocket")
    }

    async fn dial(address: SocketAddr, user: &str, auth: Value, acks: bool) -> Option<Self> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let dialled = tokio::time::timeout(FOR_A_HANDSHAKE, tokio_tungstenite::connect_async(url)).await;
        let (stream, _) = dialled.expect("the node answers a handshake").ok()?;
        let (mut sink, mut source) = stream.split();
        let (outgoing, mut queue) = mpsc::unbounded_channel::<Message>();
        let ear = Arc::new(Ear::default());
        outgoing.send(Message::text(format!("40{auth}"))).expect("the queue is open");
        let (to_ear, replies) = (Arc::clone(&ear), outgoing.clone());
        let reader = tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = queue.recv() => match message {
                        Some(message) => if sink.send(message).await.is_err() { break },
                        None => break,
                    },
                    message = source.next() => match message {
                        Some(Ok(Message::Text(text))) => to_ear.take(&text, &replies, acks),
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => break,
                    },
                }
            }
            to_ear.fate.lock().get_or_insert_with(|| "closed".into());
            to_ear.news.notify_waiters();
        });
        Some(Self { user: user.into(), ear, outgoing, next_ack: AtomicU64::new(1), acks, reader })
    }

    pub fn emit(&self, event: &str, payload: Value) {
        self.send_raw(format!("42{}", json!([event, payload])));
    }

    pub fn send_raw(&self, text: String) {
        let _ = self.outgoing.send(Message::text(text));
    }

    /// Emits with an acknowledgement function and waits for its call.
    pub async fn ask(&self, event: &str, payload: Value) -> Value {
        self.ask_raw(&json!([event, payload]).to_string(), event).await
    }

    /// Sends the text of a packet's array with an acknowledgement id.
    pub async fn ask_raw(&self, array: &str, what: &str) -> Value {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.ear.acks.lock().insert(id, sender);
        self.send_raw(format!("42{id}{array}"));
        match tokio::time::timeout(PATIENCE, receiver).await {
            Ok(Ok(ack)) => ack,
            _ => panic!("{}: no ack of {what}; heard {:?}, {:?}", self.user, self.heard(), self.fate()),
        }
    }

    /// Waits for an event, in any place, and takes it out.
    pub async fn expect(&self, event: &str) -> Value {
        self.expect_within(event, PATIENCE).await
    }

    pub async fn expect_within(&self, event: &str, patience: Duration) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let news = self.ear.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(payload) = self.take(event) {
                return payload;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.fate().is_some() || tokio::time::timeout(left, news).await.is_err() {
                if let Some(payload) = self.take(event) {
                    return payload;
                }
                panic!("{} waited for {event}; heard {:?}, {:?}", self.user, self.heard(), self.fate());
            }
        }
    }

    /// Waits until the connection ends, and how.
    pub async fn expect_fate(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let news = self.ear.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(fate) = self.fate() {
                return fate;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(tokio::time::timeout(left, news).await.is_ok(), "{} is still connected", self.user);
        }
    }

    pub fn fate(&self) -> Option<String> {
        self.ear.fate.lock().clone()
    }

    fn take(&self, event: &str) -> Option<Value> {
        let mut heard = self.ear.heard.lock();
        let place = heard.iter().position(|heard| heard.event == event)?;
        Some(heard.remove(place).payload)
    }

    /// Everything heard and not yet expected.
    pub fn heard(&self) -> Vec<Heard> {
        self.ear.heard.lock().clone()
    }

    /// An answered round trip proves that all that was queued before has arrived.
    pub async fn hears_all_said(&self) {
        self.ask("call:end", json!({"callId": "no-such-call"})).await;
    }

    /// Waits until it may speak, though its node may not have registered it yet.
    pub async fn is_let_in(&self) {
        until("the answer to CONNECT", PATIENCE, async || self.ear.is_let_in.load(Ordering::Relaxed)).await;
    }

    /// What is too large is refused where it arrives: what was said before has arrived then, and may wait there.
    pub async fn all_said_arrives(&self) {
        let refused = self.ask("call:message", json!({"data": "x".repeat(20_000)})).await;
        assert_eq!(refused["code"], "invalid_payload", "{refused}");
    }

    /// Nothing is left to hear.
    pub async fn assert_nothing_more(&self) {
        self.hears_all_said().await;
        assert!(self.heard().is_empty(), "{} heard more: {:?}", self.user, self.heard());
    }

    /// Rings another user; returns the ack.
    pub async fn call(&self, id: &str, callee: &str) -> Value {
        self.ask("call:initiate", initiate(id, callee)).await
    }

    /// Rings and asserts that it rings.
    pub async fn rings(&self, id: &str, callee: &Phone) -> Value {
        let ack = self.call(id, &callee.user).await;
        assert_eq!(ack["success"], true, "{ack}");
        let incoming = callee.expect("call:incoming").await;
        if callee.acks {
            self.expect("call:ringing").await;
        }
        incoming
    }

    /// Rings, is accepted and hangs up; both on any nodes. Returns the call's id.
    pub async fn completes_call(&self, callee: &Phone) -> String {
        let id = unique_call();
        self.rings(&id, callee).await;
        assert_eq!(callee.accept(&id).await["success"], true);
        self.expect("call:accepted").await;
        assert_eq!(self.end(&id).await["success"], true);
        callee.expect("call:ended").await;
        id
    }

    pub async fn accept(&self, id: &str) -> Value {
        self.ask("call:accept", json!({"callId": id})).await
    }

    pub async fn reject(&self, id: &str) -> Value {
        self.ask("call:reject", json!({"callId": id})).await
    }

    pub async fn cancel(&self, id: &str) -> Value {
        self.ask("call:cancel", json!({"callId": id})).await
    }

    pub async fn end(&self, id: &str) -> Value {
        self.ask("call:end", json!({"callId": id})).await
    }

    /// The connection breaks without a word.
    pub fn vanish(self) {
        self.reader.abort();
    }

    pub fn keep_connected(&self) -> bool {
        self.fate().is_none()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Ear {
    fn take(&self, text: &str, replies: &mpsc::UnboundedSender<Message>, acks: bool) {
        if text == "2" {
            let _ = replies.send(Message::text("3"));
        } else if let Some(rest) = text.strip_prefix("42") {
            let (id, array) = split_id(rest);
            let Ok(Value::Array(mut parts)) = serde_json::from_str::<Value>(array) else { return };
            let payload = if parts.len() > 1 { parts.remove(1) } else { Value::Null };
            let event = parts[0].as_str().unwrap_or_default().to_owned();
            self.heard.lock().push(Heard { event, payload });
            if let (Some(id), true) = (id, acks) {
                let _ = replies.send(Message::text(format!("43{id}[]")));
            }
        } else if let Some(rest) = text.strip_prefix("43") {
            let (id, array) = split_id(rest);
            let ack = serde_json::from_str::<Vec<Value>>(array).ok().and_then(|mut parts| parts.pop());
            if let Some(waiting) = id.and_then(|id| self.acks.lock().remove(&id)) {
                let _ = waiting.send(ack.unwrap_or_default());
            }
        } else if text.starts_with("40") {
            self.is_let_in.store(true, Ordering::Relaxed);
        } else if let Some(error) = text.strip_prefix("44") {
            let message = serde_json::from_str::<Value>(error).map(|error| error["message"].clone());
            let message = message.ok().and_then(|message| message.as_str().map(str::to_owned)).unwrap_or_default();
            *self.fate.lock() = Some(format!("connect_error: {message}"));
        } else if text.starts_with("41") {
            *self.fate.lock() = Some("disconnect".into());
        }
        self.news.notify_waiters();
    }
}

fn split_id(text: &str) -> (Option<u64>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (text[..digits].parse().ok(), &text[digits..])
}

pub fn initiate(id: &str, callee: &str) -> Value {
    json!({
        "receiverId": callee,
        "callId": id,
        "callType": "AUDIO",
        "channelName": format!("channel-{id}"),
        "agoraToken": "agora",
        "agoraAppId": "app",
        "balanceTime": "12:00",
        "absent": null,
    })
}

/// A user id that no other test has.
pub fn unique(name: &str) -> String {
    format!("USR_{name}_{:08x}", rand::random::<u32>())
}

/// A call id that no other test has.
pub fn unique_call() -> String {
    format!("CALL_{:012}", rand::random_range(0..1_000_000_000_000u64))
}
