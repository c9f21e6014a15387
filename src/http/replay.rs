use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A stream whose reader is told first what it missed, and whose writer first says what was said already: that goes
/// nowhere. Afterwards bytes pass as they are.
pub(super) struct Replay<S, G> {
    stream: S,
    missed: Vec<Vec<u8>>,
    said: Said,
    /// Dropped when all was said again.
    guard: Option<G>,
}

enum Said {
    /// The head of an answer; so much of its end was seen.
    Head(usize, usize),
    /// So many bytes behind it.
    Behind(usize),
    All,
}

impl<S, G> Replay<S, G> {
    /// `missed` is read piece by piece; the head of an answer and `behind` bytes after it are swallowed.
    pub fn new(stream: S, missed: impl IntoIterator<Item = Vec<u8>>, behind: usize, guard: G) -> Self {
        let mut missed: Vec<_> = missed.into_iter().filter(|piece| !piece.is_empty()).collect();
        missed.reverse();
        Self { stream, missed, said: Said::Head(0, behind), guard: Some(guard) }
    }

    /// Swallows what was said before; returns how many of these bytes that were.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        for (place, byte) in bytes.iter().enumerate() {
            self.said = match self.said {
                Said::Head(seen, behind) => match *byte {
                    byte if byte == END_OF_HEAD[seen] => match seen + 1 {
                        seen if seen == END_OF_HEAD.len() => Said::Behind(behind),
                        seen => Said::Head(seen, behind),
                    },
                    b'\r' => Said::Head(1, behind),
                    _ => Said::Head(0, behind),
                },
                Said::Behind(left) if left > 1 => Said::Behind(left - 1),
                Said::Behind(_) => {
                    self.said = Said::All;
                    self.guard = None;
                    return place + 1;
                }
                Said::All => return place,
            };
        }
        bytes.len()
    }
}

impl<S: AsyncRead + Unpin, G: Unpin> AsyncRead for Replay<S, G> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(piece) = this.missed.last_mut() else {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        };
        let fits = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..fits]);
        piece.drain(..fits);
        if piece.is_empty() {
            this.missed.pop();
        }
        if this.missed.is_empty() {
            this.missed = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, G: Unpin> AsyncWrite for Replay<S, G> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.said, Said::All) {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        Poll::Ready(Ok(this.swallow(bytes)))
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
            let missed = [b"first".to_vec(), Vec::new(), b"second".to_vec()];
            let guard = std::sync::Arc::new(());
            let weak = std::sync::Arc::downgrade(&guard);
            let mut replay = Replay::new(node, missed, 6, guard);
            let mut read = [0; 15];
            replay.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"firstsecondlive");
            let said = b"HTTP/1.1 101 \r\nA: \r\r\nB: b\r\n\r\n3probe";
            for bytes in said.chunks(piece) {
                assert!(weak.strong_count() == 1);
                replay.write_all(bytes).await.unwrap();
            }
            assert_eq!(weak.strong_count(), 0, "all was said");
            replay.write_all(b"news\r\n\r\n").await.unwrap();
            drop(replay);
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "news\r\n\r\n", "in pieces of {piece}");
        }
    }
}
