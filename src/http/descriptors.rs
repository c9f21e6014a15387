//! The descriptors of the process: each connection takes one when it comes, and each connection to another node that
//! something is passed on over takes one when it is opened.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::http::Uri;
use futures_util::TryFutureExt;
use futures_util::future::BoxFuture;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tower::Service;

/// Descriptors of a process without a limit: more than any node serves.
const DESCRIPTORS_AT_MOST: u64 = 1_048_576;
/// For the admin port and that of `/api/`, the store, Laravel and files; a quarter where there are few.
const RESERVE: u64 = 1024;
/// Kept for what is passed on and for connections that make way, however many others come; a quarter where there are few.
const SPARE: usize = 512;

/// Raises the limit of open descriptors to what the process may have, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit;
        limit.current = limit.maximum;
        // Best effort: the node serves as many as it may.
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit = before;
        }
    }
    limit.current.unwrap_or(DESCRIPTORS_AT_MOST).min(DESCRIPTORS_AT_MOST)
}

/// Those that a port may take, or the public port and what is passed on from it.
pub struct Descriptors {
    taken: AtomicUsize,
    at_most: usize,
    spare: usize,
}

impl Descriptors {
    /// What the reserve leaves of `limit`, that of the process.
    pub fn new(limit: u64) -> Arc<Self> {
        let at_most = as_count(limit - reserve(limit)).max(1);
        Arc::new(Self { taken: AtomicUsize::new(0), at_most, spare: SPARE.min(at_most / 4) })
    }

    /// `places` out of the reserve, fewer where that is small, and a quarter more for connections that make way.
    pub fn reserved(limit: u64, places: usize) -> Arc<Self> {
        let places = as_count(places as u64 * reserve(limit) / RESERVE).max(1);
        Arc::new(Self { taken: AtomicUsize::new(0), at_most: places + places / 4, spare: places / 4 })
    }

    /// All of them.
    pub(super) fn at_most(&self) -> usize {
        self.at_most
    }

    /// How many connections may take one.
    pub(super) fn for_connections(&self) -> usize {
        self.at_most - self.spare
    }

    /// Some are taken of those that are kept.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.for_connections()
    }

    /// Nothing may be passed on.
    pub(super) fn are_gone(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.at_most
    }

    /// One for a connection; absent where they are gone but for half of those that are kept.
    pub(super) fn take(self: &Arc<Self>) -> Option<Descriptor> {
        let taken = self.open();
        (self.taken.load(Ordering::Relaxed) <= self.at_most - self.spare / 2).then_some(taken)
    }

    fn open(self: &Arc<Self>) -> Descriptor {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Descriptor(Arc::clone(self))
    }
}

fn reserve(limit: u64) -> u64 {
    RESERVE.min(limit / 4)
}

fn as_count(descriptors: u64) -> usize {
    usize::try_from(descriptors).unwrap_or(usize::MAX)
}

/// One that is taken, until it is dropped.
pub(super) struct Descriptor(Arc<Descriptors>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens connections that are counted for as long as they live, used or idle.
#[derive(Clone)]
pub(super) struct CountingConnector {
    pub connector: HttpConnector,
    pub descriptors: Arc<Descriptors>,
}

impl Service<Uri> for CountingConnector {
    type Response = Counted;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = BoxFuture<'static, Result<Counted, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let descriptor = self.descriptors.open();
        Box::pin(self.connector.call(uri).map_ok(|stream| Counted { stream, _descriptor: descriptor }))
    }
}

/// A connection to another node.
pub(super) struct Counted {
    stream: TokioIo<TcpStream>,
    _descriptor: Descriptor,
}

impl Connection for Counted {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: [u64; 6] = [16, 256, 1024, 20_000, 262_144, DESCRIPTORS_AT_MOST];

    #[test]
    fn all_that_is_counted_and_the_reserve_fit_into_the_limit() {
        for limit in LIMITS {
            let descriptors = Descriptors::new(limit);
            assert_eq!(descriptors.at_most() as u64 + reserve(limit), limit);
            let places = descriptors.for_connections();
            assert!(places as u64 >= limit - 2 * reserve(limit), "{places} of {limit}");
            let reserved = [256, 512].map(|places| Descriptors::reserved(limit, places).at_most() as u64);
            assert!(reserved.iter().sum::<u64>() <= reserve(limit).max(2), "{reserved:?} of {limit}");
        }
        assert_eq!([256, 512].map(|places| Descriptors::reserved(4096, places).for_connections()), [256, 512]);
    }

    #[test]
    fn connections_leave_some_for_what_is_passed_on() {
        for limit in LIMITS {
            let descriptors = Descriptors::new(limit);
            let held: Vec<_> = std::iter::from_fn(|| descriptors.take()).collect();
            assert!(held.len() >= descriptors.for_connections() && descriptors.are_scarce());
            let kept = descriptors.at_most() - held.len();
            assert_eq!(kept, descriptors.spare / 2, "of {limit}");
            let relays: Vec<_> = (0..kept).map(|_| (descriptors.are_gone(), descriptors.open())).collect();
            assert!(relays.iter().all(|(were_gone, _)| !were_gone));
            assert!(descriptors.are_gone() && descriptors.take().is_none());
            drop((held, relays));
            assert_eq!(descriptors.taken.load(Ordering::Relaxed), 0);
        }
    }
}
