//! The outbox of one node: the reference for what the scripts do.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::RangeBounds;
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::call::{CallId, Timestamp};
use crate::store::{
    Backlog, Claim, DeadLetter, Letter, Outbox, OutboxBounds, Queue, REPLAYED_AT_ONCE, Replayed, Settled, StoreError,
    Which, member_of,
};

/// Forgotten in one go: nobody else has the lock meanwhile.
const BURIED_AT_ONCE: usize = 2000;

#[derive(Default)]
pub(super) struct Letters {
    bounds: OutboxBounds,
    letters: HashMap<String, (Letter, u32)>,
    order: BTreeSet<(Timestamp, String)>,
    chains: HashMap<CallId, VecDeque<String>>,
    /// By member: a call's chain, or a letter alone.
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

impl Letters {
    pub fn append(&mut self, letters: &[Letter]) {
        for letter in letters {
            if self.letters.contains_key(&letter.id) || self.dead.contains_key(&letter.id) {
                continue;
            }
            self.bytes += size(letter);
            self.order.insert((letter.at, letter.id.clone()));
            self.letters.insert(letter.id.clone(), (letter.clone(), 0));
            let member = member_of(letter.chain(), &letter.id);
            if let Some(call) = letter.chain() {
                self.chains.entry(call.clone()).or_default().push_back(letter.id.clone());
            }
            if !self.leased.contains_key(&member) && !self.due.has(&member) {
                self.due.set(&member, letter.queue, letter.due);
            }
        }
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while (self.letters.len() + self.dead.len()) as u64 > self.bounds.letters || self.bytes > self.bounds.bytes {
            let Some((_, oldest)) = self.graves.first().or_else(|| self.order.first()).cloned() else { return };
            self.forget(&oldest);
            self.dropped += 1;
        }
    }

    /// Removes a letter from wherever it is, but not the lease over it.
    fn forget(&mut self, id: &str) {
        if let Some(dead) = self.dead.remove(id) {
            self.bytes -= size(&dead.letter);
            self.graves.remove(&(dead.died_at, id.to_owned()));
            if let Some(call) = &dead.letter.call
                && let Some(of_call) = self.dead_of.get_mut(call)
            {
                of_call.remove(id);
                if of_call.is_empty() {
                    self.dead_of.remove(call);
                }
            }
        }
        let Some((letter, _)) = self.letters.remove(id) else { return };
        self.bytes -= size(&letter);
        self.order.remove(&(letter.at, id.to_owned()));
        self.unchain(&letter);
        self.due.remove(&member_of(None, id));
    }

    fn unchain(&mut self, letter: &Letter) {
        let Some(call) = letter.chain() else { return };
        if let Some(chain) = self.chains.get_mut(call) {
            chain.retain(|other| *other != letter.id);
            if chain.is_empty() {
                self.chains.remove(call);
                self.due.remove(&member_of(Some(call), &letter.id));
            }
        }
    }

    fn first_of(&self, member: &str) -> Option<&(Letter, u32)> {
        let (kind, name) = member.split_once(':')?;
        let id = match kind {
            "c" => self.chains.get(&CallId::stored(name).ok()?)?.front()?,
            _ => name,
        };
        self.letters.get(id)
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
            if let Some((letter, attempts)) = self.first_of(&member).cloned() {
                self.leased.insert(member.clone(), Lease { queue, until: now + lease, token: token.clone() });
                claims.push(Claim { letter, attempts, token: token.clone(), member });
            }
        }
        claims
    }

    fn settle(&mut self, claim: &Claim, settled: &Settled, now: Timestamp) -> Option<Claim> {
        let (id, member) = (&claim.letter.id, &claim.member);
        let held = self.leased.get(member).is_some_and(|lease| lease.token == claim.token);
        if let Settled::Done { .. } = settled {
            self.forget(id);
        }
        if !held {
            return None;
        }
        let queue = claim.letter.queue;
        if let Settled::Done { lease } = settled
            && let Some((letter, attempts)) = self.first_of(member).cloned()
        {
            self.leased.insert(member.clone(), Lease { queue, until: now + *lease, token: claim.token.clone() });
            return Some(Claim { letter, attempts, ..claim.clone() });
        }
        self.leased.remove(member);
        let mut next = now;
        match (settled, self.letters.get_mut(id)) {
            (Settled::Later { at, attempts }, Some(kept)) => {
                kept.1 = *attempts;
                next = *at;
            }
            (Settled::Apart { at, attempts }, Some(kept)) => {
                kept.1 = *attempts;
                let letter = kept.0.clone();
                self.unchain(&letter);
                self.due.set(&member_of(None, id), queue, *at);
            }
            (Settled::Dead { error, attempts }, Some(_)) => {
                let letter = claim.letter.clone();
                self.forget(id);
                self.bytes += size(&letter);
                self.graves.insert((now, id.clone()));
                if let Some(call) = &letter.call {
                    self.dead_of.entry(call.clone()).or_default().insert(id.clone());
                }
                let dead = DeadLetter { letter, died_at: now, attempts: *attempts, error: error.clone() };
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
            let Some(letter) = self.dead.get(id).map(|dead| dead.letter.clone()) else { continue };
            self.forget(id);
            self.bytes += size(&letter);
            self.order.insert((letter.at, letter.id.clone()));
            self.due.set(&member_of(None, &letter.id), letter.queue, now);
            self.letters.insert(letter.id.clone(), (letter, 0));
        }
        Replayed { letters: again.len() as u64, more: again.len() == most }
    }
}

/// About what it takes.
fn size(letter: &Letter) -> u64 {
    (letter.body.len() + 2 * letter.id.len() + 128) as u64
}

fn first<T>((member, _): (&String, T)) -> String {
    member.clone()
}

#[async_trait]
impl Outbox for MemoryStore {
    async fn append(&self, letters: &[Letter]) -> Result<(), StoreError> {
        self.letters.lock().append(letters);
        Ok(())
    }

    async fn claim(
        &self,
        queue: Queue,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        Ok(self.letters.lock().claim(queue, now, lease, limit))
    }

    async fn settle(&self, claim: &Claim, settled: &Settled, now: Timestamp) -> Result<Option<Claim>, StoreError> {
        Ok(self.letters.lock().settle(claim, settled, now))
    }

    async fn hurry(&self, queue: Queue, now: Timestamp) -> Result<(), StoreError> {
        let mut letters = self.letters.lock();
        for member in letters.due.of(queue, now.., usize::MAX) {
            letters.due.set(&member, queue, now);
        }
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let letters = self.letters.lock();
        Ok(Backlog {
            waiting: letters.letters.len() as u64,
            bytes: letters.bytes,
            dead: letters.dead.len() as u64,
            oldest: letters.order.first().map(|(at, _)| *at),
            dropped: letters.dropped,
        })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let letters = self.letters.lock();
        let newest = letters.graves.iter().rev().take(limit);
        Ok(newest.filter_map(|(_, id)| letters.dead.get(id).cloned()).collect())
    }

    async fn replay(&self, which: &Which, now: Timestamp) -> Result<Replayed, StoreError> {
        Ok(self.letters.lock().replay(which, now))
    }

    async fn bury(&self, before: Timestamp, _now: Timestamp) -> Result<u64, StoreError> {
        let mut letters = self.letters.lock();
        let old = letters.graves.range(..(before, String::new())).take(BURIED_AT_ONCE);
        let old: Vec<String> = old.map(|(_, id)| id.clone()).collect();
        for id in &old {
            letters.forget(id);
        }
        Ok(old.len() as u64)
    }

    async fn switch_off(&self, receiver: Option<&str>) -> Result<(), StoreError> {
        self.letters.lock().switched_off = receiver.map(str::to_owned);
        Ok(())
    }

    async fn switched_off(&self) -> Result<Option<String>, StoreError> {
        Ok(self.letters.lock().switched_off.clone())
    }
}

impl Letters {
    pub fn bounded(bounds: OutboxBounds) -> Self {
        Self { bounds, ..Self::default() }
    }
}
