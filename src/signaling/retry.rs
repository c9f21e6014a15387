//! What was said is never refused: while the store fails, hang-ups of phones and words of Laravel wait here, in order per
//! call.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

use super::{BackendWord, Failure, Node};
use crate::call::{CallId, Command, UserId};
use crate::sabotage::{self, Bug};
use crate::telemetry::metrics;

/// Retried for this long.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// Bound of the queue; beyond it the oldest is dropped, counted and named.
const CAPACITY: usize = 10_000;

/// Calls whose words are tried at the same time.
const AT_ONCE: usize = 64;

#[derive(Default)]
pub(super) struct RetryQueue(Mutex<VecDeque<Waiting>>, AtomicU64);

/// Something that is still to be done about a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Owed {
    Command(Command),
    Word(BackendWord),
    /// The initiate with this nonce was answered as unavailable: if its call was written after all, nobody calls.
    Withdrawal {
        caller: UserId,
        nonce: u64,
    },
}

#[derive(Clone)]
struct Waiting {
    number: u64,
    id: CallId,
    owed: Owed,
    since: Duration,
    /// Whoever said it is still at it.
    in_hand: bool,
}

/// The turn of something that whoever said it is still at: what is said of the same call meanwhile comes after it. Dropped
/// before it is over, it is tried again.
pub(super) struct Turn {
    node: Arc<Node>,
    number: u64,
}

impl Turn {
    pub fn finish(self) {
        self.node.retries.remove(self.number);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.node.retries.put_down(self.number);
    }
}

impl RetryQueue {
    /// Returns the number of its place.
    fn push(&self, id: CallId, owed: Owed, since: Duration, in_hand: bool) -> u64 {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        if sabotage::is_on(Bug::ForgetQueue) {
            return number;
        }
        let mut queue = self.0.lock();
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
        let queue = self.0.lock();
        queue.iter().any(|waiting| waiting.id == *id && !matches!(waiting.owed, Owed::Withdrawal { .. }))
    }

    /// Its caller dials once more: what he was told of the first attempt no longer counts.
    pub fn dials_again(&self, id: &CallId, by: &UserId) {
        self.0.lock().retain(|waiting| {
            let Owed::Withdrawal { caller, .. } = &waiting.owed else { return true };
            waiting.id != *id || caller != by
        });
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// What waits, by call, in the order in which it was said. It stays there until it is done, so that nothing of the same
    /// call overtakes it.
    fn by_call(&self) -> Vec<Vec<Waiting>> {
        let mut calls: HashMap<CallId, Vec<Waiting>> = HashMap::new();
        for waiting in self.0.lock().iter() {
            calls.entry(waiting.id.clone()).or_default().push(waiting.clone());
        }
        calls.into_values().collect()
    }

    /// False where it was dropped meanwhile.
    fn remove(&self, number: u64) -> bool {
        let mut queue = self.0.lock();
        let place = queue.iter().position(|waiting| waiting.number == number);
        place.and_then(|place| queue.remove(place)).is_some()
    }

    fn put_down(&self, number: u64) {
        if let Some(waiting) = self.0.lock().iter_mut().find(|waiting| waiting.number == number) {
            waiting.in_hand = false;
        }
    }
}

fn give_up(waiting: &Waiting, why: &str) {
    metrics::verdict_dropped();
    tracing::error!(call = %waiting.id, reason = why, "what was said of a call is given up");
}

impl Node {
    /// Keeps what could not be done now.
    pub(super) fn owe(&self, id: &CallId, owed: Owed) {
        self.retries.push(id.clone(), owed, self.node.clock.elapsed(), false);
    }

    /// What is being done and takes its time has its place in the order.
    pub(super) fn takes_its_turn(self: &Arc<Self>, id: &CallId, owed: Owed) -> Turn {
        let number = self.retries.push(id.clone(), owed, self.node.clock.elapsed(), true);
        Turn { node: Arc::clone(self), number }
    }

    pub(super) async fn retry_words(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PAUSE).await;
            metrics::waiting_verdicts(self.retries.len());
            if self.retries.len() == 0 || self.store.reached().await.is_err() {
                continue;
            }
            // One call that can't be decided yet keeps no other waiting.
            let calls = stream::iter(self.retries.by_call());
            calls.for_each_concurrent(AT_ONCE, |of_call| self.pay_in_order(of_call)).await;
        }
    }

    async fn pay_in_order(self: &Arc<Self>, mut of_call: Vec<Waiting>) {
        // What its caller said of the call since he was refused is how it ends.
        of_call.sort_by_key(|waiting| matches!(waiting.owed, Owed::Withdrawal { .. }));
        for waiting in of_call {
            if waiting.in_hand {
                return;
            }
            // Refused or unknown is an answer too; only a failing store keeps it waiting.
            let failed = matches!(self.pay(&waiting.id, &waiting.owed).await, Err(Failure::Unavailable));
            let is_old = self.node.since(waiting.since) > PATIENCE;
            if failed && !is_old {
                return;
            }
            if self.retries.remove(waiting.number) && failed {
                give_up(&waiting, "the store failed for 60 s");
            }
        }
    }

    async fn pay(self: &Arc<Self>, id: &CallId, owed: &Owed) -> Result<(), Failure> {
        match owed {
            Owed::Command(command) => self.judge_again(id, command).await.map(drop),
            Owed::Word(word) => self.obey(id, word).await.map(drop),
            Owed::Withdrawal { nonce, .. } => self.withdraw(id, *nonce).await,
        }
    }

    /// Cancels a call that its caller was refused, if it exists after all and nobody dialled it once more. The backend did
    /// not say so and is not told: it knows of the ring.
    async fn withdraw(self: &Arc<Self>, id: &CallId, nonce: u64) -> Result<(), Failure> {
        match self.transition(id, &Command::Withdraw { nonce }).await {
            Err(Failure::NotFound) if self.may_have_lost().await => Err(Failure::Unavailable),
            Err(Failure::Unavailable) => Err(Failure::Unavailable),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Waits until nothing waits any more, for `patience` at most: a node that stops takes nothing with it that can
    /// still be done.
    pub(super) async fn finish_words(&self, patience: Duration) {
        let done = async {
            while self.retries.len() > 0 {
                tokio::time::sleep(PAUSE / 5).await;
            }
        };
        if tokio::time::timeout(patience, done).await.is_err() {
            let mut queue = self.retries.0.lock();
            queue.drain(..).for_each(|waiting| give_up(&waiting, "the node stops and the store fails"));
        }
    }
}
