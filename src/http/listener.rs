use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use crate::socket::{Wire, WiredStream};

/// Accepts connections that can be ended one by one.
pub struct PhoneListener {
    listener: TcpListener,
    stuck_after: Duration,
}

impl PhoneListener {
    /// `stuck_after`: a peer that stopped reading for so long is cut off.
    pub fn new(listener: TcpListener, stuck_after: Duration) -> Self {
        Self { listener, stuck_after }
    }
}

impl Listener for PhoneListener {
    type Io = WiredStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        tune(&stream, self.stuck_after);
        (WiredStream::new(stream), address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Who sent a request, and over which connection.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub wire: Wire,
}

impl Connected<IncomingStream<'_, PhoneListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PhoneListener>) -> Self {
        Self { address: *stream.remote_addr(), wire: stream.io().wire().clone() }
    }
}

fn tune(stream: &TcpStream, stuck_after: Duration) {
    let socket = SockRef::from(stream);
    // Best effort: without them a connection is slower or lives longer, no more.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(stuck_after));
}
