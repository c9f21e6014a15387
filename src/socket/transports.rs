use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::posts::Posts;
use crate::clock::Clock;
use crate::fairness::Fairness;

/// An id of the engine's: 16 characters of base64url. What is none names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineId([u8; Self::LENGTH]);

impl EngineId {
    pub const LENGTH: usize = 16;

    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; Self::LENGTH] = text.as_bytes().try_into().ok()?;
        let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        bytes.iter().all(is_known).then_some(Self(bytes))
    }
}

/// The engine's transports on this node, whether they are sessions yet or not. The engine keeps what came with the
/// request that opened one for as long as it keeps the transport, so nobody has to say when one ends.
#[derive(Default)]
pub struct Transports {
    open: AtomicUsize,
    /// Of these, those that are no sessions yet.
    unused: AtomicUsize,
    /// Those that further requests may name, and what these post.
    named: Mutex<HashMap<EngineId, Arc<Posts>>>,
    /// Microseconds from an accepted CONNECT to a session that is ready, lately.
    served: AtomicU64,
}

impl Transports {
    /// A transport is about to open for a client at this address. It goes into the request; `fairness` learns whether the
    /// address has sessions.
    pub fn begin(self: &Arc<Self>, address: IpAddr, fairness: Option<(Arc<Fairness>, Clock)>) -> Transport {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.unused.fetch_add(1, Ordering::Relaxed);
        Transport(Arc::new(Begun {
            name: OnceLock::new(),
            transports: Arc::clone(self),
            address,
            connected: AtomicBool::new(false),
            accepted: AtomicBool::new(false),
            fairness,
        }))
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Those that are no sessions yet.
    pub fn unused(&self) -> usize {
        self.unused.load(Ordering::Relaxed)
    }

    /// Whether the engine has this session, and its client has been told the id.
    pub fn is_live(&self, id: EngineId) -> bool {
        self.named.lock().contains_key(&id)
    }

    /// What the client of this session posts; absent where the engine has no such session.
    pub fn posts(&self, id: EngineId) -> Option<Arc<Posts>> {
        self.named.lock().get(&id).cloned()
    }

    /// How long sessions took lately from an accepted CONNECT until they were ready.
    pub fn served_within(&self) -> Duration {
        Duration::from_micros(self.served.load(Ordering::Relaxed))
    }

    pub(super) fn served(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / 8);
        // One that is lost to another task does no harm.
        let lately = self.served.load(Ordering::Relaxed);
        self.served.store((7 * lately + took) / 8, Ordering::Relaxed);
    }

    /// How many sessions further requests may name.
    pub fn named(&self) -> usize {
        self.named.lock().len()
    }
}

/// One transport, and what is known of it from the request that opened it. Counted until the engine and all who speak to
/// its phone have let go of it.
#[derive(Clone)]
pub struct Transport(Arc<Begun>);

struct Begun {
    name: OnceLock<EngineId>,
    transports: Arc<Transports>,
    address: IpAddr,
    /// A CONNECT came over it.
    connected: AtomicBool,
    /// A session runs over it.
    accepted: AtomicBool,
    fairness: Option<(Arc<Fairness>, Clock)>,
}

/// Knows a transport without keeping it.
pub struct Naming(std::sync::Weak<Begun>);

impl Transport {
    pub fn naming(&self) -> Naming {
        Naming(Arc::downgrade(&self.0))
    }

    /// Where nobody looked at the request.
    pub(super) fn unknown() -> Self {
        Arc::<Transports>::default().begin(Ipv4Addr::UNSPECIFIED.into(), None)
    }

    /// The client's address, as far as proxies are trusted.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// True for the first CONNECT, false for any other.
    pub(super) fn is_first_connect(&self) -> bool {
        !self.0.connected.swap(true, Ordering::Relaxed)
    }

    pub(super) fn accepted(&self) {
        if self.0.accepted.swap(true, Ordering::Relaxed) {
            return;
        }
        self.0.transports.unused.fetch_sub(1, Ordering::Relaxed);
        if let Some((fairness, clock)) = &self.0.fairness {
            fairness.came(self.0.address, clock.elapsed());
        }
    }
}

impl Naming {
    /// The client is about to be told the id; where the transport is gone already it names nothing.
    pub fn name(&self, id: EngineId) {
        if let Some(begun) = self.0.upgrade()
            && begun.name.set(id).is_ok()
        {
            begun.transports.named.lock().insert(id, Arc::default());
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(id) = self.name.get() {
            self.transports.named.lock().remove(id);
        }
        self.transports.open.fetch_sub(1, Ordering::Relaxed);
        if !*self.accepted.get_mut() {
            self.transports.unused.fetch_sub(1, Ordering::Relaxed);
        } else if let Some((fairness, clock)) = &self.fairness {
            fairness.left(self.address, clock.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sixteen_known_characters() {
        assert!(EngineId::parse("AAz09-_AAz09-_AA").is_some());
        for text in
            ["", "AAz09-_AAz09-_A", "AAz09-_AAz09-_AAA", "AAz09-_AAz09-_A.", "AAz09-_AAz09-_é", "AAz09-_AAz09-_A "]
        {
            assert!(EngineId::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_transport_counts_until_all_let_go_of_it() {
        let transports = Arc::new(Transports::default());
        let id = EngineId::parse("AAz09-_AAz09-_AA").unwrap();
        let begin = || transports.begin(Ipv4Addr::LOCALHOST.into(), None);
        let (opened, unnamed) = (begin(), begin());
        let naming = opened.naming();
        naming.name(id);
        let engine = opened.clone();
        drop(opened);
        assert!(transports.is_live(id) && transports.posts(id).is_some() && transports.open() == 2);
        assert_eq!(transports.unused(), 2);
        engine.accepted();
        engine.accepted();
        assert_eq!(transports.unused(), 1);
        drop((engine, unnamed));
        assert!(!transports.is_live(id) && transports.posts(id).is_none() && transports.unused() == 0);
        naming.name(id);
        assert_eq!((transports.open(), transports.named()), (0, 0));
    }
}
