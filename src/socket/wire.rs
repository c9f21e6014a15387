//! Connections that can be ended from outside. Neither the engine nor the server under it can close one transport.

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A handle to an accepted connection.
#[derive(Clone, Debug)]
pub struct Wire(Arc<End>);

#[derive(Debug, Default)]
struct End {
    ended: AtomicBool,
    reader: AtomicWaker,
}

impl Wire {
    /// Whoever reads the connection finds its end.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.reader.wake();
    }
}

/// An accepted connection whose reading side ends when its wire does.
#[derive(Debug)]
pub struct WiredStream {
    stream: TcpStream,
    wire: Wire,
}

impl WiredStream {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, wire: Wire(Arc::default()) }
    }

    pub fn wire(&self) -> &Wire {
        &self.wire
    }
}

impl AsyncRead for WiredStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Registered before the look: an end in between wakes.
        this.wire.0.reader.register(context.waker());
        if this.wire.0.ended.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WiredStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Which connection carries which session of the engine, as far as that can be told from requests.
#[derive(Default)]
pub struct Wires {
    /// The websockets to which polling sessions were upgraded.
    upgraded: Mutex<HashMap<Box<str>, Weak<End>>>,
    /// Sessions whose transport was closed: no request of theirs is served any more.
    closed: Mutex<HashSet<Box<str>>>,
    closing: Notify,
}

impl Wires {
    /// The session of this engine id runs over that websocket from now on.
    pub fn upgrade(&self, id: &str, wire: &Wire) {
        self.upgraded.lock().insert(id.into(), Arc::downgrade(&wire.0));
    }

    /// Closes the transport of a session: its websocket ends, polls are answered that it is unknown.
    pub fn close(&self, id: &str, opened_with: Option<&Wire>) {
        self.closed.lock().insert(id.into());
        self.closing.notify_waiters();
        let upgraded = self.upgraded.lock().remove(id).and_then(|end| end.upgrade()).map(Wire);
        for wire in upgraded.iter().chain(opened_with) {
            wire.end();
        }
    }

    pub fn is_closed(&self, id: &str) -> bool {
        self.closed.lock().contains(id)
    }

    /// Resolves once the transport of the session was closed.
    pub async fn closed(&self, id: &str) {
        loop {
            let closing = self.closing.notified();
            tokio::pin!(closing);
            closing.as_mut().enable();
            if self.is_closed(id) {
                return;
            }
            closing.await;
        }
    }

    /// Forgets connections that have ended.
    pub fn clean(&self) {
        self.upgraded.lock().retain(|_, end| end.strong_count() > 0);
    }
}
