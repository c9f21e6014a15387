use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::news::News;
use super::wire::{WeakWire, Wire};

/// Which connection carries which session of the engine, as far as that can be told from requests.
pub struct Wires {
    sessions: Mutex<HashMap<Box<str>, Carried>>,
    /// Sessions whose transport was closed, and when: no request of theirs is served any more.
    closed: Mutex<HashMap<Box<str>, Instant>>,
    closing: Notify,
    /// Longer than the engine keeps a session that answers no ping.
    memory: Duration,
}

#[derive(Default)]
struct Carried {
    /// The websocket to which a polling session was upgraded.
    websocket: Option<WeakWire>,
    news: Option<Weak<News>>,
}

impl Carried {
    fn connect(&self) {
        let news = self.news.as_ref().and_then(Weak::upgrade);
        if let (Some(wire), Some(news)) = (self.websocket.as_ref().and_then(WeakWire::upgrade), news) {
            wire.feed(&news);
        }
    }

    fn is_alive(&self) -> bool {
        self.websocket.as_ref().is_some_and(|wire| wire.upgrade().is_some())
            || self.news.as_ref().is_some_and(|news| news.strong_count() > 0)
    }
}

impl Wires {
    /// `memory` is longer than the engine keeps a session that answers no ping.
    pub fn new(memory: Duration) -> Self {
        Self { sessions: Mutex::default(), closed: Mutex::default(), closing: Notify::new(), memory }
    }

    /// The session of this engine id runs over that websocket from now on.
    pub fn upgrade(&self, id: &str, wire: &Wire) {
        let mut sessions = self.sessions.lock();
        let carried = sessions.entry(id.into()).or_default();
        carried.websocket = Some(wire.downgrade());
        carried.connect();
    }

    /// `news` goes on when the phone has read. The phone upgrades its transport before or after.
    pub(super) fn feed(&self, id: &str, opened_with: Option<&Wire>, news: &Arc<News>) {
        if let Some(wire) = opened_with {
            return wire.feed(news);
        }
        let mut sessions = self.sessions.lock();
        let carried = sessions.entry(id.into()).or_default();
        carried.news = Some(Arc::downgrade(news));
        carried.connect();
    }

    /// A poll took all that was queued.
    pub fn was_polled(&self, id: &str) {
        let news = self.sessions.lock().get(id).and_then(|carried| carried.news.as_ref()?.upgrade());
        if let Some(news) = news {
            news.go_on();
        }
    }

    /// Closes the transport of a session: its websocket ends, polls are answered that it is unknown.
    pub fn close(&self, id: &str, opened_with: Option<&Wire>) {
        self.closed.lock().insert(id.into(), Instant::now());
        self.closing.notify_waiters();
        let upgraded = self.sessions.lock().get(id).and_then(|carried| carried.websocket.as_ref()?.upgrade());
        for wire in upgraded.iter().chain(opened_with) {
            wire.end();
        }
    }

    pub fn is_closed(&self, id: &str) -> bool {
        self.closed.lock().contains_key(id)
    }

    /// Resolves once the transport of the session was closed.
    pub async fn closed(&self, id: &str) {
        loop {
            let closing = self.closing.notified();
            tokio::pin!(closing);
            closing.as_mut().enable();
            if self.is_closed(id) {
                return;
            }
            closing.await;
        }
    }

    /// Forgets connections that have ended, and sessions that the engine has forgotten.
    pub fn clean(&self) {
        self.sessions.lock().retain(|_, carried| carried.is_alive());
        self.closed.lock().retain(|_, since| since.elapsed() < self.memory);
    }
}
