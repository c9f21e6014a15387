//! The transport towards phones: Socket.IO in, use cases called, wire events out.

mod auth;
mod emitter;
mod engine;
mod event_queue;
mod frames;
mod handlers;
mod limits;
mod messages;
mod news;
mod pace;
mod posts;
mod talk;
mod transports;
mod video;
mod wire;
mod wired;
mod wires;

use std::sync::Arc;
use std::time::Duration;

use socketioxide::handler::ConnectHandler;
use socketioxide::{ParserConfig, SocketIo, TransportType};
use tokio_util::task::TaskTracker;

pub use auth::{Authenticate, Authenticated, Caller, InitiateCheck};
pub use engine::Engine;
pub use limits::EventLimits;
pub use posts::Post;
pub use talk::Budget;
pub use transports::{EngineId, Naming, Transport, Transports};
pub use wire::Wire;
pub use wired::WiredStream;
pub use wires::{SEPARATOR, Wires};

use crate::signaling::Signaling;

/// A message of 1 MB is still read, to be answered with a clear error; the engine closes what is larger.
const MESSAGE_LIMIT: usize = 1_200_000;
/// What comes with a binary event, of which the contract has none: it is answered with a clear error. More closes the
/// transport, since half of one stays for as long as its session.
const ATTACHMENTS: usize = 8;
const ATTACHED_BYTES: usize = 64 * 1024;
/// Packets queued for one phone: what is about calls, and news ahead of its reading (twice [`news::AHEAD_AT_MOST`]).
const OUTGOING_LIMIT: usize = 256;
/// Each websocket has one for as long as it lives. Heartbeats and acknowledgements fit in; it grows with what does not.
const READ_BUFFER: usize = 256;
/// How long a phone has to acknowledge `call:incoming`.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// What the Socket.IO server is built from.
pub struct SocketServer {
    pub signaling: Arc<Signaling>,
    pub authenticate: Arc<dyn Authenticate>,
    pub initiate_check: InitiateCheck,
    pub limits: Arc<EventLimits>,
    /// Whether accepted calls may change their type.
    pub video_switch: bool,
    pub wires: Arc<Wires>,
    pub tasks: TaskTracker,
}

/// The engine's times.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// A transport without an authenticated session is closed after this.
    pub connect_timeout: Duration,
}

/// Builds the engine of `/socket.io/`.
pub fn engine(server: SocketServer, pace: Pace) -> (Engine, SocketIo) {
    let binary = ParserConfig::common().max_incoming_binaries(ATTACHMENTS).max_incoming_binary_buf_size(ATTACHED_BYTES);
    let (service, io) = SocketIo::builder()
        .ping_interval(pace.ping_interval)
        .ping_timeout(pace.ping_timeout)
        .connect_timeout(pace.connect_timeout)
        .ack_timeout(ACK_TIMEOUT)
        .with_parser(binary)
        .max_payload(MESSAGE_LIMIT as u64)
        .ws_max_message_size(MESSAGE_LIMIT)
        .ws_max_frame_size(MESSAGE_LIMIT)
        .ws_read_buffer_size(READ_BUFFER)
        .max_buffer_size(OUTGOING_LIMIT)
        .transports([TransportType::Polling, TransportType::Websocket])
        .build_svc();
    let server = Arc::new(server);
    let connected = Arc::clone(&server);
    let on_connect = async move |socket| handlers::connected(&connected, socket).await;
    let authenticate = async move |socket, auth| auth::admit(&server, socket, auth).await;
    io.ns("/", on_connect.with(authenticate));
    (Engine::new(service), io)
}
