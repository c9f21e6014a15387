//! Users against users: what somebody with a token does to others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, SinkExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::{Attacker, source};
use crate::dial::{self, Line, Socket, Transport};
use crate::packet::{self, Packet, Who};
use crate::phone;

/// From then on the budget of unanswered rings is used up: three rings of five seconds, and some time between them.
const LATE: Duration = Duration::from_secs(24);
const BETWEEN_FRIENDS: Duration = Duration::from_millis(700);

pub fn knows(name: &str) -> bool {
    ["subscriptions", "events", "ring-again", "dial-a-party"].contains(&name)
}

pub async fn attack(name: &str, attacker: &Arc<Attacker>) {
    match name {
        "subscriptions" => drop(join_all((0..4).map(|number| attacker.subscribe(number))).await),
        "events" => drop(join_all((0..10).map(|number| attacker.shout(number))).await),
        "ring-again" => attacker.ring_again().await,
        "dial-a-party" => attacker.dial_a_party().await,
        _ => {}
    }
}

/// A phone that is asked one thing after another.
struct Device {
    socket: Socket,
    ahead: VecDeque<String>,
    asked: u64,
    /// Names of events heard and not looked for yet.
    heard: VecDeque<(String, Value)>,
}

impl Device {
    /// Sends an event and waits for its acknowledgement; none when the transport ends.
    async fn ask(&mut self, name: &str, payload: &Value) -> Option<Value> {
        self.asked += 1;
        self.socket.send(Message::text(packet::event(self.asked, name, payload))).await.ok()?;
        loop {
            if let Packet::Ack { id, payload } = self.next().await?
                && id == self.asked
            {
                return Some(payload);
            }
        }
    }

    /// The next packet; pings and acknowledgements are answered.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            let Message::Text(text) = phone::next(&mut self.ahead, &mut self.socket).await?.ok()? else { continue };
            let packet = Packet::parse(&text);
            let reply = match &packet {
                Packet::Ping => packet::PONG.to_owned(),
                Packet::Event { ack: Some(id), .. } => packet::acknowledge(*id),
                Packet::Close | Packet::Disconnected => return None,
                _ => String::new(),
            };
            if !reply.is_empty() {
                self.socket.send(Message::text(reply)).await.ok()?;
            }
            if let Packet::Event { name, payload, .. } = &packet {
                self.heard.push_back((name.clone(), payload.clone()));
                self.heard.truncate(1000);
            }
            return Some(packet);
        }
    }

    /// Listens until something of this name was heard, or the time is over.
    async fn hears(&mut self, name: &str, until: Instant) -> bool {
        loop {
            while let Some((heard, _)) = self.heard.pop_front() {
                if heard == name {
                    return true;
                }
            }
            tokio::select! {
                packet = self.next() => if packet.is_none() { return false },
                () = sleep_until(until) => return false,
            }
        }
    }
}

fn call(id: &str, to: &str) -> Value {
    json!({"callId": id, "receiverId": to, "callType": "AUDIO", "channelName": "channel", "agoraToken": "007"})
}

impl Attacker {
    async fn device(&self, user: &str, acks: bool, number: usize) -> Option<Device> {
        let who = Who { user: user.to_owned(), device: None, acks };
        let dialed = dial::dial(self.node(), source(number), Transport::Websocket, &who).await;
        if dialed.is_ok() {
            self.opened();
        }
        let Line { socket, ahead, .. } = dialed.ok()?;
        Some(Device { socket, ahead, asked: 0, heard: VecDeque::new() })
    }

    /// Watches 500 users and no longer, again and again, on two devices of one user or two.
    async fn subscribe(&self, number: usize) {
        let run = rand::random::<u32>();
        let ids: Vec<String> = (0..500).map(|id| format!("USR_seen_{run}_{id}")).collect();
        let payload = json!({"userIds": ids});
        let Some(mut device) = self.device("USR_curious", true, number).await else { return };
        while !self.is_over() {
            let both = async {
                let taken = device.ask("presence:subscribe", &payload).await?;
                self.count("asked", 1.0);
                if taken["success"] == true {
                    self.count("ids_per_minute", 500.0 * 60.0 / self.seconds);
                }
                device.ask("presence:unsubscribe", &payload).await
            };
            if self.within(both).await.flatten().is_none() {
                return;
            }
        }
    }

    /// Sends events that mean nothing without waiting for answers.
    async fn shout(&self, number: usize) {
        let user = format!("USR_loud_{number}");
        let Some(mut device) = self.device(&user, true, number).await else { return };
        let payloads = [
            ("call:initiate", json!({"callId": "x"})),
            ("call:end", json!({"callId": "CALL_nobodys"})),
            ("call:message", json!({"callId": "CALL_nobodys", "text": "a".repeat(2000)})),
            ("nothing:known", json!([[[1]], "a".repeat(8000)])),
        ];
        while !self.is_over() {
            for (name, payload) in &payloads {
                device.asked += 1;
                let sent = device.socket.send(Message::text(packet::event(device.asked, name, payload)));
                if !matches!(self.within(sent).await, Some(Ok(()))) {
                    return self.ended(Instant::now(), !self.is_over());
                }
                self.count("events", 1.0);
            }
            // What is answered meanwhile is read, else the node would rightly stop reading.
            while let Some(Some(_)) = device.next().now_or_never() {}
        }
        self.ended(Instant::now(), false);
    }

    /// Rings a victim who lets it ring; friends try to reach the victim meanwhile, each once.
    async fn ring_again(&self) {
        let run = rand::random::<u32>();
        let victim = format!("USR_victim_{run}");
        let start = Instant::now();
        let rung = async {
            let mut device = self.device(&victim, true, 1).await?;
            while device.next().await.is_some() {}
            Some(())
        };
        let rings = async {
            sleep(Duration::from_millis(300)).await;
            let mut device = self.device(&format!("USR_tormentor_{run}"), true, 2).await?;
            for number in 0.. {
                let answer = device.ask("call:initiate", &call(&format!("CALL_again_{run}_{number}"), &victim)).await?;
                match answer["success"] == true {
                    true => {
                        self.count("rings", 1.0);
                        device.hears("call:timeout", Instant::now() + Duration::from_secs(10)).await;
                    }
                    false => {
                        self.count("rings_refused", 1.0);
                        sleep(Duration::from_millis(200)).await;
                    }
                }
            }
            Some(())
        };
        let friends = async {
            sleep(Duration::from_millis(800)).await;
            for number in 0.. {
                sleep(BETWEEN_FRIENDS).await;
                let is_late = start.elapsed() > LATE;
                let refused = self.befriend(&victim, run, number).await;
                let [all, no] = match is_late {
                    true => ["friends_late", "friends_late_refused"],
                    false => ["friends_early", "friends_early_refused"],
                };
                self.count(all, 1.0);
                self.count(no, f64::from(u8::from(refused)));
            }
        };
        let _ = self.within(async { tokio::join!(rung, rings, friends) }).await;
        let counts = |name| self.done().counts.get(name).copied().unwrap_or_default();
        let percent = 100.0 * counts("friends_late_refused") / counts("friends_late").max(1.0);
        self.count("friends_refused_late_percent", percent);
    }

    /// A friend rings once and thinks better of it. Whether the victim could not be reached.
    async fn befriend(&self, victim: &str, run: u32, number: usize) -> bool {
        let Some(mut device) = self.device(&format!("USR_friend_{run}_{number}"), true, 3).await else { return true };
        let id = format!("CALL_friend_{run}_{number}");
        let answer = device.ask("call:initiate", &call(&id, victim)).await.unwrap_or_default();
        let rings = answer["success"] == true && answer["busy"] != true;
        if rings {
            device.ask("call:cancel", &json!({"callId": id})).await;
        }
        !rings
    }

    /// Two phones without `acks` talk, one goes away for longer than its grace, a stranger dials the other.
    async fn dial_a_party(&self) {
        let run = rand::random::<u32>();
        let [ana, bo] = ["ana", "bo"].map(|name| format!("USR_{name}_{run}"));
        let id = format!("CALL_paid_{run}");
        let attack = async {
            let mut caller = self.device(&ana, false, 1).await?;
            let mut callee = self.device(&bo, false, 2).await?;
            caller.ask("call:initiate", &call(&id, &bo)).await?;
            callee.hears("call:incoming", Instant::now() + Duration::from_secs(5)).await;
            let accepted = callee.ask("call:accept", &json!({"callId": id})).await?;
            self.count("accepted", f64::from(u8::from(accepted["success"] == true)));
            drop(callee);
            // Beyond the grace of a call, which is set to two seconds.
            caller.hears("call:ended", Instant::now() + Duration::from_secs(8)).await.then(|| {
                self.count("ended_by_its_grace", 1.0);
            });
            let mut stranger = self.device(&format!("USR_stranger_{run}"), false, 3).await?;
            for number in 0..3 {
                let dial = call(&format!("CALL_strange_{run}_{number}"), &ana);
                let answer = stranger.ask("call:initiate", &dial).await?;
                self.count("stranger_rings", f64::from(u8::from(answer["success"] == true)));
                self.count("stranger_dials", 1.0);
                if caller.hears("call:ended", Instant::now() + Duration::from_millis(700)).await {
                    self.count("ended_by_a_stranger", 1.0);
                }
            }
            Some(())
        };
        self.count("ended_by_a_stranger", 0.0);
        let _ = self.within(attack).await;
    }
}
