//! What waits to be told to the backend, at least once: written in the same step as the change of the call that it is
//! about, delivered by any node under a lease.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::StoreError;
use crate::call::{CallId, Timestamp};

/// Each queue is claimed and retried on its own. No `Other`: a queue that is not known is claimed by nodes that know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Webhooks: those of one call one after the other.
    Events,
    /// Webhooks that wake a phone: they wait for nobody.
    Pushes,
    /// Requests to an unmodified backend.
    Callbacks,
}

impl Queue {
    pub const ALL: [Queue; 3] = [Queue::Events, Queue::Pushes, Queue::Callbacks];

    pub fn name(self) -> &'static str {
        match self {
            Queue::Events => "events",
            Queue::Pushes => "pushes",
            Queue::Callbacks => "callbacks",
        }
    }
}

/// Something to be told. Never changed once it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// The same on every attempt; a message whose id waits already is not appended again.
    pub id: String,
    pub queue: Queue,
    /// Absent for what is about no call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    pub at: Timestamp,
    /// Not sent before.
    pub due: Timestamp,
    /// Not sent after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    pub body: String,
}

impl OutboxMessage {
    /// The call whose messages are sent one after the other.
    pub(super) fn chain(&self) -> Option<&CallId> {
        self.call.as_ref().filter(|_| self.queue == Queue::Events)
    }
}

/// A message under lease: nobody else is given it before the lease ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub message: OutboxMessage,
    /// Attempts so far that failed.
    pub attempts: u32,
    /// Proves whose lease it is.
    pub(super) token: String,
    /// What is leased: a call's chain, or the message alone.
    pub(super) member: String,
}

impl Claim {
    /// A claim that was never made, for tests.
    #[cfg(test)]
    pub fn of(message: OutboxMessage, attempts: u32) -> Self {
        Self { member: String::new(), token: String::new(), message, attempts }
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// It need not be sent again. The next message of the same call is handed out under the same lease, prolonged.
    Done { lease: Duration },
    /// Tried again later; the messages of its call behind it wait.
    Later { at: Timestamp, attempts: u32 },
    /// Tried again later by itself; the messages of its call no longer wait for it.
    Apart { at: Timestamp, attempts: u32 },
    /// Given up, kept to be looked at and replayed.
    Dead { error: String, attempts: u32 },
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub message: OutboxMessage,
    pub died_at: Timestamp,
    pub attempts: u32,
    pub error: String,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Id(String),
    Call(CallId),
    /// Those that died at this time or later.
    Since(Timestamp),
}

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub messages: u64,
    /// There may be more that were meant: ask again.
    pub more: bool,
}

/// Messages replayed by one request: nobody waits for more than some seconds, and calls hardly notice.
pub const REPLAYED_AT_ONCE: u64 = 10_000;

/// The outbox at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that wait or are on their way.
    pub waiting: u64,
    pub bytes: u64,
    pub dead: u64,
    /// When the oldest that waits was written.
    pub oldest: Option<Timestamp>,
    /// Dropped because the outbox was full, ever.
    pub dropped: u64,
}

/// Beyond either, the oldest are dropped, dead ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBounds {
    pub messages: u64,
    pub bytes: u64,
}

impl Default for OutboxBounds {
    fn default() -> Self {
        Self { messages: 1_000_000, bytes: 1 << 30 }
    }
}

/// Wakes whoever delivers on this node, by queue.
#[derive(Clone, Debug)]
pub struct WakeUp(Arc<[watch::Sender<u64>; 3]>);

impl Default for WakeUp {
    fn default() -> Self {
        Self(Arc::new(Queue::ALL.map(|_| watch::Sender::new(0))))
    }
}

impl WakeUp {
    pub fn signal(&self, messages: &[OutboxMessage]) {
        for queue in Queue::ALL.into_iter().filter(|queue| messages.iter().any(|message| message.queue == *queue)) {
            self.0[queue as usize].send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    pub fn listen(&self, queue: Queue) -> watch::Receiver<u64> {
        self.0[queue as usize].subscribe()
    }
}

/// Messages of a call's change are appended by [`super::CallStore::create`] and [`super::CallStore::swap`].
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Appends messages that belong to no change of a call.
    async fn append(&self, messages: &[OutboxMessage]) -> Result<(), StoreError>;

    /// Leases up to `limit` messages of the queue that are due; of a call's chain only the first. What is not settled
    /// within `lease` is handed out again.
    async fn claim(
        &self,
        queue: Queue,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Claim>, StoreError>;

    /// Ends a claim. A claim whose lease went to somebody else changes nothing, but that what was delivered is gone.
    async fn settle(&self, claim: &Claim, settled: &Settled, now: Timestamp) -> Result<Option<Claim>, StoreError>;

    /// Makes all that waits for a later attempt due: the receiver is back.
    async fn hurry(&self, queue: Queue, now: Timestamp) -> Result<(), StoreError>;

    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// The newest dead letters, newest first.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;

    /// Sends dead letters again, from the first attempt on, [`REPLAYED_AT_ONCE`] at most.
    async fn replay(&self, which: &Which, now: Timestamp) -> Result<Replayed, StoreError>;

    /// Forgets messages that died before `before`, drops what is beyond the bounds, and makes dead letters of nodes of
    /// an older version known by their calls; of each some at most. Returns how many were forgotten or dropped.
    async fn bury(&self, before: Timestamp, now: Timestamp) -> Result<u64, StoreError>;

    /// Remembers that the receiver of this name wants nothing more; none: it wants again.
    async fn switch_off(&self, receiver: Option<&str>) -> Result<(), StoreError>;

    /// The receiver that wants nothing more.
    async fn switched_off(&self) -> Result<Option<String>, StoreError>;
}
