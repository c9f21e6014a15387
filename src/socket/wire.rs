//! Connections that can be ended from outside. Neither the engine nor the server under it can close one transport.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::news::News;
use super::talk::Budget;

/// How the engine's packet with a CONNECT_ERROR for the one namespace begins.
pub(super) const REFUSAL: &[u8] = b"44{";

/// A handle to an accepted connection.
#[derive(Clone, Debug)]
pub struct Wire(pub(super) Arc<End>);

#[derive(Default)]
pub(super) struct End {
    pub ended: AtomicBool,
    pub reader: AtomicWaker,
    pub writer: AtomicWaker,
    /// The next answer on it is that to a websocket's handshake.
    pub websocket: AtomicBool,
    /// The next CONNECT_ERROR is the last that is said over it.
    pub ends_after_a_refusal: AtomicBool,
    /// It was written, and is still to be flushed.
    pub refused: AtomicBool,
    /// What waits for its phone to read.
    pub news: OnceLock<Weak<News>>,
    pub budget: Mutex<Option<Arc<dyn Budget>>>,
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

    /// The websocket that may begin draws from this.
    pub fn draws_from(&self, budget: Arc<dyn Budget>) {
        *self.0.budget.lock() = Some(budget);
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

    pub(super) fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }
}
