use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socketioxide::extract::AckSender;

use super::Caller;
use crate::signaling::Session;
use crate::telemetry::metrics::Departure;
use crate::wire::command_alone;

/// No event of the contract comes near this; what is larger is not even parsed, but for a hang-up.
const EVENT_LIMIT: usize = 16 * 1024;
/// Of a larger hang-up only what decides waits: below 4 KiB.
const HANG_UP_LIMIT: usize = 2 * 1024;

/// Events of one phone that wait for their turn, and their bytes; beyond it they are refused.
const WAITING_LIMIT: usize = 64;
const WAITING_BYTES: usize = 96 * 1024;
/// A hang-up finds a place all the same, however large those before it.
const PLACES_FOR_HANG_UPS: usize = 64;
const BYTES_FOR_HANG_UPS: usize = PLACES_FOR_HANG_UPS * 4 * 1024;
/// And so does what is about a call, behind what its parties say to each other.
const PLACES_FOR_CALLS: usize = 32;
const BYTES_FOR_CALLS: usize = 32 * 1024;

/// Which places there are for an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Places {
    HangUp,
    Event,
    Message,
}

impl Places {
    pub fn of(hangs_up: bool, is_message: bool) -> Self {
        match (hangs_up, is_message) {
            (true, _) => Places::HangUp,
            (false, true) => Places::Message,
            (false, false) => Places::Event,
        }
    }

    /// How many events may wait with this one, and how many bytes.
    fn room(self) -> (usize, usize) {
        let (calls, bytes) = (WAITING_LIMIT + PLACES_FOR_CALLS, WAITING_BYTES + BYTES_FOR_CALLS);
        match self {
            Places::HangUp => (calls + PLACES_FOR_HANG_UPS, bytes + BYTES_FOR_HANG_UPS),
            Places::Event => (calls, bytes),
            Places::Message => (WAITING_LIMIT, WAITING_BYTES),
        }
    }

    /// What waits of an event's text; absent where it is too large.
    pub fn kept(self, text: &str) -> Option<String> {
        match (self, text.len()) {
            (Places::HangUp, ..=HANG_UP_LIMIT) | (Places::Event | Places::Message, ..=EVENT_LIMIT) => {
                Some(text.to_owned())
            }
            // What can't be read is refused in its turn: an empty text can't be either.
            (Places::HangUp, ..=EVENT_LIMIT) => Some(command_alone(text).unwrap_or_default()),
            (Places::HangUp, _) => command_alone(text),
            (Places::Event | Places::Message, _) => None,
        }
    }
}

/// One event as it came in.
pub(super) struct Incoming {
    /// The text of the packet's JSON array.
    pub text: String,
    pub ack: Option<AckSender>,
    /// On the clock that only runs forward.
    pub arrived: Duration,
    pub places: Places,
}

/// A socket's events in order: handlers of the library run concurrently, those of one phone must not. No task sits
/// here while nothing happens.
pub(super) struct EventQueue {
    pub caller: Caller,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    waiting: VecDeque<Incoming>,
    /// Of the texts that wait.
    bytes: usize,
    draining: bool,
}

#[derive(Default)]
enum Phase {
    /// Authenticated, not yet part of the cluster.
    #[default]
    Connecting,
    Live(Arc<Session>),
    Gone(Departure),
}

impl EventQueue {
    pub fn new(caller: Caller) -> Self {
        Self { caller, state: Mutex::default() }
    }

    /// Queues an event. `Ok(Some)`: the caller is to drain for this session. `Err`: the queue is full.
    pub fn push(&self, incoming: Incoming) -> Result<Option<Arc<Session>>, Incoming> {
        let mut state = self.state.lock();
        let (places, bytes) = incoming.places.room();
        let held = state.bytes + incoming.text.len();
        if state.waiting.len() >= places || held > bytes {
            return Err(incoming);
        }
        state.bytes = held;
        state.waiting.push_back(incoming);
        Ok(state.start_draining())
    }

    /// The next event, or the end of draining.
    pub fn pop(&self) -> Option<Incoming> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        state.bytes -= next.as_ref().map_or(0, |next| next.text.len());
        state.draining = next.is_some();
        next
    }

    /// Opens the queue. Whether events came meanwhile and the caller is to drain, and why the socket is gone, if it is: who
    /// hangs up and closes the app at once has said so all the same.
    pub fn open(&self, session: &Arc<Session>) -> (bool, Option<Departure>) {
        let mut state = self.state.lock();
        let gone = match state.phase {
            Phase::Gone(cause) => Some(cause),
            Phase::Connecting | Phase::Live(_) => None,
        };
        if gone.is_none() {
            state.phase = Phase::Live(Arc::clone(session));
        }
        state.draining = !state.waiting.is_empty();
        (state.draining, gone)
    }

    /// Closes the queue; events that wait are still handled. Returns the session, once.
    pub fn close(&self, cause: Departure) -> Option<Arc<Session>> {
        match std::mem::replace(&mut self.state.lock().phase, Phase::Gone(cause)) {
            Phase::Live(session) => Some(session),
            Phase::Connecting | Phase::Gone(_) => None,
        }
    }
}

impl State {
    fn start_draining(&mut self) -> Option<Arc<Session>> {
        match &self.phase {
            Phase::Live(session) if !self.draining && !self.waiting.is_empty() => {
                self.draining = true;
                Some(Arc::clone(session))
            }
            Phase::Live(_) | Phase::Connecting | Phase::Gone(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::{Device, UserId};

    fn queue() -> EventQueue {
        EventQueue::new(Caller {
            user: UserId::parse("ana").unwrap(),
            name: "Ana".into(),
            device: Device::Unnamed,
            acks: false,
            token: None,
            sealed: None,
            bearer: None,
        })
    }

    /// How many of these find a place.
    fn taken(queue: &EventQueue, places: Places, text: &str) -> usize {
        let incoming = || {
            let text = places.kept(text).expect("it is not too large");
            Incoming { text, ack: None, arrived: Duration::ZERO, places }
        };
        (0..1000).take_while(|_| queue.push(incoming()).is_ok()).count()
    }

    fn waiting(queue: &EventQueue) -> (usize, usize) {
        let state = queue.state.lock();
        assert_eq!(state.bytes, state.waiting.iter().map(|incoming| incoming.text.len()).sum::<usize>());
        (state.waiting.len(), state.bytes)
    }

    fn hang_up(reason: &str) -> String {
        json!(["call:end", {"callId": "1", "reason": reason}]).to_string()
    }

    #[test]
    fn what_waits_is_bounded_in_number() {
        let queue = queue();
        assert_eq!(taken(&queue, Places::Message, "[]"), 64);
        assert_eq!(taken(&queue, Places::Event, "[]"), 32);
        assert_eq!(taken(&queue, Places::HangUp, &hang_up("x")), 64);
        while queue.pop().is_some() {}
        assert_eq!(waiting(&queue), (0, 0));
        assert_eq!(taken(&queue, Places::HangUp, &hang_up("x")), 160);
    }

    /// The largest events, and hang-ups of which as much is kept as of any.
    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let (queue, large) = (queue(), " ".repeat(EVENT_LIMIT));
        assert_eq!(taken(&queue, Places::Message, &large), 6);
        assert_eq!(taken(&queue, Places::Event, &large), 2, "messages leave room to what is about a call");
        assert_eq!(waiting(&queue).1, 128 * 1024);
        let odd = "\u{0}".repeat(2000);
        let largest = json!([format!("call:end{odd}"), {"callId": odd, "reason": odd}]).to_string();
        assert!(taken(&queue, Places::HangUp, &largest) >= 64, "a hang-up finds its place");
        assert_eq!(taken(&queue, Places::Event, "[]"), 0);
        assert!(waiting(&queue).1 <= 384 * 1024);
        for _ in 0..8 {
            queue.pop();
        }
        waiting(&queue);
        while queue.pop().is_some() {}
        assert_eq!((waiting(&queue), taken(&queue, Places::Message, &large)), ((0, 0), 6));
    }

    #[test]
    fn of_a_large_hang_up_waits_what_decides() {
        for size in [HANG_UP_LIMIT, EVENT_LIMIT, 1_000_000] {
            let kept = Places::HangUp.kept(&hang_up(&"x".repeat(size)));
            assert_eq!(kept, Some(hang_up(&"x".repeat(200))), "of {size} bytes");
        }
        let small = hang_up(&"x".repeat(1000));
        assert_eq!(Places::HangUp.kept(&small), Some(small.clone()));
        let broken = format!(r#"["call:end",{}"#, " ".repeat(HANG_UP_LIMIT));
        assert_eq!(Places::HangUp.kept(&broken), Some(String::new()), "refused in its turn");
        for places in [Places::HangUp, Places::Event, Places::Message] {
            assert_eq!(places.kept(&" ".repeat(EVENT_LIMIT + 1)), None, "{places:?}");
        }
    }
}
