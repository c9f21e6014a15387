//! A phone that comes back by itself, as the Android client does.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::fleet::Fleet;
use super::history::{History, What};
use super::wire::{self, CLOSED, Wire};
use super::world::World;
use crate::dial::Transport;
use crate::packet::{self, Packet, Who};

/// Tries of the app's client before it gives up, and their pauses: doubling, half of each random.
pub const TRIES: u32 = 5;
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The client's own limit is 20 s; a load balancer that checks its nodes cuts it short.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// When the user of a phone that gave up looks at it again.
const RESUMED_AFTER: Duration = Duration::from_secs(8);

/// What is done to a phone or its connection.
#[derive(Clone, Debug)]
pub enum Harm {
    /// It breaks.
    Cut,
    /// Nothing comes through for so long, then it breaks.
    Deaf(Duration),
    /// The phone stands still for so long, then reads on what came meanwhile.
    Stall(Duration),
    /// Its app watches these users come and go.
    Watch(Arc<Vec<String>>),
}

/// An event for the server.
#[derive(Clone, Debug)]
pub struct Saying {
    pub event: &'static str,
    pub call: String,
    pub payload: Value,
}

pub struct Handset {
    pub index: usize,
    pub who: Who,
    pub transport: Transport,
    /// It never upgrades.
    pub stays_polling: bool,
    /// Longest silence of a server that pings.
    pub silence: Duration,
    pub fleet: Arc<Fleet>,
    pub world: Arc<World>,
    pub history: Arc<History>,
    pub sayings: UnboundedReceiver<Saying>,
    pub harms: UnboundedReceiver<Harm>,
}

/// What a session leaves to the next: verdicts whose acknowledgement did not come.
type Owed = Vec<Saying>;

impl Handset {
    pub async fn live(mut self) {
        let mut owed = Owed::new();
        loop {
            let Some((wire, ready, node)) = self.come_back().await else {
                self.history.add(What::GaveUp { phone: self.name() });
                tokio::time::sleep(RESUMED_AFTER).await;
                continue;
            };
            let session = self.open(&ready, node);
            let (why, unacknowledged) = self.talk(wire, session, std::mem::take(&mut owed)).await;
            owed = unacknowledged;
            self.world.closed(self.index);
            if why == BURNT {
                self.history.add(What::Burnt { phone: self.name(), why: "DISCONNECT packet".into() });
            }
            self.history.add(What::Close { phone: self.name(), session, why });
        }
    }

    /// Tries as the client would; the first pause is that after a connection broke.
    async fn come_back(&self) -> Option<(Wire, Value, String)> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES {
            if self.world.has_been(self.index) {
                let share = rand::rng().random_range(0.5..1.5);
                tokio::time::sleep(pause.mul_f64(share)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            let Some((node, address)) = self.fleet.pick() else { continue };
            let dialed = wire::dial(address, self.transport, self.stays_polling, &self.who);
            match tokio::time::timeout(CONNECT_WITHIN, dialed).await {
                Ok(Ok((wire, ready))) => return Some((wire, ready, node)),
                Ok(Err(failure)) if failure.0.starts_with("CONNECT_ERROR") => {
                    self.history.add(What::Burnt { phone: self.name(), why: failure.0 });
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        None
    }

    fn open(&mut self, ready: &Value, node: String) -> u64 {
        // What was to happen to the last connection does not happen to this one.
        while self.harms.try_recv().is_ok() {}
        let session = self.history.new_session();
        let call = ready.get("call").cloned();
        let ended = ready["ended"].as_array().cloned().unwrap_or_default();
        self.history.add(What::Open {
            phone: self.name(),
            user: self.who.user.clone(),
            acks: self.who.acks,
            session,
            node: node.clone(),
            call: call.clone(),
            ended: ended.clone(),
        });
        self.world.opened(self.index, node, call.as_ref(), &ended);
        session
    }

    /// Lives a session to its end. Returns why it ended and what was not acknowledged.
    async fn talk(&mut self, mut wire: Wire, session: u64, owed: Owed) -> (String, Owed) {
        let mut queue: VecDeque<Saying> = owed.into();
        let mut waiting: HashMap<u64, Saying> = HashMap::new();
        let mut last_id = 0;
        let why = loop {
            if let Some(saying) = queue.pop_front() {
                if !self.world.is_wanted(self.index, &saying) {
                    continue;
                }
                last_id += 1;
                self.note_sent(session, &saying);
                let text = packet::event(last_id, saying.event, &saying.payload);
                waiting.insert(last_id, saying);
                if let Err(error) = wire.send(text).await {
                    break error;
                }
                continue;
            }
            tokio::select! {
                harm = self.harms.recv() => match harm {
                    Some(Harm::Cut) | None => break "cut".into(),
                    Some(Harm::Deaf(time)) => {
                        self.world.closed(self.index);
                        self.history.add(What::Close { phone: self.name(), session, why: "deaf".into() });
                        tokio::time::sleep(time).await;
                        break "deaf".into();
                    }
                    Some(Harm::Stall(time)) => {
                        self.history.add(What::Stopped { phone: self.name(), session });
                        tokio::time::sleep(time).await;
                        self.history.add(What::Reads { phone: self.name(), session });
                    }
                    Some(Harm::Watch(users)) => {
                        last_id += 1;
                        let text = packet::event(last_id, "presence:subscribe", &json!({"userIds": *users}));
                        if let Err(error) = wire.send(text).await {
                            break error;
                        }
                    }
                },
                Some(saying) = self.sayings.recv() => queue.push_back(saying),
                heard = tokio::time::timeout(self.silence, wire.next()) => {
                    let at = Instant::now();
                    let text = match heard {
                        Ok(Ok(text)) => text,
                        Ok(Err(why)) => break why,
                        Err(_) => break "ping timeout".into(),
                    };
                    let reply = match Packet::parse(&text) {
                        Packet::Close => break CLOSED.into(),
                        Packet::Disconnected => break BURNT.into(),
                        Packet::Ping => Some(packet::PONG.to_owned()),
                        Packet::Event { ack, name, payload } => {
                            self.hear(session, at, name, payload);
                            ack.map(packet::acknowledge)
                        }
                        Packet::Ack { id, payload } => {
                            if let Some(saying) = waiting.remove(&id) {
                                self.note_ack(session, at, &saying, payload);
                            }
                            None
                        }
                        _ => None,
                    };
                    if let Some(reply) = reply
                        && let Err(error) = wire.send(reply).await
                    {
                        break error;
                    }
                }
            }
        };
        // Nobody presses these buttons again for the same call: what became of it is told on connecting.
        let is_asked_once = |said: &Saying| matches!(said.event, "call:initiate" | "call:upgrade");
        let mut unacknowledged: Vec<_> = waiting.into_iter().filter(|(_, said)| !is_asked_once(said)).collect();
        unacknowledged.sort_by_key(|(id, _)| *id);
        let owed = unacknowledged.into_iter().map(|(_, saying)| saying).chain(queue).collect();
        (why, owed)
    }

    fn hear(&self, session: u64, at: Instant, event: String, payload: Value) {
        if event.starts_with("user:") {
            return;
        }
        let call = payload["callId"].as_str().unwrap_or_default().to_owned();
        self.world.heard(self.index, &event, &call, &payload);
        self.history.add_at(at, What::Heard { phone: self.name(), session, event, call, payload: brief(payload) });
    }

    fn note_sent(&self, session: u64, saying: &Saying) {
        let to = saying.payload["receiverId"].as_str().map(str::to_owned);
        let accepted = saying.payload["accepted"].as_bool();
        let (event, call) = (saying.event.to_owned(), saying.call.clone());
        self.history.add(What::Sent { phone: self.name(), session, event, call, to, accepted });
    }

    fn note_ack(&self, session: u64, at: Instant, saying: &Saying, answer: Value) {
        self.world.acked(self.index, saying, &answer);
        let (event, call) = (saying.event.to_owned(), saying.call.clone());
        self.history.add_at(at, What::Acked { phone: self.name(), session, event, call, answer });
    }

    fn name(&self) -> String {
        name_of(&self.who)
    }
}

const BURNT: &str = "DISCONNECT packet";

/// A phone's name in a history.
pub fn name_of(who: &Who) -> String {
    match &who.device {
        Some(device) => format!("{}/{device}", who.user),
        None => who.user.clone(),
    }
}

/// A payload without what a history has elsewhere.
fn brief(payload: Value) -> Value {
    let mut brief = json!({});
    for field in ["reason", "repeat", "endedBy", "expiresInMs", "accepted", "order"] {
        if let Some(value) = payload.get(field) {
            brief[field] = value.clone();
        }
    }
    brief
}
