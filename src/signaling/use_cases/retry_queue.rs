//! No command is refused because the store fails: hang-ups of phones and commands of Laravel wait here, in order per
//! call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::owed::{Dropped, OwedList};
pub use super::owed::{Owed, Waiting};
use crate::call::{CallId, UserId};
use crate::fault_injection::{self, Bug};
use crate::signaling::node::NodeContext;
use crate::telemetry::metrics::{self, Limit};

/// What waits, in order per call.
pub struct RetryQueue {
    node: Arc<NodeContext>,
    waiting: Mutex<OwedList>,
    numbers: AtomicU64,
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
        self.push(id.clone(), owed, self.node.said(), false);
    }

    /// What is being done and takes its time has its place in the order.
    pub fn takes_its_turn(self: &Arc<Self>, id: &CallId, owed: Owed) -> Turn {
        let number = self.push(id.clone(), owed, self.node.said(), true);
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
        let dropped = queue.push(Waiting { number, id, owed, since, in_hand });
        drop(queue);
        match dropped {
            Some(Dropped::TooMany(dropped)) => give_up(&dropped, "too many wait"),
            // Not an error for each of them: who says so much shall not fill the log either.
            Some(Dropped::TooManyOfAUser(dropped)) => {
                metrics::limited(Limit::WaitingWords);
                tracing::debug!(call = %dropped.id, "too many words of one user wait, his oldest is given up");
            }
            None => {}
        }
        number
    }

    /// Whether something that was said of this call waits.
    pub fn holds(&self, id: &CallId) -> bool {
        let queue = self.waiting.lock();
        queue.iter().any(|waiting| waiting.id == *id && !waiting.owed.is_withdrawal())
    }

    /// Its caller dials once more: what he was told of earlier attempts does not count while he does. Returns their nonces:
    /// where he is refused again, their withdrawals are owed as before.
    pub fn dials_again(&self, id: &CallId, by: &UserId) -> Vec<u64> {
        let is_refused = |waiting: &Waiting| matches!(&waiting.owed, Owed::Withdrawal { caller, .. } if waiting.id == *id && caller == by);
        let refused = self.waiting.lock().take(is_refused);
        let nonce_of = |waiting: Waiting| match waiting.owed {
            Owed::Withdrawal { nonce, .. } => Some(nonce),
            Owed::Command(_) | Owed::Backend(_) => None,
        };
        refused.into_iter().filter_map(nonce_of).collect()
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
        self.waiting.lock().take(|_| true).iter().for_each(|waiting| give_up(waiting, why));
    }

    /// Gives up what has waited for longer, but for what somebody is still at.
    pub fn give_up_after(&self, patience: Duration, why: &str) {
        let is_old = |waiting: &Waiting| !waiting.in_hand && self.node.since(waiting.since) > patience;
        let old = self.waiting.lock().take(is_old);
        old.iter().for_each(|waiting| give_up(waiting, why));
    }

    /// False where it was dropped meanwhile.
    pub fn remove(&self, number: u64) -> bool {
        self.waiting.lock().remove(number)
    }

    fn put_down(&self, number: u64) {
        self.waiting.lock().put_down(number);
    }
}

pub fn give_up(waiting: &Waiting, why: &str) {
    metrics::command_dropped();
    tracing::error!(call = %waiting.id, reason = why, "what was said of a call is given up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Actor, Command, NodeId, Timestamp};
    use crate::clock::Clock;
    use crate::signaling::Policy;

    fn queue() -> Arc<RetryQueue> {
        let (traces, tasks, stop) = Default::default();
        let (clock, id) = (Clock::manual(Timestamp::from_millis(1_000_000)), NodeId::parse("n1").unwrap());
        let node = NodeContext { id, clock, policy: Policy::for_tests(), traces, tasks, stop };
        Arc::new(RetryQueue::new(Arc::new(node)))
    }

    fn call(number: usize) -> CallId {
        CallId::parse(&format!("call{number}")).unwrap()
    }

    fn end(user: &str) -> Owed {
        Owed::Command(Command::End { by: Actor::over_http(&UserId::parse(user).unwrap(), None), reason: None })
    }

    /// Fails before: all had one queue, and the oldest in it went.
    #[test]
    fn a_hang_up_outlives_what_another_account_says() {
        let queue = queue();
        queue.owe(&call(0), end("ana"));
        (1..10_050).for_each(|number| queue.owe(&call(number), end("eve")));
        assert!(queue.holds(&call(0)) && queue.holds(&call(10_049)));
        assert!(!queue.holds(&call(1)) && queue.len() < 100, "{} wait", queue.len());
    }

    /// While the store is away nothing is tried, and what was made up would wait for ever.
    #[test]
    fn what_nobody_is_at_is_given_up_in_time() {
        let (queue, call) = (queue(), call(0));
        queue.owe(&call, end("ana"));
        let turn = queue.takes_its_turn(&call, end("bo"));
        queue.give_up_after(Duration::from_secs(3600), "too long");
        assert_eq!(queue.len(), 2);
        queue.give_up_after(Duration::ZERO, "too long");
        assert!(queue.len() == 1 && queue.holds(&call), "somebody is at it");
        drop(turn);
        queue.give_up_after(Duration::ZERO, "too long");
        assert_eq!(queue.len(), 0);
    }
}
