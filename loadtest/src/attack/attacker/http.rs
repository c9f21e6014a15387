//! Requests of strangers, and of users who poll, as fast as a few connections carry them.

use std::sync::Arc;

use futures_util::future::join_all;
use rand::Rng;
use rand::distr::Alphanumeric;
use tokio::time::{Instant, sleep};

use super::{Attacker, PAUSE, source};
use crate::dial::{self, PATH};
use crate::http::Connection;
use crate::packet::{self, Packet, Who};

/// Events in a body, of which the node takes 256.
const EVENTS: usize = 250;

pub fn knows(name: &str) -> bool {
    ["long-ids", "made-up-ids", "api-flood", "handshakes", "events-polling"].contains(&name)
}

pub async fn attack(name: &str, attacker: &Arc<Attacker>) {
    match name {
        "long-ids" => attacker.ask_for_sessions(20_000, 1_500, 1).await,
        "made-up-ids" => drop(join_all((0..4).map(|_| attacker.ask_for_sessions(16, 10_000, 4))).await),
        "api-flood" => drop(join_all((0..10).map(|number| attacker.ask_the_api(number))).await),
        "events-polling" => drop(join_all((0..10).map(|number| attacker.post_events(number))).await),
        "handshakes" => drop(join_all((0..50).map(|number| attacker.shake_hands(number))).await),
        _ => {}
    }
}

impl Attacker {
    /// Asks for sessions of ids that nobody was given, with the mark of a real one.
    async fn ask_for_sessions(&self, length: usize, count: usize, share: usize) {
        let mark = self.mark().await;
        let mut connection = None;
        for number in 0..count {
            if self.is_over() {
                return;
            }
            let id: String = rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect();
            // A websocket that is announced in the address only.
            let transport = if number.is_multiple_of(3) { "polling" } else { "websocket" };
            let path = format!("{PATH}{transport}&sid={id}{mark}");
            self.count("requests", 1.0);
            self.count("sent_bytes", path.len() as f64);
            self.ask(&mut connection, number % share, &path).await;
        }
    }

    /// What a node puts after the ids of its sessions.
    async fn mark(&self) -> String {
        let Ok(stream) = dial::tcp(self.node(), source(0)).await else { return String::new() };
        let opened = Connection::new(stream, "x".into()).ask(&format!("{PATH}polling"), None).await;
        match opened.map(|answer| Packet::parse(&answer.body)) {
            Ok(Packet::Open { sid }) => sid.find('.').map_or_else(String::new, |at| sid[at..].to_owned()),
            _ => String::new(),
        }
    }

    async fn ask_the_api(&self, number: usize) {
        let paths = ["/health", "/api/connected-users", "/api/users/USR_1/online", "/socket-health", "/nothing"];
        let mut connection = None;
        while !self.is_over() {
            for path in paths {
                self.count("asked", 1.0);
                self.ask(&mut connection, number, path).await;
            }
        }
    }

    /// Opens transports that nobody uses, over connections that stay open.
    async fn shake_hands(&self, number: usize) {
        let mut connection = None;
        while !self.is_over() {
            self.count("handshakes", 1.0);
            if self.ask(&mut connection, number, &format!("{PATH}polling")).await == Some(200) {
                self.count("handshakes_let_in", 1.0);
            }
        }
    }

    /// Posts bodies full of events that mean nothing over four connections, as long as his session lives, and comes back.
    async fn post_events(&self, number: usize) {
        let body = vec![r#"42["x",{}]"#; EVENTS].join(&packet::SEPARATOR.to_string());
        while !self.is_over() {
            let Some(path) = self.within(self.polls(number)).await.flatten() else {
                sleep(PAUSE).await;
                continue;
            };
            join_all((0..4).map(|_| self.post_until_refused(number, &path, &body))).await;
        }
    }

    async fn post_until_refused(&self, number: usize, path: &str, body: &str) {
        let Some(Ok(stream)) = self.within(dial::tcp(self.node(), source(number))).await else {
            return sleep(PAUSE).await;
        };
        self.opened();
        let opened = Instant::now();
        let mut connection = Connection::new(stream, "x".into());
        while let Some(Ok(answer)) = self.within(connection.ask(path, Some(body))).await {
            if answer.status != 200 {
                break;
            }
            self.count("events_per_second", EVENTS as f64 / self.seconds);
        }
        self.ended(opened, !self.is_over());
    }

    /// A user who came by polling: the path of his session.
    async fn polls(&self, number: usize) -> Option<String> {
        let stream = dial::tcp(self.node(), source(number)).await.ok()?;
        let mut polls = Connection::new(stream, "x".into());
        let opened = polls.ask(&format!("{PATH}polling"), None).await.ok()?;
        let Packet::Open { sid } = Packet::parse(&opened.body) else { return None };
        let path = format!("{PATH}polling&sid={sid}");
        let connect = packet::connect(&Who::phone_of(&format!("USR_polls_{number}")));
        polls.ask(&path, Some(&connect)).await.ok()?;
        loop {
            let heard = polls.ask(&path, None).await.ok().filter(|answer| answer.status == 200)?;
            if heard.body.split(packet::SEPARATOR).any(|packet| Packet::parse(packet) == Packet::Connected) {
                return Some(path);
            }
        }
    }

    /// Asks over the connection, or another if there is none.
    async fn ask(&self, connection: &mut Option<Connection>, number: usize, path: &str) -> Option<u16> {
        if connection.is_none() {
            match self.within(dial::tcp(self.node(), source(number))).await {
                Some(Ok(stream)) => {
                    self.opened();
                    *connection = Some(Connection::new(stream, "x".into()));
                }
                _ => sleep(PAUSE).await,
            }
        }
        let open = connection.as_mut()?;
        match self.within(open.ask(path, None)).await {
            Some(Ok(answer)) => Some(answer.status),
            _ => {
                *connection = None;
                self.ended(Instant::now(), true);
                sleep(PAUSE).await;
                None
            }
        }
    }
}
