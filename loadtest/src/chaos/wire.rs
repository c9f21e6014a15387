//! What carries a phone's packets: a websocket, or long polls by a phone that never gets to upgrade.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::SinkExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::dial::{self, Failure, Line, PATH, Socket, Transport};
use crate::http::Connection;
use crate::packet::{self, Packet, Who};
use crate::phone;

pub struct Wire {
    /// Came before anybody listened.
    ahead: VecDeque<String>,
    way: Way,
}

enum Way {
    Socket(Box<Socket>),
    Polls(Polls),
}

struct Polls {
    bodies: mpsc::Receiver<Result<String, String>>,
    to_say: mpsc::UnboundedSender<String>,
    _tasks: JoinSet<()>,
}

/// Connects a phone until it is told `session:ready`, and returns what that said.
pub async fn dial(node: SocketAddr, transport: Transport, stays: bool, who: &Who) -> Result<(Wire, Value), Failure> {
    if stays {
        return by_polls(node, who).await;
    }
    let Line { socket, ready, ahead } = dial::dial(node, None, transport, who).await?;
    Ok((Wire { ahead, way: Way::Socket(Box::new(socket)) }, ready))
}

impl Wire {
    pub async fn send(&mut self, text: String) -> Result<(), String> {
        match &mut self.way {
            Way::Socket(socket) => socket.send(Message::text(text)).await.map_err(|error| error.to_string()),
            Way::Polls(polls) => polls.to_say.send(text).map_err(|_| "polling: a request failed".to_owned()),
        }
    }

    /// The next packet, or why there is none any more. Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Result<String, String> {
        loop {
            let polls = match &mut self.way {
                Way::Socket(socket) => match phone::next(&mut self.ahead, socket).await {
                    Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                    Some(Ok(Message::Close(_))) | None => return Err(CLOSED.into()),
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(error.to_string()),
                },
                Way::Polls(polls) => polls,
            };
            if let Some(text) = self.ahead.pop_front() {
                return Ok(text);
            }
            let body = polls.bodies.recv().await.unwrap_or_else(|| Err(CLOSED.into()))?;
            self.ahead.extend(body.split(packet::SEPARATOR).map(str::to_owned));
        }
    }
}

/// Why a session ended that the phone had not given up.
pub const CLOSED: &str = "closed by the server";

async fn by_polls(node: SocketAddr, who: &Who) -> Result<(Wire, Value), Failure> {
    let connection = async || -> Result<Connection, Failure> {
        let stream = TcpStream::connect(node).await.map_err(anyhow::Error::from)?;
        Ok(Connection::new(stream, node.to_string()))
    };
    let (mut polls, mut posts) = (connection().await?, connection().await?);
    let opened = polls.ask(&format!("{PATH}polling"), None).await?;
    let (200, Packet::Open { sid }) = (opened.status, Packet::parse(&opened.body)) else {
        return Err(Failure(format!("polling: HTTP {} to the handshake", opened.status)));
    };
    let path = format!("{PATH}polling&sid={sid}");
    post(&mut posts, &path, &packet::connect(who)).await.map_err(Failure)?;
    let mut heard: VecDeque<String> = VecDeque::new();
    let ready = loop {
        let Some(text) = heard.pop_front() else {
            let body = poll(&mut polls, &path).await.map_err(Failure)?;
            heard.extend(body.split(packet::SEPARATOR).map(str::to_owned));
            continue;
        };
        match Packet::parse(&text) {
            Packet::Event { name, payload, .. } if name == "session:ready" => break payload,
            Packet::Ping => post(&mut posts, &path, packet::PONG).await.map_err(Failure)?,
            Packet::Refused(text) => return Err(Failure(format!("CONNECT_ERROR: {text}"))),
            Packet::Close | Packet::Disconnected => return Err(Failure(CLOSED.into())),
            _ => {}
        }
    };
    let (sender, bodies) = mpsc::channel(1);
    let (to_say, mut saying) = mpsc::unbounded_channel::<String>();
    let mut tasks = JoinSet::new();
    let polled = path.clone();
    tasks.spawn(async move {
        // Who does not read does not poll: one answer lies there, no more are asked for.
        while let Ok(place) = sender.reserve().await {
            let body = poll(&mut polls, &polled).await;
            let is_over = body.is_err();
            place.send(body);
            if is_over {
                return;
            }
        }
    });
    tasks.spawn(async move {
        while let Some(text) = saying.recv().await {
            if post(&mut posts, &path, &text).await.is_err() {
                return;
            }
        }
    });
    Ok((Wire { ahead: heard, way: Way::Polls(Polls { bodies, to_say, _tasks: tasks }) }, ready))
}

async fn poll(polls: &mut Connection, path: &str) -> Result<String, String> {
    let answer = polls.ask(path, None).await.map_err(|error| format!("polling: {error}"))?;
    if answer.status == 200 { Ok(answer.body) } else { Err(CLOSED.into()) }
}

async fn post(posts: &mut Connection, path: &str, text: &str) -> Result<(), String> {
    let answer = posts.ask(path, Some(text)).await.map_err(|error| format!("polling: {error}"))?;
    if answer.status == 200 { Ok(()) } else { Err(CLOSED.into()) }
}
