//! Connections that can be ended from outside. Neither the engine nor the server under it can close one transport.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::frames::Frames;
use super::news::News;

/// How the engine's packet with a CONNECT_ERROR for the one namespace begins.
pub(super) const REFUSAL: &[u8] = b"44{";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A handle to an accepted connection.
#[derive(Clone, Debug)]
pub struct Wire(Arc<End>);

#[derive(Default)]
struct End {
    ended: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// The next answer on it is that to a websocket's handshake.
    websocket: AtomicBool,
    /// The next CONNECT_ERROR is the last that is said over it.
    ends_after_a_refusal: AtomicBool,
    /// It was written, and is still to be flushed.
    refused: AtomicBool,
    /// What waits for its phone to read.
    news: OnceLock<Weak<News>>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("ended", &self.ended).field("websocket", &self.websocket).finish_non_exhaustive()
    }
}

/// A [`Wire`] that keeps nothing alive.
#[derive(Clone, Debug)]
pub(super) struct WeakWire(Weak<End>);

impl WeakWire {
    pub fn upgrade(&self) -> Option<Wire> {
        self.0.upgrade().map(Wire)
    }
}

impl Wire {
    /// Whoever reads the connection finds its end; who waits for a peer that does not read, an error.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Ends when the next CONNECT_ERROR was written out.
    pub(super) fn end_after_a_refusal(&self) {
        self.0.ends_after_a_refusal.store(true, Ordering::Release);
    }

    /// From the answer that is about to be written on, a websocket runs over it.
    pub fn becomes_websocket(&self) {
        self.0.websocket.store(true, Ordering::Release);
    }

    /// `news` goes on whenever something was written out.
    pub(super) fn feed(&self, news: &Arc<News>) {
        // A connection carries one websocket in its life.
        let _ = self.0.news.set(Arc::downgrade(news));
    }

    pub(super) fn downgrade(&self) -> WeakWire {
        WeakWire(Arc::downgrade(&self.0))
    }

    fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }
}

/// An accepted connection whose reading side ends when its wire does. A websocket over it is never closed by this side
/// with a Close frame, as the engine does at each timeout: the deployed app (OkHttp) stops reading then, and hears
/// nothing until its ping timeout. It finds the end of the stream and comes back at once.
#[derive(Debug)]
pub struct WiredStream {
    stream: TcpStream,
    wire: Wire,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Http,
    /// The head of the answer to a websocket's handshake goes out; so much of its end was seen.
    Head(usize),
    Websocket(Box<Talk>),
    /// This side wanted to begin the closing handshake.
    Closing,
}

/// The frames of both sides.
#[derive(Debug, Default)]
struct Talk {
    phone: Frames,
    node: Frames,
    /// The phone said goodbye and gets its answer.
    phone_closes: bool,
}

impl WiredStream {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, wire: Wire(Arc::default()), phase: Phase::Http }
    }

    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// How many of these bytes may go out; absent where a Close frame begins that nobody asked for.
    fn allowed(&self, bytes: &[u8]) -> Option<usize> {
        match &self.phase {
            Phase::Http | Phase::Head(_) => Some(bytes.len()),
            Phase::Websocket(talk) if talk.phone_closes => Some(bytes.len()),
            Phase::Websocket(talk) => match talk.node.clone().close_in(bytes) {
                Some(0) => None,
                Some(place) => Some(place),
                None => Some(bytes.len()),
            },
            Phase::Closing => None,
        }
    }

    /// Notes what went out.
    fn wrote(&mut self, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Http | Phase::Closing => {}
            Phase::Head(seen) => {
                for (place, byte) in bytes.iter().enumerate() {
                    *seen = match *byte {
                        byte if byte == END_OF_HEAD[*seen] => *seen + 1,
                        b'\r' => 1,
                        _ => 0,
                    };
                    if *seen == END_OF_HEAD.len() {
                        self.phase = Phase::Websocket(Box::default());
                        return self.wrote(&bytes[place + 1..]);
                    }
                }
            }
            Phase::Websocket(talk) => {
                talk.node.close_in(bytes);
                if self.wire.0.ends_after_a_refusal.load(Ordering::Acquire)
                    && bytes.windows(REFUSAL.len()).any(|window| window == REFUSAL)
                {
                    self.wire.0.refused.store(true, Ordering::Release);
                }
            }
        }
    }
}

impl AsyncRead for WiredStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Registered before the look: an end in between wakes.
        this.wire.0.reader.register(context.waker());
        if this.wire.has_ended() {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if let Phase::Websocket(talk) = &mut this.phase
            && !talk.phone_closes
        {
            talk.phone_closes = talk.phone.close_in(&buffer.filled()[before..]).is_some();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WiredStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.phase, Phase::Http) && this.wire.0.websocket.load(Ordering::Acquire) {
            this.phase = Phase::Head(0);
        }
        let Some(allowed) = this.allowed(bytes) else {
            this.phase = Phase::Closing;
            this.wire.end();
            return Poll::Ready(Ok(bytes.len()));
        };
        let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(context, &bytes[..allowed]) else {
            // Only who waits: the waker of a task that has ended keeps its memory. Before the look: an end in between wakes.
            this.wire.0.writer.register(context.waker());
            let has_ended = this.wire.has_ended();
            return if has_ended { Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) } else { Poll::Pending };
        };
        let written = written?;
        this.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.phase, Phase::Http) && !this.wire.0.websocket.load(Ordering::Acquire) {
            return Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        Pin::new(this).poll_write(context, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The engine flushes a websocket when the queue of its phone was empty: the phone reads.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        if let (Phase::Websocket(_), Some(news)) = (&this.phase, this.wire.0.news.get().and_then(Weak::upgrade)) {
            news.go_on();
        }
        if this.wire.0.refused.load(Ordering::Acquire) && flushed.is_ready() {
            this.wire.end();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
