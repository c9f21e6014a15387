//! The stream of an accepted connection, which its wire ends.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::talk::{Asked, EndOfHead, Talk};
use super::wire::{REFUSAL, Wire};
use crate::telemetry::metrics::{self, Cut};

/// More than what the engine and the library under it keep of packets for a phone that reads slowly.
const UNREAD_LIMIT: usize = 512 * 1024;

/// An accepted connection whose reading side ends when its wire does. A websocket over it is never closed by this side
/// with a Close frame, as the engine does at each timeout: the deployed app (OkHttp) stops reading then, and hears
/// nothing until its ping timeout. It finds the end of the stream and comes back at once.
#[derive(Debug)]
pub struct WiredStream {
    stream: TcpStream,
    wire: Wire,
    paced: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Http(Asked),
    /// The head of the answer to a websocket's handshake goes out.
    Head(Asked, EndOfHead),
    Websocket(Box<Talk>),
    /// This side wanted to begin the closing handshake.
    Closing,
}

impl WiredStream {
    /// `paced`: a websocket over it is read no faster than phones speak.
    pub fn new(stream: TcpStream, paced: bool) -> Self {
        Self { stream, wire: Wire(Arc::default()), paced, phase: Phase::Http(Asked::default()) }
    }

    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// How many of these bytes may go out; absent where a Close frame begins that nobody asked for.
    fn allowed(&self, bytes: &[u8]) -> Option<usize> {
        match &self.phase {
            Phase::Http(_) | Phase::Head(..) => Some(bytes.len()),
            Phase::Websocket(talk) => talk.allowed(bytes),
            Phase::Closing => None,
        }
    }

    /// Notes what went out; `all`: nothing waits any more.
    fn wrote(&mut self, bytes: &[u8], all: bool) {
        match &mut self.phase {
            Phase::Closing => {}
            Phase::Http(asked) => *asked = Asked::default(),
            Phase::Head(asked, end) => {
                let Some(place) = end.passes(bytes) else { return };
                if !asked.is_a_head() {
                    self.wire.end();
                }
                let budget = self.wire.0.budget.lock().clone();
                self.phase = Phase::Websocket(Box::new(Talk::new(budget, self.paced)));
                self.wrote(&bytes[place..], all);
            }
            Phase::Websocket(talk) => {
                talk.said(bytes, all);
                if self.wire.0.ends_after_a_refusal.load(Ordering::Acquire)
                    && bytes.windows(REFUSAL.len()).any(|window| window == REFUSAL)
                {
                    self.wire.0.refused.store(true, Ordering::Release);
                }
            }
        }
    }

    /// The peer takes nothing now, and so many bytes wait for it.
    fn waits(&self, waiting: usize, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if matches!(self.phase, Phase::Websocket(_)) && waiting > UNREAD_LIMIT {
            self.wire.end();
        }
        // Only who waits: the waker of a task that has ended keeps its memory. Before the look: an end in between wakes.
        self.wire.0.writer.register(context.waker());
        if self.wire.has_ended() { Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) } else { Poll::Pending }
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
        if let Phase::Websocket(talk) = &mut this.phase {
            if !talk.listens() {
                metrics::connection_cut(Cut::Unread);
                this.wire.end();
                return Poll::Ready(Ok(()));
            }
            ready!(talk.poll_listens(context));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        let has_room = match &mut this.phase {
            Phase::Http(asked) | Phase::Head(asked, _) => {
                asked.read(bytes);
                true
            }
            Phase::Websocket(talk) => talk.heard(bytes),
            Phase::Closing => true,
        };
        if !has_room {
            metrics::connection_cut(Cut::Memory);
            this.wire.end();
            buffer.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WiredStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Phase::Http(asked) = this.phase
            && this.wire.0.websocket.load(Ordering::Acquire)
        {
            this.phase = Phase::Head(asked, EndOfHead::default());
        }
        // First: what waits is looked through only when some of it can go.
        let Poll::Ready(writable) = this.stream.poll_write_ready(context) else {
            return this.waits(bytes.len(), context);
        };
        writable?;
        let Some(allowed) = this.allowed(bytes) else {
            this.phase = Phase::Closing;
            this.wire.end();
            return Poll::Ready(Ok(bytes.len()));
        };
        let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(context, &bytes[..allowed]) else {
            return this.waits(bytes.len(), context);
        };
        let written = written?;
        this.wrote(&bytes[..written], written == bytes.len());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Phase::Http(asked) = &mut this.phase
            && !this.wire.0.websocket.load(Ordering::Acquire)
        {
            *asked = Asked::default();
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
