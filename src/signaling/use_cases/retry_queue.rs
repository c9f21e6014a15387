//! No command is refused because the store fails: hang-ups of phones and commands of Laravel wait here, in order per
//! call.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::BackendCommand;
use crate::call::{CallId, Command, UserId};
use crate::fault_injection::{self, Bug};
use crate::signaling::node::NodeContext;
use crate::telemetry::metrics;

/// Bound of the queue; beyond it the oldest is dropped, counted and named.
const CAPACITY: usize = 10_000;

/// What waits, in order per call.
pub struct RetryQueue {
    node: Arc<NodeContext>,
    waiting: Mutex<VecDeque<Waiting>>,
    numbers: AtomicU64,
}

/// Something that is still to be done about a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Owed {
    Command(Command),
    Backend(BackendCommand),
    /// The initiate with this nonce was answered as unavailable: if its call was written after all, nobody calls.
    Withdrawal {
        caller: UserId,
        nonce: u64,
    },
}

#[derive(Clone)]
pub struct Waiting {
    pub number: u64,
    pub id: CallId,
    pub owed: Owed,
    pub since: Duration,
    /// Whoever said it is still at it.
    pub in_hand: bool,
}

/// The turn of something that whoever said it is still at: what is said of the same call meanwhile comes after it. Dropped
/// before it is over, it is tried again.
pub struct Turn {
    queue: Arc<RetryQueue>,
    number: u64,
}

impl Turn {
    pub fn finish(self) {
        self.queue.remove(self.number);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.put_down(self.number);
    }
}

impl RetryQueue {
    pub fn new(node: Arc<NodeContext>) -> Self {
        Self { node, waiting: Mutex::default(), numbers: AtomicU64::new(0) }
    }

    /// Keeps what could not be done now.
    pub fn owe(&self, id: &CallId, owed: Owed) {
        self.push(id.clone(), owed, self.node.clock.elapsed(), false);
    }

    /// What is being done and takes its time has its place in the order.
    pub fn takes_its_turn(self: &Arc<Self>, id: &CallId, owed: Owed) -> Turn {
        let number = self.push(id.clone(), owed, self.node.clock.elapsed(), true);
        Turn { queue: Arc::clone(self), number }
    }

    /// Returns the number of its place.
    fn push(&self, id: CallId, owed: Owed, since: Duration, in_hand: bool) -> u64 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        if fault_injection::is_on(Bug::ForgetQueue) {
            return number;
        }
        let mut queue = self.waiting.lock();
        // Said again while it waits: it is to be done once, and not to wait for its own repeats.
        if let Some(same) = queue.iter().find(|waiting| waiting.id == id && waiting.owed == owed) {
            return same.number;
        }
        if queue.len() >= CAPACITY {
            // A ring too many ends by its deadline; a hang-up has nothing behind it.
            let least = queue.iter().position(|waiting| matches!(waiting.owed, Owed::Withdrawal { .. })).unwrap_or(0);
            if let Some(dropped) = queue.remove(least) {
                give_up(&dropped, "too many wait");
            }
        }
        queue.push_back(Waiting { number, id, owed, since, in_hand });
        number
    }

    /// Whether something that was said of this call waits.
    pub fn holds(&self, id: &CallId) -> bool {
        let queue = self.waiting.lock();
        queue.iter().any(|waiting| waiting.id == *id && !matches!(waiting.owed, Owed::Withdrawal { .. }))
    }

    /// Its caller dials once more: what he was told of earlier attempts does not count while he does. Returns their nonces:
    /// where he is refused again, their withdrawals are owed as before.
    pub fn dials_again(&self, id: &CallId, by: &UserId) -> Vec<u64> {
        let mut refused = Vec::new();
        self.waiting.lock().retain(|waiting| match &waiting.owed {
            Owed::Withdrawal { caller, nonce } if waiting.id == *id && caller == by => {
                refused.push(*nonce);
                false
            }
            Owed::Withdrawal { .. } | Owed::Command(_) | Owed::Backend(_) => true,
        });
        refused
    }

    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// What waits, by call, in the order in which it was said. It stays there until it is done, so that nothing of the same
    /// call overtakes it.
    pub fn by_call(&self) -> Vec<Vec<Waiting>> {
        let mut calls: HashMap<CallId, Vec<Waiting>> = HashMap::new();
        for waiting in self.waiting.lock().iter() {
            calls.entry(waiting.id.clone()).or_default().push(waiting.clone());
        }
        calls.into_values().collect()
    }

    /// The node stops.
    pub fn give_up_all(&self, why: &str) {
        self.waiting.lock().drain(..).for_each(|waiting| give_up(&waiting, why));
    }

    /// False where it was dropped meanwhile.
    pub fn remove(&self, number: u64) -> bool {
        let mut queue = self.waiting.lock();
        let place = queue.iter().position(|waiting| waiting.number == number);
        place.and_then(|place| queue.remove(place)).is_some()
    }

    fn put_down(&self, number: u64) {
        if let Some(waiting) = self.waiting.lock().iter_mut().find(|waiting| waiting.number == number) {
            waiting.in_hand = false;
        }
    }
}

pub fn give_up(waiting: &Waiting, why: &str) {
    metrics::command_dropped();
    tracing::error!(call = %waiting.id, reason = why, "what was said of a call is given up");
}
