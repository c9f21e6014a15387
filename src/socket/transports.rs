use std::collections::HashSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

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
    /// Those that further requests may name.
    named: Mutex<HashSet<EngineId>>,
}

impl Transports {
    /// A transport is about to open. It goes into the request.
    pub fn begin(self: &Arc<Self>) -> Transport {
        self.open.fetch_add(1, Ordering::Relaxed);
        Transport(Arc::new(Begun { name: OnceLock::new(), transports: Arc::clone(self) }))
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the engine has this session, and its client has been told the id.
    pub fn is_live(&self, id: EngineId) -> bool {
        self.named.lock().contains(&id)
    }

    /// How many sessions further requests may name.
    pub fn named(&self) -> usize {
        self.named.lock().len()
    }
}

/// One transport, counted until the engine and all who speak to its phone have let go of it.
#[derive(Clone)]
pub struct Transport(Arc<Begun>);

struct Begun {
    name: OnceLock<EngineId>,
    transports: Arc<Transports>,
}

/// Knows a transport without keeping it.
pub struct Naming(std::sync::Weak<Begun>);

impl Transport {
    pub fn naming(&self) -> Naming {
        Naming(Arc::downgrade(&self.0))
    }
}

impl Naming {
    /// The client is about to be told the id; where the transport is gone already it names nothing.
    pub fn name(&self, id: EngineId) {
        if let Some(begun) = self.0.upgrade()
            && begun.name.set(id).is_ok()
        {
            begun.transports.named.lock().insert(id);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(id) = self.name.get() {
            self.transports.named.lock().remove(id);
        }
        self.transports.open.fetch_sub(1, Ordering::Relaxed);
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
        let (opened, unnamed) = (transports.begin(), transports.begin());
        let naming = opened.naming();
        naming.name(id);
        let engine = opened.clone();
        drop(opened);
        assert!(transports.is_live(id) && transports.open() == 2);
        drop((engine, unnamed));
        assert!(!transports.is_live(id));
        naming.name(id);
        assert_eq!((transports.open(), transports.named()), (0, 0));
    }
}
