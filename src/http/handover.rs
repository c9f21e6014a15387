use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::Place;
use super::reading::Watched;
use crate::socket::WiredStream;

/// The stream of a websocket, as the engine gets it: nothing is left of what HTTP needed. Its reader is told first what it
/// missed, and its writer first says what was said already: that goes nowhere. Afterwards bytes pass as they are.
pub(super) struct Handover<S = WiredStream> {
    stream: S,
    missed: Bytes,
    said: Option<Box<Said>>,
    _place: Option<Arc<Place>>,
}

/// What was said already, as far as it was not said again.
struct Said {
    left: usize,
    /// Dropped when all was said again.
    _until: Box<dyn Send>,
}

impl Handover {
    /// The stream of a connection to a port of this node; absent where it is none.
    pub fn of(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Watched<WiredStream>>>().ok()?;
        let (stream, place) = parts.io.into_inner().into_parts();
        // A copy: what was read lies in the buffer of a head.
        let missed = if parts.read_buf.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&parts.read_buf) };
        Some(Self { stream, missed, said: None, _place: Some(place) })
    }
}

impl<S> Handover<S> {
    /// These bytes are read first, again, and so many were said already. `until` is dropped when they were said again.
    pub fn again(mut self, read: &[u8], said: usize, until: impl Send + 'static) -> Self {
        self.missed = [read, &self.missed].concat().into();
        self.said = Some(Box::new(Said { left: said, _until: Box::new(until) }));
        self
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Handover<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.missed.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let fits = this.missed.len().min(buffer.remaining());
        buffer.put_slice(&this.missed.split_to(fits));
        if this.missed.is_empty() {
            this.missed = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Handover<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(said) = &mut this.said else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        let again = said.left.min(bytes.len());
        said.left -= again;
        if said.left == 0 {
            this.said = None;
        }
        Poll::Ready(Ok(again))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_was_missed_comes_first_and_what_was_said_goes_nowhere() {
        for piece in [1, 2, 3, 7, 100] {
            let (mut client, node) = tokio::io::duplex(1024);
            client.write_all(b"live").await.unwrap();
            let until = Arc::new(());
            let weak = Arc::downgrade(&until);
            let fresh = Handover { stream: node, missed: Bytes::from_static(b"ahead"), said: None, _place: None };
            let mut stream = fresh.again(b"again", 6, until);
            let mut read = [0; 14];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"againaheadlive");
            for bytes in b"3probe".chunks(piece) {
                assert!(weak.strong_count() == 1);
                stream.write_all(bytes).await.unwrap();
            }
            assert_eq!(weak.strong_count(), 0, "all was said");
            stream.write_all(b"news").await.unwrap();
            drop(stream);
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "news", "in pieces of {piece}");
        }
    }
}
