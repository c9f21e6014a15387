//! The outbox of one node: the reference for what the scripts do.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::RangeBounds;
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::call::{CallId, Timestamp};
use crate::store::{
    Backlog, Claim, DeadLetter, Outbox, OutboxBounds, OutboxMessage, Queue, REPLAYED_AT_ONCE, Replayed, Settled,
    StoreError, Which, member_of,
};

/// Forgotten in one go: nobody else has the lock meanwhile.
const BURIED_AT_ONCE: usize = 2000;

#[derive(Default)]
pub(super) struct MemoryOutbox {
    bounds: OutboxBounds,
    messages: HashMap<String, (OutboxMessage, u32)>,
    order: BTreeSet<(Timestamp, String)>,
    chains: HashMap<CallId, VecDeque<String>>,
    /// By member: a call's chain, or a message alone.
    due: Schedule,
    leased: HashMap<String, Lease>,
    dead: HashMap<String, DeadLetter>,
    /// The same by time of death, and by call.
    graves: BTreeSet<(Timestamp, String)>,
    dead_of: HashMap<CallId, BTreeSet<String>>,
    bytes: u64,
    dropped: u64,
    leases: u64,
    switched_off: Option<String>,
}

#[derive(Default)]
struct Schedule {
    times: HashMap<String, (Queue, Timestamp)>,
    index: BTreeSet<(Queue, Timestamp, String)>,
}

impl Schedule {
    fn set(&mut self, member: &str, queue: Queue, at: Timestamp) {
        self.remove(member);
        self.times.insert(member.to_owned(), (queue, at));
        self.index.insert((queue, at, member.to_owned()));
    }

    fn remove(&mut self, member: &str) {
        if let Some((queue, at)) = self.times.remove(member) {
            self.index.remove(&(queue, at, member.to_owned()));
        }
    }

    fn has(&self, member: &str) -> bool {
        self.times.contains_key(member)
    }

    /// The members of a queue whose time is `within`, the earliest first.
    fn of(&self, queue: Queue, within: impl RangeBounds<Timestamp>, limit: usize) -> Vec<String> {
        let of_queue = self.index.range((queue, Timestamp::default(), String::new())..);
        let of_queue = of_queue.take_while(|(of, _, _)| *of == queue).skip_while(|(_, at, _)| !within.contains(at));
        of_queue.take_while(|(_, at, _)| within.contains(at)).take(limit).map(|(_, _, member)| member.clone()).collect()
    }
}

struct Lease {
    queue: Queue,
    until: Timestamp,
    token: String,
}

impl MemoryOutbox {
    pub fn append(&mut self, messages: &[OutboxMessage]) {
        for message in messages {
            if self.messages.contains_key(&message.id) || self.dead.contains_key(&message.id) {
                continue;
            }
            self.bytes += size(message);
            self.order.insert((message.at, message.id.clone()));
            self.messages.insert(message.id.clone(), (message.clone(), 0));
            let member = member_of(message.chain(), &message.id);
            if let Some(call) = message.chain() {
                self.chains.entry(call.clone()).or_default().push_back(message.id.clone());
            }
            if !self.leased.contains_key(&member) && !self.due.has(&member) {
                self.due.set(&member, message.queue, message.due);
            }
        }
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while (self.messages.len() + self.dead.len()) as u64 > self.bounds.messages || self.bytes > self.bounds.bytes {
            let Some((_, oldest)) = self.graves.first().or_else(|| self.order.first()).cloned() else { return };
            self.forget(&oldest);
            self.dropped += 1;
        }
    }

    /// Removes a message from wherever it is, but not the lease over it.
    fn forget(&mut self, id: &str) {
        if let Some(dead) = self.dead.remove(id) {
            self.bytes -= size(&dead.message);
            self.graves.remove(&(dead.died_at, id.to_owned()));
            if let Some(call) = &dead.message.call
                && let Some(of_call) = self.dead_of.get_mut(call)
            {
                of_call.remove(id);
                if of_call.is_empty() {
                    self.dead_of.remove(call);
                }
            }
        }
        let Some((message, _)) = self.messages.remove(id) else { return };
        self.bytes -= size(&message);
        self.order.remove(&(message.at, id.to_owned()));
        self.unchain(&message);
        self.due.remove(&member_of(None, id));
    }

    fn unchain(&mut self, message: &OutboxMessage) {
        let Some(call) = message.chain() else { return };
        if let Some(chain) = self.chains.get_mut(call) {
            chain.retain(|other| *other != message.id);
            if chain.is_empty() {
                self.chains.remove(call);
                self.due.remove(&member_of(Some(call), &message.id));
            }
        }
    }

    fn first_of(&self, member: &str) -> Option<&(OutboxMessage, u32)> {
        let (kind, name) = member.split_once(':')?;
        let id = match kind {
            "c" => self.chains.get(&CallId::stored(name).ok()?)?.front()?,
            _ => name,
        };
        self.messages.get(id)
    }

    fn claim(&mut self, queue: Queue, now: Timestamp, lease: Duration, limit: usize) -> Vec<Claim> {
        let lapsed: Vec<String> = self.leased.iter().filter(|(_, lease)| lease.until <= now).map(first).collect();
        for member in lapsed {
            if let Some(lease) = self.leased.remove(&member) {
                self.due.set(&member, lease.queue, now);
            }
        }
        let due = self.due.of(queue, ..=now, limit);
        self.leases += 1;
        let token = self.leases.to_string();
        let mut claims = Vec::new();
        for member in due {
            self.due.remove(&member);
            if let Some((message, attempts)) = self.first_of(&member).cloned() {
                self.leased.insert(member.clone(), Lease { queue, until: now + lease, token: token.clone() });
                claims.push(Claim { message, attempts, token: token.clone(), member });
            }
        }
        claims
    }

    fn settle(&mut self, claim: &Claim, settled: &Settled, now: Timestamp) -> Option<Claim> {
        let (id, member) = (&claim.message.id, &claim.member);
        let held = self.leased.get(member).is_some_and(|lease| lease.token == claim.token);
        if let Settled::Done { .. } = settled {
            self.forget(id);
        }
        if !held {
            return None;
        }
        let queue = claim.message.queue;
        if let Settled::Done { lease } = settled
            && let Some((message, attempts)) = self.first_of(member).cloned()
        {
            self.leased.insert(member.clone(), Lease { queue, until: now + *lease, token: claim.token.clone() });
            return Some(Claim { message, attempts, ..claim.clone() });
        }
        self.leased.remove(member);
        let mut next = now;
        match (settled, self.messages.get_mut(id)) {
            (Settled::Later { at, attempts }, Some(kept)) => {
                kept.1 = *attempts;
                next = *at;
            }
            (Settled::Apart { at, attempts }, Some(kept)) => {
                kept.1 = *attempts;
                let message = kept.0.clone();
                self.unchain(&message);
                self.due.set(&member_of(None, id), queue, *at);
            }
            (Settled::Dead { error, attempts }, Some(_)) => {
                let message = claim.message.clone();
                self.forget(id);
                self.bytes += size(&message);
                self.graves.insert((now, id.clone()));
                if let Some(call) = &message.call {
                    self.dead_of.entry(call.clone()).or_default().insert(id.clone());
                }
                let dead = DeadLetter { message, died_at: now, attempts: *attempts, error: error.clone() };
                self.dead.insert(id.clone(), dead);
            }
            (Settled::Done { .. }, _) | (_, None) => {}
        }
        if !self.due.has(member) && self.first_of(member).is_some() {
            self.due.set(member, queue, next);
        }
        None
    }

    fn replay(&mut self, which: &Which, now: Timestamp) -> Replayed {
        let most = usize::try_from(REPLAYED_AT_ONCE).unwrap_or(usize::MAX);
        let again: Vec<String> = match which {
            Which::Id(id) => self.dead.contains_key(id).then(|| id.clone()).into_iter().collect(),
            Which::Call(call) => self.dead_of.get(call).into_iter().flatten().take(most).cloned().collect(),
            Which::Since(since) => {
                self.graves.range((*since, String::new())..).take(most).map(|(_, id)| id.clone()).collect()
            }
        };
        for id in &again {
            let Some(message) = self.dead.get(id).map(|dead| dead.message.clone()) else { continue };
            self.forget(id);
            self.bytes += size(&message);
            self.order.insert((message.at, message.id.clone()));
            self.due.set(&member_of(None, &message.id), message.queue, now);
            self.messages.insert(message.id.clone(), (message, 0));
        }
        Replayed { messages: again.len() as u64, more: again.len() == most }
    }
}

/// About what it takes.
fn size(message: &OutboxMessage) -> u64 {
    (message.body.len() + 2 * message.id.len() + 128) as u64
}

fn first<T>((member, _): (&String, T)) -> String {
    member.clone()
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn append(&self, messages: &[OutboxMessage]) -> Result<(), StoreError> {
        self.outbox.lock().append(messages);
        Ok(())
    }

    async fn claim(
        &self,
        queue: Queue,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        Ok(self.outbox.lock().claim(queue, now, lease, limit))
    }

    async fn settle(&self, claim: &Claim, settled: &Settled, now: Timestamp) -> Result<Option<Claim>, StoreError> {
        Ok(self.outbox.lock().settle(claim, settled, now))
    }

    async fn hurry(&self, queue: Queue, now: Timestamp) -> Result<(), StoreError> {
        let mut outbox = self.outbox.lock();
        for member in outbox.due.of(queue, now.., usize::MAX) {
            outbox.due.set(&member, queue, now);
        }
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let outbox = self.outbox.lock();
        Ok(Backlog {
            waiting: outbox.messages.len() as u64,
            bytes: outbox.bytes,
            dead: outbox.dead.len() as u64,
            oldest: outbox.order.first().map(|(at, _)| *at),
            dropped: outbox.dropped,
        })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let outbox = self.outbox.lock();
        let newest = outbox.graves.iter().rev().take(limit);
        Ok(newest.filter_map(|(_, id)| outbox.dead.get(id).cloned()).collect())
    }

    async fn replay(&self, which: &Which, now: Timestamp) -> Result<Replayed, StoreError> {
        Ok(self.outbox.lock().replay(which, now))
    }

    async fn bury(&self, before: Timestamp, _now: Timestamp) -> Result<u64, StoreError> {
        let mut outbox = self.outbox.lock();
        let old = outbox.graves.range(..(before, String::new())).take(BURIED_AT_ONCE);
        let old: Vec<String> = old.map(|(_, id)| id.clone()).collect();
        for id in &old {
            outbox.forget(id);
        }
        Ok(old.len() as u64)
    }

    async fn switch_off(&self, receiver: Option<&str>) -> Result<(), StoreError> {
        self.outbox.lock().switched_off = receiver.map(str::to_owned);
        Ok(())
    }

    async fn switched_off(&self) -> Result<Option<String>, StoreError> {
        Ok(self.outbox.lock().switched_off.clone())
    }
}

impl MemoryOutbox {
    pub fn bounded(bounds: OutboxBounds) -> Self {
        Self { bounds, ..Self::default() }
    }
}
