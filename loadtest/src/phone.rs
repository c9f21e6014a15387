//! A connected phone: answers pings, acknowledges what it is asked to, passes on all it hears.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::dial::{Failure, Line, Socket};
use crate::packet::{self, Packet};

/// A phone has one call at a time: more packets never wait.
const OUTGOING: usize = 32;

/// Whoever listens to all phones of a run.
pub trait Listener: Send + Sync + 'static {
    /// A phone is ready.
    fn connected(&self, _phone: usize) {}

    /// A phone did not get in.
    fn refused(&self, _phone: usize, _why: &Failure) {}

    /// `at` is when the packet was read from the socket.
    fn hears(&self, phone: usize, packet: Packet, at: Instant);

    /// The connection ended, and how. Not told of phones that leave.
    fn disconnected(&self, phone: usize, why: &str);
}

/// The sending side of a phone; where it is dropped, the phone leaves without a word.
#[derive(Clone)]
pub struct Phone(mpsc::Sender<String>);

impl Phone {
    /// Lets a connected phone live in `tasks`; it ends when they are dropped.
    pub fn start(index: usize, line: Line, listener: Arc<dyn Listener>, tasks: &mut JoinSet<()>) -> Self {
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        tasks.spawn(async move {
            if let Some(why) = live(index, line, &*listener, outgoing).await {
                listener.disconnected(index, &why);
            }
        });
        Self(sender)
    }

    /// Queues a packet. One that finds no place is missed by the server, and by the figures as lost.
    pub fn send(&self, packet: String) {
        let _ = self.0.try_send(packet);
    }
}

/// Tells how the connection was lost; nothing if the phone left.
async fn live(
    index: usize,
    line: Line,
    listener: &dyn Listener,
    mut outgoing: mpsc::Receiver<String>,
) -> Option<String> {
    let Line { mut socket, mut ahead, .. } = line;
    loop {
        let (reply, heard) = tokio::select! {
            packet = outgoing.recv() => match packet {
                Some(packet) => (Some(packet), None),
                None => return None,
            },
            message = next(&mut ahead, &mut socket) => {
                let at = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => match Packet::parse(&text) {
                        Packet::Close => return Some("closed by the server: close packet".into()),
                        Packet::Disconnected => return Some("DISCONNECT packet".into()),
                        Packet::Ping => (Some(packet::PONG.to_owned()), Some((Packet::Ping, at))),
                        packet @ Packet::Event { ack: Some(id), .. } => {
                            (Some(packet::acknowledge(id)), Some((packet, at)))
                        }
                        packet => (None, Some((packet, at))),
                    },
                    Some(Ok(Message::Close(_))) => return Some("closed by the server: close frame".into()),
                    None => return Some("closed by the server: end of stream".into()),
                    Some(Ok(_)) => (None, None),
                    Some(Err(error)) => return Some(Failure::from(error).0),
                }
            }
        };
        if let Some(reply) = reply
            && let Err(error) = socket.send(Message::text(reply)).await
        {
            return Some(Failure::from(error).0);
        }
        if let Some((packet, at)) = heard {
            listener.hears(index, packet, at);
        }
    }
}

/// The next message: what came by polling first.
pub async fn next(ahead: &mut VecDeque<String>, socket: &mut Socket) -> Option<Result<Message, tungstenite::Error>> {
    match ahead.pop_front() {
        Some(text) => Some(Ok(Message::text(text))),
        None => socket.next().await,
    }
}
