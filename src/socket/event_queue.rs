use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socketioxide::extract::AckSender;

use super::Caller;
use crate::signaling::Session;
use crate::telemetry::metrics::Departure;

/// Events of one phone that wait for their turn; beyond it they are refused.
const WAITING_LIMIT: usize = 64;
/// A hang-up finds a place all the same.
const PLACES_FOR_HANG_UPS: usize = 64;
/// And so does what is about a call, behind what its parties say to each other.
const PLACES_FOR_CALLS: usize = 32;

/// Which places there are for an event.
#[derive(Clone, Copy)]
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
        let places = match incoming.places {
            Places::HangUp => WAITING_LIMIT + PLACES_FOR_CALLS + PLACES_FOR_HANG_UPS,
            Places::Event => WAITING_LIMIT + PLACES_FOR_CALLS,
            Places::Message => WAITING_LIMIT,
        };
        if state.waiting.len() >= places {
            return Err(incoming);
        }
        state.waiting.push_back(incoming);
        Ok(state.start_draining())
    }

    /// The next event, or the end of draining.
    pub fn pop(&self) -> Option<Incoming> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
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
