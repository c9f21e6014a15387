//! Transports of Socket.IO: of strangers, and of users who do not use them as phones do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use super::{Attacker, PAUSE, source};
use crate::dial::{self, Socket};
use crate::packet::{self, Packet, Who};

/// Connects of one attacker a second, over all of its addresses.
const OPENING: Duration = Duration::from_millis(5);

pub fn knows(name: &str) -> bool {
    let all = [
        "refused-connect",
        "unknown-tokens",
        "waf",
        "silent-transports",
        "disconnected",
        "other-users",
        "many-devices",
    ];
    all.contains(&name)
}

pub async fn attack(name: &str, attacker: &Arc<Attacker>) {
    match name {
        "refused-connect" => drop(join_all((0..10).map(|number| attacker.refused(number, usize::MAX, 1))).await),
        "unknown-tokens" | "waf" => drop(join_all((0..40).map(|number| attacker.refused(number, 1, 10))).await),
        "silent-transports" => attacker.many(200, false).await,
        "disconnected" => attacker.many(200, true).await,
        "other-users" => drop(join_all((0..10).map(|number| attacker.changes_users(number))).await),
        "many-devices" => attacker.devices(800, 4).await,
        _ => {}
    }
}

impl Attacker {
    /// CONNECTs with made-up tokens, so many on each transport, from so many addresses.
    async fn refused(&self, number: usize, on_each: usize, addresses: usize) {
        while !self.is_over() {
            let Some(mut socket) = self.open(number % addresses).await else { continue };
            let opened = Instant::now();
            for _ in 0..on_each {
                let token = format!("{:032x}", rand::random::<u128>());
                let connect = format!("40{{\"token\":\"{token}\",\"userId\":\"USR_{token}\"}}");
                self.count("connects", 1.0);
                let answered = self.within(exchange(&mut socket, connect)).await;
                match answered {
                    Some(Some(Packet::Refused(_))) => self.count("refused_connects", 1.0),
                    Some(Some(_)) => {}
                    Some(None) => break,
                    None => return self.ended(opened, false),
                }
            }
            self.ended(opened, true);
        }
    }

    /// Opens transports and answers pings as long as the node lets it; on each a user may have come and gone.
    async fn many(&self, count: usize, come_and_go: bool) {
        let held = (0..count).map(|number| async move {
            sleep(OPENING * u32::try_from(number).unwrap_or_default()).await;
            let Some(mut socket) = self.open(number).await else { return };
            let opened = Instant::now();
            let held = async {
                if come_and_go {
                    let connect = packet::connect(&Who::phone_of(&format!("USR_left_{number}")));
                    if exchange(&mut socket, connect).await.is_none() {
                        return;
                    }
                    self.count("came", 1.0);
                    let _ = socket.send(Message::text("41")).await;
                }
                stays(socket, Vec::new()).await;
            };
            let is_cut = self.within(held).await.is_some();
            self.ended(opened, is_cut);
        });
        join_all(held).await;
    }

    /// CONNECTs as one user after another on the same transport.
    async fn changes_users(&self, number: usize) {
        while !self.is_over() {
            let Some(mut socket) = self.open(number).await else { continue };
            let opened = Instant::now();
            let mut here = 0.0;
            loop {
                let who = Who::phone_of(&format!("USR_one_{number}_{}", rand::random::<u32>()));
                let connect = packet::connect(&who);
                match self.within(exchange(&mut socket, connect)).await {
                    Some(Some(Packet::Connected)) => here += 1.0,
                    Some(Some(_)) => {}
                    Some(None) => break,
                    None => return self.ended(opened, false),
                }
                let most = self.done().counts.get("connects_per_socket").copied().unwrap_or_default();
                self.count("connects_per_socket", (here - most).max(0.0));
                if socket.send(Message::text("41")).await.is_err() {
                    break;
                }
            }
            self.ended(opened, true);
        }
    }

    /// One user's sockets, each another device; some of them come back whenever they are ended.
    async fn devices(&self, count: usize, restless: usize) {
        let user = format!("USR_many_{}", rand::random::<u32>());
        let held = (0..count).map(|number| {
            let connect =
                packet::connect(&Who { user: user.clone(), device: Some(format!("device-{number}")), acks: true });
            async move {
                sleep(OPENING * u32::try_from(number).unwrap_or_default()).await;
                loop {
                    let Some(socket) = self.open(number).await else { return };
                    let opened = Instant::now();
                    let stays = stays(socket, vec![connect.clone()]);
                    let is_restless = number < restless;
                    let left = async {
                        if !is_restless {
                            return stays.await;
                        }
                        let _ = tokio::time::timeout(Duration::from_millis(200), stays).await;
                    };
                    let is_cut = self.within(left).await.is_some();
                    self.ended(opened, is_cut);
                    if !is_restless || self.is_over() {
                        return;
                    }
                }
            }
        });
        join_all(held).await;
    }

    pub(super) async fn open(&self, number: usize) -> Option<Socket> {
        let opening = async {
            let mut socket = dial::upgrade(self.node(), source(number), "websocket").await.ok()?;
            dial::text(&mut socket).await.ok()?;
            Some(socket)
        };
        let socket = self.within(opening).await.flatten();
        match &socket {
            Some(_) => self.opened(),
            None => {
                self.count("refused", 1.0);
                sleep(PAUSE).await;
            }
        }
        socket
    }
}

/// Sends a packet and returns what is answered to it, past pings and events; none when the transport ends.
pub(super) async fn exchange(socket: &mut Socket, says: String) -> Option<Packet> {
    socket.send(Message::text(says)).await.ok()?;
    loop {
        match Packet::parse(&dial::text(socket).await.ok()?) {
            Packet::Ping => socket.send(Message::text(packet::PONG)).await.ok()?,
            Packet::Event { .. } | Packet::Noop => {}
            Packet::Close => return None,
            answer => return Some(answer),
        }
    }
}

/// Says something and answers pings and events until the transport ends.
async fn stays(mut socket: Socket, says: Vec<String>) {
    for packet in says {
        if socket.send(Message::text(packet)).await.is_err() {
            return;
        }
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let reply = match Packet::parse(&text) {
            Packet::Ping => packet::PONG.to_owned(),
            Packet::Event { ack: Some(id), .. } => packet::acknowledge(id),
            Packet::Close => return,
            _ => continue,
        };
        if socket.send(Message::text(reply)).await.is_err() {
            return;
        }
    }
}
