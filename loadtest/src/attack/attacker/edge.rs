//! Connections of strangers that do not end what they begin.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep_until};

use super::{Attacker, source};
use crate::cluster::SECRET;
use crate::dial::{self, PATH};
use crate::http::Connection;
use crate::packet::Packet;

const DRIP: Duration = Duration::from_secs(1);

/// How a connection is held.
#[derive(Clone, Default)]
struct Hold {
    count: usize,
    /// Addresses that connections come from.
    addresses: usize,
    says: String,
    /// Said again and again.
    drip: Option<&'static str>,
    /// A transport is opened first, and its id is put for SID.
    opens_transport: bool,
    closes_half: bool,
    never_reads: bool,
}

pub fn knows(name: &str) -> bool {
    hold(name).is_some()
}

fn hold(name: &str) -> Option<Hold> {
    let one = |count, says: &str| Hold { count, addresses: 1, says: says.to_owned(), ..Hold::default() };
    let post = |path: &str, length: usize, sent: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nX-Internal-Secret: {SECRET}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{}",
            "[".repeat(sent)
        )
    };
    let health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let poll = format!("{PATH}polling&sid=SID");
    Some(match name {
        "silent" => one(100, ""),
        "descriptors" => Hold { addresses: 10, ..one(1000, "") },
        "half-head" => one(100, "GET /health HTTP/1.1\r\nHost: x\r\nX-A: b"),
        "drip-head" => Hold { drip: Some("a:b\r\n"), ..one(100, "GET /health HTTP/1.1\r\nHost: x\r\n") },
        "large-head" => one(
            50,
            &format!("GET /health HTTP/1.1\r\nHost: x\r\n{}", format!("X-A: {}\r\n", "b".repeat(3_900)).repeat(100)),
        ),
        "idle" => one(100, health),
        "half-closed" => Hold { closes_half: true, ..one(100, "GET /health HTTP/1.1\r\nHost: x\r\nX-A: b") },
        "half-poll" => Hold { opens_transport: true, ..one(40, &post(&poll, 1_000_000, 900_000)) },
        "drip-poll" => Hold { opens_transport: true, drip: Some("["), ..one(40, &post(&poll, 1_000_000, 1)) },
        "half-api" => one(100, &post("/api/emit/call-ended", 200_000, 100_000)),
        "unread" => Hold { never_reads: true, ..one(20, &health.repeat(20_000)) },
        _ => return None,
    })
}

pub async fn attack(name: &str, attacker: &Arc<Attacker>) {
    let Some(hold) = hold(name) else { return };
    let held = (0..hold.count).map(|number| {
        let (attacker, hold) = (Arc::clone(attacker), hold.clone());
        tokio::spawn(async move { attacker.hold(number, &hold).await })
    });
    for held in held.collect::<Vec<_>>() {
        let _ = held.await;
    }
}

impl Attacker {
    async fn hold(&self, number: usize, hold: &Hold) {
        let from = source(number % hold.addresses);
        let sid = match hold.opens_transport {
            true => self.transport(number).await.unwrap_or_default(),
            false => String::new(),
        };
        let Ok(stream) = dial::tcp(self.node(), from).await else {
            return self.count("refused", 1.0);
        };
        self.opened();
        let opened = Instant::now();
        let is_cut = self.within(until_cut(stream, hold, &sid)).await.is_some();
        self.ended(opened, is_cut);
    }

    /// Opens a polling transport; nobody polls it.
    async fn transport(&self, number: usize) -> Option<String> {
        let stream = dial::tcp(self.node(), source(number)).await.ok()?;
        let opened = Connection::new(stream, "x".into()).ask(&format!("{PATH}polling"), None).await.ok()?;
        match Packet::parse(&opened.body) {
            Packet::Open { sid } => Some(sid),
            _ => None,
        }
    }
}

/// Says what it has to say, and returns when the node has ended the connection.
async fn until_cut(stream: TcpStream, hold: &Hold, sid: &str) {
    let (mut reader, mut writer) = stream.into_split();
    let says = hold.says.replace("SID", sid);
    let (drip, closes_half) = (hold.drip, hold.closes_half);
    let saying = async move {
        if writer.write_all(says.as_bytes()).await.is_err() {
            return;
        }
        if closes_half {
            let _ = writer.shutdown().await;
        }
        let mut pause = interval(DRIP);
        loop {
            pause.tick().await;
            match drip {
                Some(drip) if writer.write_all(drip.as_bytes()).await.is_err() => return,
                // Whoever says nothing learns of the end by reading, or, if it never reads, here.
                _ => {}
            }
            if writer.as_ref().peer_addr().is_err() {
                return;
            }
        }
    };
    let reading = async {
        if hold.never_reads {
            sleep_until(Instant::now() + Duration::from_secs(86_400)).await;
        }
        let mut buffer = [0; 4096];
        while let Ok(1..) = reader.read(&mut buffer).await {}
    };
    // Whoever says all that it has to has no end by that; a write that fails is one.
    tokio::select! {
        () = saying => {}
        () = reading => {}
    }
}
