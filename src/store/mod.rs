//! What nodes share: call records with their lines and deadlines, sessions under node leases. Two backends keep the
//! same promises (`contract` is one suite for both): memory for one node, Redis for many.

mod counters;
mod error;
mod generation;
pub mod memory;
mod messages;
mod outbox;
pub mod redis;
mod ring_budget;
mod telling;
mod tokens;
mod vacate;
mod vouch;

#[cfg(test)]
pub mod contract;
#[cfg(test)]
mod foreign_contract;
#[cfg(test)]
mod outbox_contract;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::call::{Call, CallId, Device, EarlyCommand, Milestone, NodeId, SessionId, Timestamp, UserId, Version};
use crate::clock::{Shift, StoreTime};

pub use counters::{COUNTED_FOR, Counters};
pub use error::StoreError;
pub use generation::{Generation, RestoreReports, RestoreStage};
pub use messages::{
    KeptMessage, LastKept, MESSAGE_BYTES_KEPT, MESSAGE_IDS_KNOWN, MESSAGES_KEPT, Messages, NewMessage, Placed,
};
pub use outbox::{
    Backlog, Claim, DeadLetter, Outbox, OutboxBounds, OutboxMessage, Queue, REPLAYED_AT_ONCE, Replayed, Settled,
    WakeUp, Which,
};
pub use ring_budget::{RingBudget, RingLimit};
pub use telling::{Telling, Tells, Told};
pub use tokens::{KnownToken, TokenStore};
pub use vacate::Vacates;
pub use vouch::{Unvouched, Vouches};

/// What a lease is over: all outbox messages of a call that wait for each other, or one alone.
fn member_of(chain: Option<&CallId>, id: &str) -> String {
    chain.map_or_else(|| format!("r:{id}"), |call| format!("c:{call}"))
}

/// How long calls and early commands are kept, and how many rings are let in.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Live records outlive the maximum duration of a call by an hour.
    pub live: Duration,
    pub ended: Duration,
    pub early_command: Duration,
    /// How often a minute one caller may ring one callee; 0: no limit.
    pub rings_per_minute: u32,
    /// What one side of a call may say a minute, whatever nodes it says it to; 0: no limit.
    pub messages_per_minute: u32,
    /// For how long one caller may ring for nothing.
    pub ring_budget: RingBudget,
}

/// At most this many early commands of a user wait for their calls; the oldest goes first.
pub const EARLY_COMMANDS_PER_USER: usize = 10;
/// Outcomes listed in `session:ready`.
pub const OUTCOMES_PER_USER: usize = 5;

#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// As it was written: with its order.
    Created(Box<Call>),
    /// The id is taken; nothing was written.
    Exists(Box<Call>),
    /// Early commands wait for this call, others than the caller of `create` has seen; nothing was written.
    EarlyCommands(Vec<EarlyCommand>),
    /// The caller rang too much; nothing was written.
    TooManyRings { limit: RingLimit, wait: Duration },
    /// A line is taken by a live call that this version can't read, and so can't judge; nothing was written.
    Taken,
    /// A line is taken by a live call; nothing was written. `limited`: what would refuse the call on free lines, so that
    /// none is freed for it.
    Busy { caller: Option<Box<Call>>, callee: Option<Box<Call>>, limited: Option<(RingLimit, Duration)> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// False where the store had this version or a newer one.
    pub written: bool,
    /// It is live, and another live call has a line of it. Offered to whoever claims deadlines, too.
    pub without_line: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Swap {
    /// With the order of its end where the call ended by this, else with what the record had.
    Done { over: u64 },
    /// Another write won; this is what it wrote.
    Stale(Box<Call>),
    /// The record expired or was lost.
    Gone,
}

/// An ended call, as `session:ready` lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallOutcome {
    pub call_id: CallId,
    #[serde(rename = "spelled")]
    pub wire_id: String,
    pub reason: String,
    pub ended_at: Timestamp,
}

/// What a user who connects must know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReconnectSnapshot {
    /// The live call on his line.
    pub line: Option<Call>,
    /// What its parties said and was kept.
    pub kept: LastKept,
    /// There is one that this version can't read.
    pub taken: bool,
    /// His last ended calls, newest first.
    pub outcomes: Vec<CallOutcome>,
    /// The record of the newest outcome, while it is kept.
    pub last: Option<Call>,
    /// The newest order that was handed out: what ends from now on ends later than this read. 0 where it is unknown.
    pub order: u64,
}

#[async_trait]
pub trait CallStore: Counters + Messages + Tells + Vouches + Vacates {
    /// Writes a new call, gives it its order, claims both lines and indexes its deadline in one step; a call that is
    /// already over claims nothing and is listed as an outcome of its caller. `seen` are the early commands that `call`
    /// already obeys. After a lost reply the same call (same nonce) is answered `Exists` with itself. What is not written
    /// counts as no ring. A live call forgives what its callee owes its caller in ring time. `messages` are appended to the
    /// outbox and `milestones` to the call's timeline in the same step, if the call is written.
    async fn create(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        now: Timestamp,
    ) -> Result<Created, StoreError>;

    async fn load(&self, id: &CallId) -> Result<Option<Call>, StoreError>;

    /// Replaces the call if its stored version is still `seen`; in the same step indexes its next deadline, appends
    /// `messages` and `milestones`, and, when `next` has ended, releases both lines, lists both parties' outcome, and
    /// charges the caller for a ring that nobody answered.
    async fn swap(
        &self,
        next: &Call,
        seen: Version,
        messages: &[OutboxMessage],
        milestones: &[Milestone],
    ) -> Result<Swap, StoreError>;

    /// Appends to timelines, and changes neither record nor version; of a call that is not stored nothing is kept.
    async fn note(&self, notes: &[(CallId, Milestone)]) -> Result<(), StoreError>;

    /// The last [`MILESTONES`](crate::call::MILESTONES) of a call as they were appended, without those that a newer
    /// version wrote in another form. Kept for as long as the call.
    async fn timeline(&self, id: &CallId) -> Result<Vec<Milestone>, StoreError>;

    /// Versions of calls, in order, and what of their messages is kept; absent where there is no call.
    async fn versions(&self, ids: &[CallId]) -> Result<Vec<Option<(Version, LastKept)>>, StoreError>;

    /// The calls on the lines of many users, in one read; those that are over may still be named.
    async fn lines(&self, users: &[UserId]) -> Result<Vec<Option<CallId>>, StoreError>;

    /// The live call on a user's line. A line whose call is gone or over reads as free.
    async fn line(&self, user: &UserId) -> Result<Option<Call>, StoreError>;

    async fn reconnect_snapshot(&self, user: &UserId) -> Result<ReconnectSnapshot, StoreError>;

    /// Takes up to `limit` calls whose deadline passed before `due`; each is offered again after `lease` unless its
    /// deadline moved meanwhile.
    async fn claim_due(
        &self,
        due: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<CallId>, StoreError>;

    /// Keeps an early command for a call that does not exist yet, and returns the call where it does exist after all.
    async fn keep_early(&self, id: &CallId, early: &EarlyCommand, now: Timestamp) -> Result<Option<Call>, StoreError>;

    /// Remembers for `ttl` that nobody heard the end of `call` because `user` had no session.
    async fn leave_notice(&self, user: &UserId, call: &CallId, ttl: Duration) -> Result<(), StoreError>;

    /// Claims the notice for `claim`: one claimant gets it, the same one again after a lost reply. It is left there until
    /// it is dropped or expires.
    async fn claim_notice(&self, user: &UserId, claimant: u64, claim: Duration) -> Result<Option<CallId>, StoreError>;

    /// The notice was told.
    async fn drop_notice(&self, user: &UserId) -> Result<(), StoreError>;

    /// Which store this is; a change means that writes may be lost.
    async fn generation(&self) -> Result<Generation, StoreError>;

    /// From now on `create` and `swap` change nothing in a store of another name than this: what they write was decided on
    /// what this one held. `restore` changes nothing in one that was not asked which it is.
    fn decide_for(&self, generation: &Generation);

    /// Waits for the connection to the store, where it is being made again, as long as for a command.
    async fn reached(&self) -> Result<(), StoreError>;

    /// How often the connection to the store was made again. Until the generation was asked since, it may be another.
    fn connection(&self) -> u64;

    /// Writes a record as it stands where the store has none or one with a lower counter: record, deadline, outcome,
    /// and in the same step its outbox messages. One that is over does not come to life. A live call gets the lines
    /// that no other live call has, known or not.
    async fn restore(&self, call: &Call, messages: &[OutboxMessage]) -> Result<Restored, StoreError>;

    /// Notes that `node` has put back so much of what it holds after a loss, and reads what all nodes said of this life
    /// of the store.
    async fn report_restored(
        &self,
        generation: &Generation,
        node: &NodeId,
        done: RestoreStage,
    ) -> Result<RestoreReports, StoreError>;

    /// What all nodes said of this life of the store.
    async fn restore_reports(&self, generation: &Generation) -> Result<RestoreReports, StoreError>;

    /// Makes every order handed out from now on larger than `order`: what nodes have heard of counts though the store
    /// lost it. Returns the newest order of all.
    async fn raise_order(&self, order: u64) -> Result<u64, StoreError>;

    /// Live calls of the whole cluster.
    async fn live_calls(&self) -> Result<u64, StoreError>;
}

/// A live socket of a user, as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub id: SessionId,
    pub user: UserId,
    pub node: NodeId,
    /// The lease under which the node registered it.
    pub epoch: u64,
    #[serde(default)]
    pub device: Device,
    #[serde(default)]
    pub acks: bool,
    pub connected_at: Timestamp,
}

/// Sessions that are kept of one user, whoever registers them: no answer about him is longer. Far above what a node lets
/// him have for longer than a moment.
pub const SESSIONS_PER_USER: usize = 256;

/// So many say that a node has sessions of a user, also where one of them can't be read.
pub const SESSIONS_PER_HOLDER: usize = 4;

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// False where the user has [`SESSIONS_PER_USER`] others: nothing was written.
    pub written: bool,
    /// All of the user's, this one included if it was written.
    pub sessions: Vec<SessionRecord>,
    pub subscribers: Vec<NodeId>,
}

/// The place behind the last user of a page: his shard, and he himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub shard: u8,
    pub user: UserId,
}

/// A node's promise that it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub node: NodeId,
    pub epoch: u64,
    /// How other nodes reach it.
    pub address: String,
    /// Where it says whether it is ready; absent from an older node.
    #[serde(default)]
    pub probe: String,
    pub expires_at: Timestamp,
    #[serde(default)]
    pub sessions: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Renewal {
    /// What the store's clock said at the renewal; absent where it has none of its own.
    pub store_time: Option<StoreTime>,
    /// False when the lease had expired or was unknown: sessions are to be registered again under the new epoch.
    pub continued: bool,
    /// Every lease the store knows, expired ones included.
    pub leases: Vec<Lease>,
}

/// What a sweep claimed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Swept {
    pub sessions: Vec<SessionRecord>,
    /// Users of that node that are claimed, by whomever.
    pub claimed: usize,
}

#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Registers a session, if there is room for it, and returns all of the user's and the nodes that subscribed to the
    /// user.
    async fn register(&self, session: &SessionRecord) -> Result<Registered, StoreError>;

    /// Removes this session and no other. True where it was the user's last and nodes subscribed to the user.
    async fn unregister(&self, session: &SessionRecord) -> Result<bool, StoreError>;

    /// All sessions of a user, of dead nodes too: leases are the reader's to judge.
    async fn sessions(&self, user: &UserId) -> Result<Vec<SessionRecord>, StoreError>;

    /// Of each of many users, in order, at most [`SESSIONS_PER_HOLDER`] sessions for each node and epoch.
    async fn sessions_of(&self, users: &[UserId]) -> Result<Vec<Vec<SessionRecord>>, StoreError>;

    /// Subscribes a node to these users' presence, for some hours.
    async fn subscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError>;

    async fn unsubscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError>;

    /// The nodes that subscribed to a user's presence, dead ones included.
    async fn subscribers(&self, user: &UserId) -> Result<Vec<NodeId>, StoreError>;

    /// Users with a session, distinct. Best effort while nodes die.
    async fn online_count(&self) -> Result<u64, StoreError>;

    /// All users with a session.
    async fn online_users(&self) -> Result<Vec<UserId>, StoreError>;

    /// Up to `limit` users with a session, each once over all pages, and where the next page begins. Who comes or goes
    /// between two pages may or may not be listed.
    async fn online_page(&self, after: Option<&Page>, limit: usize) -> Result<(Vec<UserId>, Option<Page>), StoreError>;

    /// Renews the node's lease for `ttl` from `now` and reads all leases; without `now`, from what the store's clock
    /// says, for a node that does not know it yet. The lease continues only under the epoch it was last given.
    async fn renew(&self, lease: &Lease, ttl: Duration, now: Option<Timestamp>) -> Result<Renewal, StoreError>;

    /// Shifts store time, if nobody else did since it was read.
    async fn shift_clock(&self, shift: Shift) -> Result<bool, StoreError>;

    /// Claims sessions of a node whose lease (of this epoch) expired, of about `limit` users, until `now` and `claim`:
    /// what is not reported as [`swept`](SessionStore::swept) by then is handed out again. Fewer users where they have
    /// many sessions. Forgets the lease once
    /// nothing is left.
    async fn sweep(&self, lease: &Lease, now: Timestamp, claim: Duration, limit: usize) -> Result<Swept, StoreError>;

    /// Removes the sessions that such a node had of these users: what follows from their end is done.
    async fn swept(&self, lease: &Lease, users: &[UserId]) -> Result<(), StoreError>;

    /// Notes the epoch under which a node lives from now on, for some hours, and returns its earlier ones that nobody
    /// swept: of a process before it, or of its own in a store that came back older.
    async fn begin(&self, node: &NodeId, epoch: u64) -> Result<Vec<u64>, StoreError>;

    /// Ends the node's own lease.
    async fn retire(&self, node: &NodeId) -> Result<(), StoreError>;
}
