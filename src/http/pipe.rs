use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What the one side said last before its end has so long to reach the other, and so has the other's farewell.
const FAREWELL: Duration = Duration::from_secs(5);
/// Each direction has one as long as the websocket lives: more than almost all frames.
const BUFFER: usize = 2048;

/// Passes bytes between a client's websocket and its node until either side ends, breaks, or says nothing for `silence`.
/// The node pings and the client answers: silence means that one of them, or a network between, is dead.
pub(super) async fn pipe<A, B>(client: A, node: B, silence: Duration)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client, mut node) = (Side::new(client), Side::new(node));
    let (client_heard, node_heard) = (Arc::clone(&client.heard), Arc::clone(&node.heard));
    tokio::select! {
        // An error is how websockets end too.
        _ = copy_bidirectional_with_sizes(&mut client, &mut node, BUFFER, BUFFER) => {}
        () = client_heard.no_more(silence) => {}
        () = node_heard.no_more(silence) => {}
    }
}

/// One side, and when it was heard.
struct Side<S> {
    stream: S,
    heard: Arc<Heard>,
}

struct Heard {
    last: Mutex<Instant>,
    ended: Mutex<Option<Instant>>,
    ending: Notify,
}

impl Heard {
    /// Resolves when nothing more is to be expected from this side.
    async fn no_more(&self, silence: Duration) {
        loop {
            let ended = *self.ended.lock();
            let last = *self.last.lock();
            let over = ended.map_or(last + silence, |at| at + FAREWELL.min(silence));
            if over <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(over) => {}
                () = self.ending.notified() => {}
            }
        }
    }
}

impl<S> Side<S> {
    fn new(stream: S) -> Self {
        let last = Mutex::new(Instant::now());
        Self { stream, heard: Arc::new(Heard { last, ended: Mutex::default(), ending: Notify::new() }) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Side<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            *this.heard.last.lock() = Instant::now();
        } else {
            this.heard.ended.lock().get_or_insert_with(Instant::now);
            this.heard.ending.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Side<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SILENCE: Duration = Duration::from_millis(300);

    /// The far ends of a pipe, and whether it ends in time.
    fn piped() -> (DuplexStream, DuplexStream, impl Future<Output = bool>) {
        let ((client, near), (node, far)) = (duplex(64), duplex(64));
        let ends = async move { tokio::time::timeout(20 * SILENCE, pipe(near, far, SILENCE)).await.is_ok() };
        (client, node, ends)
    }

    /// Says something again and again, and reads what comes.
    async fn goes_on(mut stream: DuplexStream) {
        let mut heard = [0; 16];
        while stream.write_all(b"ping").await.is_ok() {
            if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(SILENCE / 10, stream.read(&mut heard)).await {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_frozen_side_ends_it_whatever_the_other_says() {
        for frozen_is_client in [true, false] {
            let (client, node, ends) = piped();
            let (frozen, lively) = if frozen_is_client { (client, node) } else { (node, client) };
            let (ended, ()) = tokio::join!(ends, goes_on(lively));
            assert!(ended, "frozen client: {frozen_is_client}");
            drop(frozen);
        }
        let (client, node, ends) = piped();
        assert!(ends.await, "both are frozen");
        drop((client, node));
    }

    #[tokio::test]
    async fn a_half_that_ended_ends_the_other() {
        for client_ends in [true, false] {
            let (mut client, mut node, ends) = piped();
            let (first, second) = if client_ends { (&mut client, &mut node) } else { (&mut node, &mut client) };
            let story = async {
                first.write_all(b"bye").await.unwrap();
                first.shutdown().await.unwrap();
                let mut heard = Vec::new();
                second.read_to_end(&mut heard).await.unwrap();
                assert_eq!(heard, b"bye", "what was said before the end arrives");
                // It does not end its half.
                while second.write_all(b"ping").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            let (ended, ()) = tokio::join!(ends, story);
            assert!(ended, "the client ended: {client_ends}");
        }
    }

    #[tokio::test]
    async fn a_side_that_is_gone_ends_it_at_once() {
        let (client, node, ends) = piped();
        drop(client);
        drop(node);
        assert!(ends.await);
    }

    #[tokio::test]
    async fn two_that_talk_go_on() {
        let (client, node, ends) = piped();
        let talk = async {
            tokio::select! {
                () = goes_on(client) => false,
                () = goes_on(node) => false,
                () = tokio::time::sleep(5 * SILENCE) => true, // longer than a silence may be
            }
        };
        let (_, talked) = tokio::join!(ends, talk);
        assert!(talked);
    }
}
