use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::news::News;
use super::transports::{EngineId, Transports};
use super::wire::{REFUSAL, WeakWire, Wire};

/// Between the packets of a poll.
pub const SEPARATOR: u8 = 0x1e;
/// How long a client has to hear that it was refused, or sent away, and to leave. A phone over polling has to come for it.
const TO_LEAVE: Duration = Duration::from_secs(5);
/// Sessions share so many wake-ups: with one for all, each transport that closes would wake every poll of the node.
const WAKE_UPS: usize = 256;

/// Which connection carries which session of the engine, as far as that can be told from requests.
pub struct Wires {
    sessions: Mutex<HashMap<Box<str>, Carried>>,
    /// Sessions whose transport was closed, and when: no request of theirs is served any more.
    closed: Mutex<HashMap<Box<str>, Instant>>,
    /// Sessions whose client is to leave.
    leaving: Mutex<HashMap<Box<str>, Leaving>>,
    closing: Box<[Notify]>,
    transports: Arc<Transports>,
    /// Longer than the engine keeps a session that answers no ping.
    memory: Duration,
}

struct Leaving {
    why: Why,
    since: Instant,
    opened_with: Option<WeakWire>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its CONNECT was refused: the transport is closed as soon as the client has heard it.
    Refused,
    /// It was told so by a disconnect packet. A client that obeys closes its transport itself.
    SentAway,
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
        Self {
            sessions: Mutex::default(),
            closed: Mutex::default(),
            leaving: Mutex::default(),
            closing: (0..WAKE_UPS).map(|_| Notify::new()).collect(),
            transports: Arc::default(),
            memory,
        }
    }

    /// The engine's transports, which this is about.
    pub fn transports(&self) -> &Arc<Transports> {
        &self.transports
    }

    /// How many sessions something is stored for.
    pub fn stored(&self) -> usize {
        self.sessions.lock().len() + self.closed.lock().len() + self.leaving.lock().len()
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
        self.closing_of(id).notify_waiters();
        let upgraded = self.sessions.lock().get(id).and_then(|carried| carried.websocket.as_ref()?.upgrade());
        for wire in upgraded.iter().chain(opened_with) {
            wire.end();
        }
    }

    /// The transport of the session ends with the CONNECT_ERROR that is said next, or soon where nobody comes for it.
    pub(super) fn refuse(&self, id: &str, opened_with: Option<&Wire>) {
        if self.is_closed(id) {
            return;
        }
        self.leaves(id, Why::Refused, opened_with);
        let upgraded = self.sessions.lock().get(id).and_then(|carried| carried.websocket.as_ref()?.upgrade());
        for wire in upgraded.iter().chain(opened_with) {
            wire.end_after_a_refusal();
        }
    }

    /// A disconnect packet was queued for the session: its transport ends soon, whether its client obeys or not.
    pub(super) fn sent_away(&self, id: &str, opened_with: Option<&Wire>) {
        if !self.is_closed(id) {
            self.leaves(id, Why::SentAway, opened_with);
        }
    }

    fn leaves(&self, id: &str, why: Why, opened_with: Option<&Wire>) {
        let leaving = || Leaving { why, since: Instant::now(), opened_with: opened_with.map(Wire::downgrade) };
        self.leaving.lock().entry(id.into()).or_insert_with(leaving);
    }

    pub fn was_refused(&self, id: &str) -> bool {
        self.leaving.lock().get(id).is_some_and(|leaving| leaving.why == Why::Refused)
    }

    /// A poll takes this to the client; closes the transport of a session whose CONNECT was refused when that is in it.
    pub fn heard(&self, id: &str, packets: &[u8]) {
        if self.was_refused(id) && packets.split(|byte| *byte == SEPARATOR).any(|packet| packet.starts_with(REFUSAL)) {
            self.close(id, None);
        }
    }

    pub fn is_closed(&self, id: &str) -> bool {
        self.closed.lock().contains_key(id)
    }

    /// Resolves once the transport of the session was closed.
    pub async fn closed(&self, id: &str) {
        loop {
            let closing = self.closing_of(id).notified();
            tokio::pin!(closing);
            closing.as_mut().enable();
            if self.is_closed(id) {
                return;
            }
            closing.await;
        }
    }

    fn closing_of(&self, id: &str) -> &Notify {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        &self.closing[hash as usize % WAKE_UPS]
    }

    /// Forgets connections that have ended, and sessions that the engine has forgotten.
    pub fn clean(&self) {
        self.sessions.lock().retain(|_, carried| carried.is_alive());
        let late: Vec<(Box<str>, Option<Wire>)> = {
            let leaving = self.leaving.lock();
            let late = leaving.iter().filter(|(_, leaving)| leaving.since.elapsed() >= TO_LEAVE);
            late.map(|(id, leaving)| (id.clone(), leaving.opened_with.as_ref().and_then(WeakWire::upgrade))).collect()
        };
        for (id, opened_with) in late.iter().filter(|(id, _)| !self.is_closed(id)) {
            self.close(id, opened_with.as_ref());
        }
        let is_live = |id: &str| EngineId::parse(id).is_some_and(|id| self.transports.is_live(id));
        self.closed.lock().retain(|id, since| since.elapsed() < self.memory && is_live(id));
        self.leaving.lock().retain(|id, leaving| {
            let has_wire = leaving.opened_with.as_ref().is_some_and(|wire| wire.upgrade().is_some());
            leaving.since.elapsed() < self.memory && (has_wire || is_live(id))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_transport_that_closes_wakes_few_polls_of_others() {
        let wires = Wires::new(Duration::ZERO);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let ids: Vec<String> = (0..1_000).map(|number| format!("i{number}")).collect();
        let mut polls: Vec<_> = ids.iter().map(|id| Box::pin(wires.closed(id))).collect();
        for poll in &mut polls {
            assert!(poll.as_mut().poll(&mut context).is_pending());
        }

        wires.close("other", None);
        let woken = wakes.0.load(Ordering::Relaxed);
        assert!(woken <= 20, "{woken} of 1,000 polls were woken");

        wires.close("i7", None);
        assert!(wakes.0.load(Ordering::Relaxed) > woken, "the poll of the session was not woken");
        for (id, poll) in ids.iter().zip(&mut polls) {
            assert_eq!(poll.as_mut().poll(&mut context).is_ready(), id == "i7", "{id}");
        }
    }
}
