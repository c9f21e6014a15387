//! A phone's way in: by websocket at once, or as the Android app does it, by polling with an upgrade.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::http::Connection;
use crate::packet::{self, Packet, Who};

/// A phone that is not connected by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the engine, up to the name of a transport.
pub const PATH: &str = "/socket.io/?EIO=4&transport=";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    Websocket,
    /// Opens by polling, then upgrades, as the Android app does.
    Polling,
}

impl Transport {
    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Websocket => "websocket",
            Transport::Polling => "polling",
        }
    }

    /// TCP connections of one connect; two of a polling phone's end with its upgrade.
    pub fn connections(self) -> usize {
        match self {
            Transport::Websocket => 1,
            Transport::Polling => 3,
        }
    }
}

pub type Socket = WebSocketStream<TcpStream>;

/// An open websocket of an authenticated phone.
pub struct Line {
    pub socket: Socket,
    /// What `session:ready` said.
    pub ready: Value,
    /// Packets that came by polling after `session:ready`.
    pub ahead: VecDeque<String>,
}

/// Why a connect failed, in words that can be counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<tungstenite::Error> for Failure {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(answer) => {
                Failure(format!("websocket refused: HTTP {}", answer.status().as_u16()))
            }
            tungstenite::Error::Io(error) => Failure(format!("connection broke: {}", error.kind())),
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Failure("connection broke: closed without a word".into())
            }
            error => Failure(format!("websocket: {error}")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure(format!("polling: {error}"))
    }
}

/// Connects a phone and waits until the server says `session:ready`.
pub async fn dial(
    node: SocketAddr,
    source: Option<Ipv4Addr>,
    transport: Transport,
    who: &Who,
) -> Result<Line, Failure> {
    let dialed = async {
        match transport {
            Transport::Websocket => by_websocket(node, source, who).await,
            Transport::Polling => by_polling(node, source, who).await,
        }
    };
    let late = || Failure(format!("not connected within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, dialed).await.map_err(|_| late())?
}

/// Phones of a run with consecutive indices that share 200 addresses: as many as one process has at most.
pub const BLOCK: usize = 20_000;

/// The address from which the `index`th phone of a run comes to a node on loopback: one of many, since a node holds each
/// address to what phones behind one may need, and an address has some 28,000 ports.
pub fn source(node: SocketAddr, index: usize) -> Option<Ipv4Addr> {
    const ADDRESSES: usize = 200;
    let host = u8::try_from(index % ADDRESSES + 1).ok().filter(|_| node.is_ipv4() && node.ip().is_loopback())?;
    Some(match u8::try_from(index / BLOCK % 256).unwrap_or_default() {
        0 => Ipv4Addr::new(127, 0, 1, host),
        block => Ipv4Addr::new(127, 1, block, host),
    })
}

async fn by_websocket(node: SocketAddr, source: Option<Ipv4Addr>, who: &Who) -> Result<Line, Failure> {
    let mut socket = upgrade(node, source, "websocket").await?;
    match Packet::parse(&text(&mut socket).await?) {
        Packet::Open { .. } => {}
        other => return Err(unexpected(&other)),
    }
    socket.send(Message::text(packet::connect(who))).await?;
    until_ready(socket, VecDeque::new()).await
}

async fn by_polling(node: SocketAddr, source: Option<Ipv4Addr>, who: &Who) -> Result<Line, Failure> {
    let mut polls = Connection::new(tcp(node, source).await?, node.to_string());
    let opened = polls.ask(&format!("{PATH}polling"), None).await?;
    let sid = match (opened.status, Packet::parse(&opened.body)) {
        (200, Packet::Open { sid }) => sid,
        (200, other) => return Err(unexpected(&other)),
        (status, _) => return Err(Failure(format!("polling: HTTP {status} to the handshake"))),
    };
    let path = format!("{PATH}polling&sid={sid}");
    let probed = AtomicBool::new(false);
    let poll = async {
        let mut heard = VecDeque::new();
        // As engine.io-client: polls go on until the probe is answered, and the last one is waited for.
        while !probed.load(Ordering::Relaxed) {
            let answer = polls.ask(&path, None).await?;
            if answer.status != 200 {
                return Err(Failure(format!("polling: HTTP {} to a poll", answer.status)));
            }
            heard.extend(answer.body.split(packet::SEPARATOR).map(str::to_owned));
        }
        Ok(heard)
    };
    let connect = async {
        let mut posts = Connection::new(tcp(node, source).await?, node.to_string());
        match posts.ask(&path, Some(&packet::connect(who))).await?.status {
            200 => Ok(()),
            status => Err(Failure(format!("polling: HTTP {status} to CONNECT"))),
        }
    };
    let probe = async {
        let mut socket = upgrade(node, source, &format!("websocket&sid={sid}")).await?;
        socket.send(Message::text(packet::PROBE)).await?;
        let answer = text(&mut socket).await?;
        probed.store(true, Ordering::Relaxed);
        if answer == packet::PROBED { Ok(socket) } else { Err(unexpected(&Packet::parse(&answer))) }
    };
    let (heard, (), mut socket) = tokio::try_join!(poll, connect, probe)?;
    socket.send(Message::text(packet::UPGRADE)).await?;
    until_ready(socket, heard).await
}

/// Reads what came by polling, then the socket, until CONNECT was answered and the session is ready.
async fn until_ready(mut socket: Socket, mut heard: VecDeque<String>) -> Result<Line, Failure> {
    loop {
        let next = match heard.pop_front() {
            Some(next) => next,
            None => text(&mut socket).await?,
        };
        match Packet::parse(&next) {
            Packet::Event { name, payload, .. } if name == "session:ready" => {
                return Ok(Line { socket, ready: payload, ahead: heard });
            }
            Packet::Ping => socket.send(Message::text(packet::PONG)).await?,
            Packet::Connected | Packet::Noop | Packet::Event { .. } => {}
            Packet::Refused(text) => return Err(Failure(format!("CONNECT_ERROR: {text}"))),
            Packet::Close | Packet::Disconnected => return Err(Failure("closed by the server".into())),
            other => return Err(unexpected(&other)),
        }
    }
}

/// A websocket of the engine, nothing said yet.
pub async fn upgrade(node: SocketAddr, source: Option<Ipv4Addr>, query: &str) -> Result<Socket, Failure> {
    // Small buffers: there are thousands of phones in this process.
    let buffers = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let url = format!("ws://{node}{PATH}{query}");
    let stream = tcp(node, source).await?;
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(buffers)).await?;
    Ok(socket)
}

pub async fn tcp(node: SocketAddr, source: Option<Ipv4Addr>) -> Result<TcpStream, Failure> {
    let connected = async {
        let socket = if node.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(true)?;
        if let (Some(source), IpAddr::V4(Ipv4Addr::LOCALHOST)) = (source, node.ip()) {
            socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        }
        socket.connect(node).await
    };
    connected.await.map_err(|error: std::io::Error| Failure(format!("tcp connect: {}", error.kind())))
}

/// The next message of a socket.
pub async fn text(socket: &mut Socket) -> Result<String, Failure> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(_))) | None => return Err(Failure("closed by the server".into())),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

fn unexpected(packet: &Packet) -> Failure {
    Failure(format!("unexpected packet: {packet:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_go_round() {
        let from = |index| source("127.0.0.1:1".parse().unwrap(), index);
        assert_eq!(from(0), Some(Ipv4Addr::new(127, 0, 1, 1)));
        assert_eq!(from(199), Some(Ipv4Addr::new(127, 0, 1, 200)));
        assert_eq!(from(200), from(0));
        assert_eq!(from(BLOCK - 1), from(199));
        assert_eq!(from(BLOCK), Some(Ipv4Addr::new(127, 1, 1, 1)), "another process, other addresses");
        assert_eq!(source("192.0.2.1:1".parse().unwrap(), 0), None, "another machine is reached from this one's own");
    }
}
