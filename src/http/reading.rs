//! How long a client may take to say what it wants, and to take the answer. A connection is at one stage at a time, and
//! what may wait, an answer or a websocket, is no stage with an end.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant};

use super::connections::{Connections, Place};
use crate::config::ReadingTimes;
use crate::telemetry::metrics::{self, Cut};

/// A client that has something to say says it within this.
const AT_IT: Duration = Duration::from_millis(500);

/// What a connection is being read for.
pub(super) struct Reading {
    times: ReadingTimes,
    connections: Arc<Connections>,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    /// Bytes of a request that is not complete yet.
    held: usize,
    /// Whose request it is: until its head was read that of the other side. Absent where that passes requests on.
    client: Option<IpAddr>,
    /// Since when the client takes nothing of an answer.
    unread_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing of a next request has come.
    Idle {
        since: Instant,
    },
    Head {
        since: Instant,
    },
    /// `is_wanted`: somebody reads it. Until then it is not slow.
    Body {
        since: Instant,
        bytes: u64,
        is_wanted: bool,
    },
    /// The request is complete; `early`: of a further one bytes have come.
    Answering {
        early: bool,
    },
    /// Bytes that are no requests.
    Upgraded,
}

impl Reading {
    /// A connection that begins now.
    pub fn new(times: ReadingTimes, connections: Arc<Connections>) -> Arc<Self> {
        let state = State { stage: Stage::Head { since: Instant::now() }, held: 0, client: None, unread_since: None };
        Arc::new(Self { times, connections, state: Mutex::new(state) })
    }

    /// When the connection is to be cut as it stands, and why.
    pub fn due(&self) -> Option<(Instant, Cut)> {
        let state = self.state.lock();
        let unread = state.unread_since.map(|since| (since + self.times.idle, Cut::Unread));
        let unsaid = match state.stage {
            Stage::Idle { since } => Some((since + self.times.idle, Cut::Idle)),
            Stage::Head { since } => Some((since + self.times.head, Cut::Head)),
            Stage::Body { since, bytes, is_wanted } => {
                let worth = Duration::from_secs_f64(bytes as f64 / f64::from(self.times.bytes_per_second.max(1)));
                let (whole, slow) = (since + self.times.body, since + self.times.grace + worth);
                Some(if is_wanted && slow < whole { (slow, Cut::SlowBody) } else { (whole, Cut::Body) })
            }
            Stage::Answering { .. } => None,
            Stage::Upgraded => return None,
        };
        [unsaid, unread].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// For how long, where it is long for a client that is at it; absent where it is this side's turn.
    pub fn waits_for_its_client(&self) -> Option<Duration> {
        let waits = match self.state.lock().stage {
            Stage::Idle { since } | Stage::Head { since } | Stage::Body { since, is_wanted: true, .. } => {
                since.elapsed()
            }
            Stage::Body { is_wanted: false, .. } | Stage::Answering { .. } | Stage::Upgraded => return None,
        };
        (waits >= AT_IT).then_some(waits)
    }

    /// The client took bytes of an answer, or has no room for more.
    fn gave(&self, polled: &Poll<io::Result<usize>>) {
        let mut state = self.state.lock();
        match polled {
            Poll::Pending => state.unread_since = state.unread_since.or_else(|| Some(Instant::now())),
            Poll::Ready(_) => state.unread_since = None,
        }
    }

    /// The head of a request was read; `client` says whose it is.
    pub fn began(self: &Arc<Self>, client: impl FnOnce() -> Option<IpAddr>, body: hyper::body::Incoming) -> Body {
        if body.is_end_stream() {
            self.complete();
            return Body::empty();
        }
        let client = client();
        let mut state = self.state.lock();
        state.stage = Stage::Body { since: Instant::now(), bytes: 0, is_wanted: false };
        // What came with the head is the client's from now on.
        let held = state.held;
        self.draw(&mut state, 0);
        state.client = client;
        self.draw(&mut state, held);
        drop(state);
        Body::new(Asked { body, reading: Arc::clone(self), is_wanted: false, is_complete: false })
    }

    /// All of the answer was handed over, or a websocket begins.
    pub fn answered(self: &Arc<Self>, body: Body, upgraded: bool) -> Answer {
        if upgraded {
            self.state.lock().stage = Stage::Upgraded;
        }
        Answer { body, reading: Arc::clone(self) }
    }

    /// From now on it is the client who is waited for.
    fn wants(&self) {
        if let Stage::Body { since, is_wanted, .. } = &mut self.state.lock().stage {
            (*since, *is_wanted) = (Instant::now(), true);
        }
    }

    /// All of the request has come, or nobody wants the rest.
    fn complete(&self) {
        let mut state = self.state.lock();
        self.draw(&mut state, 0);
        *state = State { stage: Stage::Answering { early: false }, client: None, ..*state };
    }

    fn next(&self) {
        let mut state = self.state.lock();
        let since = Instant::now();
        match state.stage {
            Stage::Upgraded | Stage::Idle { .. } | Stage::Head { .. } => {}
            Stage::Answering { early: true } => state.stage = Stage::Head { since },
            // An answer that came before the end of its question: the connection ends with it.
            Stage::Answering { early: false } | Stage::Body { .. } => state.stage = Stage::Idle { since },
        }
    }

    /// Bytes came over the connection that has this place; false where there is no room for what they are a part of.
    fn took(&self, count: usize, place: &Place) -> bool {
        let mut state = self.state.lock();
        if state.held == 0 && !matches!(state.stage, Stage::Body { .. }) {
            state.client = place.address();
        }
        match &mut state.stage {
            _ if count == 0 => return true,
            Stage::Upgraded => return true,
            Stage::Idle { .. } => state.stage = Stage::Head { since: Instant::now() },
            Stage::Head { .. } => {}
            Stage::Body { bytes, .. } => *bytes += count as u64,
            Stage::Answering { early } => *early = true,
        }
        let held = state.held + count;
        self.draw(&mut state, held)
    }

    fn draw(&self, state: &mut State, held: usize) -> bool {
        let before = std::mem::replace(&mut state.held, held);
        self.connections.unfinished.draw(state.client, before, held)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let State { held, client, .. } = *self.state.get_mut();
        self.connections.unfinished.draw(client, held, 0);
    }
}

/// The body of a request, which ends or is dropped when all of it was read that anybody wants.
struct Asked {
    body: hyper::body::Incoming,
    reading: Arc<Reading>,
    is_wanted: bool,
    is_complete: bool,
}

impl Asked {
    /// Once: it may be dropped when a further request has begun.
    fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_complete, true) {
            self.reading.complete();
        }
    }
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if !std::mem::replace(&mut self.is_wanted, true) {
            self.reading.wants();
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.complete();
    }
}

/// The body of an answer, which is dropped when it was handed over.
pub(super) struct Answer {
    body: Body,
    reading: Arc<Reading>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.reading.next();
    }
}

/// A connection whose reading is watched, with the place it takes.
pub(super) struct Watched<S> {
    stream: S,
    reading: Arc<Reading>,
    /// How the client's side ended, to be told with the next turn.
    end: Option<io::Result<()>>,
    place: Arc<Place>,
}

impl<S> Watched<S> {
    pub fn new(stream: S, reading: Arc<Reading>, place: Arc<Place>) -> Self {
        Self { stream, reading, end: None, place }
    }

    /// The stream and its place, where it carries no requests any more: nothing is watched then.
    pub fn into_parts(self) -> (S, Arc<Place>) {
        self.place.stays();
        (self.stream, self.place)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(end) = this.end.take() {
            return Poll::Ready(end);
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(context, buffer));
        let count = buffer.filled().len() - before;
        if count == 0 && buffer.remaining() > 0 {
            // The server library drops a request in the turn in which it reads it, before anybody has seen it, where it
            // finds that the client has gone since: a command of an impatient client to a node that stood still. So it
            // learns that a turn later.
            this.end = Some(read);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        read?;
        if this.reading.took(count, &this.place) {
            return Poll::Ready(Ok(()));
        }
        metrics::connection_cut(Cut::Memory);
        Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.reading.gave(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.reading.gave(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ClientAddress, Descriptors};

    const MEGABYTE: usize = 1024 * 1024;

    /// Whether so many bytes of a head that does not end find room, and who holds them.
    fn begin(connections: &Arc<Connections>, peer: &str, megabytes: usize) -> (bool, Arc<Reading>, Place) {
        let place = connections.admit(peer.parse().unwrap()).unwrap();
        let reading = Reading::new(ReadingTimes::default(), Arc::clone(connections));
        let has_room = reading.took(megabytes * MEGABYTE, &place);
        (has_room, reading, place)
    }

    #[test]
    fn heads_that_do_not_end_are_their_senders() {
        let proxies = ClientAddress::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let connections = Arc::new(Connections::new(0, 0, Descriptors::new(1024), proxies));
        let held: Vec<_> = (0..17).map(|_| begin(&connections, "192.0.2.1", 1)).collect();
        assert_eq!(held.iter().filter(|(has_room, ..)| *has_room).count(), 16, "a share of them all");
        assert!(begin(&connections, "192.0.2.2", 1).0, "others have theirs");
        assert!(begin(&connections, "10.0.0.1", 20).0, "what a proxy sends is of many");
        let (_, reading, place) = begin(&connections, "192.0.2.3", 20);
        reading.complete();
        place.vouch();
        assert!(reading.took(20 * MEGABYTE, &place), "and what a node does");
        drop((held, reading));
        assert_eq!(connections.unfinished_bytes(), 0);
        assert!(begin(&connections, "192.0.2.1", 16).0, "what is given back is there again");
    }

    /// Also when it has begun before the one before it was answered.
    #[test]
    fn the_head_of_a_next_request_is_its_senders_too() {
        let connections = Arc::new(Connections::new(0, 0, Descriptors::new(1024), ClientAddress::new(Vec::new())));
        let (_held, reading, place) = begin(&connections, "192.0.2.1", 0);
        for _ in 0..2 {
            reading.complete();
            assert!(reading.took(1, &place), "early");
            reading.next();
            assert!(!reading.took(17 * MEGABYTE, &place));
        }
    }
}
