//! What this node last saw of the calls it has to do with.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call::{Call, CallId, State, Timestamp, UserId};
use crate::telemetry::metrics;

/// Ended calls are remembered for so long, and so many of them.
const ENDED_FOR: Duration = Duration::from_secs(60);
const ENDED_CAPACITY: usize = 10_000;
/// What can't be judged yet, as the store takes no writes or is not put back, is tried again after this.
const AGAIN: Duration = Duration::from_millis(250);

/// The live calls this node has to do with: their last seen record, their local timer, and when they were last
/// compared with the store. A cache: only a swap may trust it.
#[derive(Default)]
pub struct CallCache {
    entries: Mutex<Entries>,
    /// An earlier timer was set.
    pub changed: Notify,
    /// The newest order of a call, or of the end of one, that this node heard of.
    newest: AtomicU64,
}

#[derive(Default)]
struct Entries {
    calls: HashMap<CallId, Cached>,
    timers: BTreeSet<(Timestamp, CallId)>,
    /// Calls that ended lately: a store that lost the end is told again.
    ended: HashMap<CallId, Arc<Call>>,
    /// When they did, oldest first.
    buried: VecDeque<(Timestamp, CallId)>,
}

struct Cached {
    call: Arc<Call>,
    timer: Option<Timestamp>,
    checked_at: Timestamp,
    /// It could not be told to everybody it was for.
    untold: bool,
    /// When the timer of this very record was taken.
    fired_at: Option<Timestamp>,
}

impl CallCache {
    /// Takes note of a record. A live one is cached, unless it is from before what was seen already, an end included. Seen
    /// again after its timer was taken, its deadline could not be judged: it fires again, and not at once.
    pub fn see(&self, call: &Call, now: Timestamp) {
        self.newest.fetch_max(call.order.max(call.over), Ordering::Relaxed);
        let mut entries = self.entries.lock();
        let cached = entries.calls.get(&call.id);
        let fired_at = cached.filter(|cached| cached.call.version == call.version).and_then(|cached| cached.fired_at);
        let known = cached.map(|cached| &cached.call).or_else(|| entries.ended.get(&call.id));
        if known.is_some_and(|known| call.is_before(known)) {
            return;
        }
        let first = entries.timers.first().map(|(at, _)| *at);
        entries.set_timer(&call.id, None);
        if !call.is_live() {
            entries.calls.remove(&call.id);
            entries.bury(call, now);
            return;
        }
        let cached = Cached { call: Arc::new(call.clone()), timer: None, checked_at: now, untold: false, fired_at };
        entries.calls.insert(call.id.clone(), cached);
        let again = fired_at.map(|at| at + AGAIN);
        entries.set_timer(&call.id, call.deadline().map(|at| again.map_or(at, |again| again.max(at))));
        let earlier = entries.timers.first().map(|(at, _)| *at) != first;
        drop(entries);
        if earlier {
            self.changed.notify_one();
        }
    }

    pub fn newest_order(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    pub fn forget(&self, id: &CallId) {
        let mut entries = self.entries.lock();
        entries.set_timer(id, None);
        entries.calls.remove(id);
    }

    pub fn last_seen(&self, id: &CallId) -> Option<Arc<Call>> {
        self.entries.lock().calls.get(id).map(|cached| Arc::clone(&cached.call))
    }

    /// The last records seen: of live calls, and of those that ended within the last minute.
    pub fn remembered(&self, now: Timestamp) -> Vec<Arc<Call>> {
        let entries = self.entries.lock();
        let recent = entries.buried.iter().filter(|(at, _)| now.since(*at) <= ENDED_FOR);
        let ended = recent.filter_map(|(_, id)| entries.ended.get(id));
        entries.calls.values().map(|cached| &cached.call).chain(ended).cloned().collect()
    }

    /// Notes whether a call could be told to everybody it was for.
    pub fn mark_untold(&self, id: &CallId, untold: bool) {
        if let Some(cached) = self.entries.lock().calls.get_mut(id) {
            cached.untold = untold;
        }
    }

    pub fn is_untold(&self, id: &CallId) -> bool {
        self.entries.lock().calls.get(id).is_some_and(|cached| cached.untold)
    }

    pub fn next_timer(&self) -> Option<Timestamp> {
        self.entries.lock().timers.first().map(|(at, _)| *at)
    }

    /// Takes the calls whose timer is due; each is set again when its record is next seen.
    pub fn take_due(&self, now: Timestamp) -> Vec<CallId> {
        let mut entries = self.entries.lock();
        let due: Vec<CallId> =
            entries.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect();
        for id in &due {
            entries.set_timer(id, None);
            if let Some(cached) = entries.calls.get_mut(id) {
                cached.fired_at = Some(now);
            }
        }
        due
    }

    /// The users in a live call, and whether it still rings.
    pub fn parties(&self) -> HashMap<UserId, bool> {
        let entries = self.entries.lock();
        let calls = entries.calls.values().map(|cached| &cached.call);
        calls
            .flat_map(|call| [&call.caller, &call.callee].map(|party| (party.user.clone(), call.is_ringing())))
            .collect()
    }

    /// Reports the calls by state.
    pub fn count(&self) {
        let (mut trying, mut ringing, mut active) = (0, 0, 0);
        for cached in self.entries.lock().calls.values() {
            match cached.call.state {
                State::Trying => trying += 1,
                State::Ringing => ringing += 1,
                State::Active { .. } => active += 1,
                State::Ended(_) => {}
            }
        }
        metrics::calls(trying, ringing, active);
    }

    /// The calls not compared with the store for `ringing` or `active`, now marked as compared.
    pub fn take_unchecked(&self, now: Timestamp, ringing: Duration, active: Duration) -> Vec<Arc<Call>> {
        let mut entries = self.entries.lock();
        let mut unchecked = Vec::new();
        for cached in entries.calls.values_mut() {
            let interval = if cached.call.is_ringing() { ringing } else { active };
            if now.since(cached.checked_at) >= interval {
                cached.checked_at = now;
                unchecked.push(Arc::clone(&cached.call));
            }
        }
        unchecked
    }
}

impl Entries {
    fn bury(&mut self, call: &Call, now: Timestamp) {
        let passed = |(at, _): &(Timestamp, CallId)| now.since(*at) > ENDED_FOR;
        while self.buried.len() >= ENDED_CAPACITY || self.buried.front().is_some_and(passed) {
            if let Some((_, id)) = self.buried.pop_front() {
                self.ended.remove(&id);
            }
        }
        if self.ended.insert(call.id.clone(), Arc::new(call.clone())).is_none() {
            self.buried.push_back((now, call.id.clone()));
        }
    }

    fn set_timer(&mut self, id: &CallId, timer: Option<Timestamp>) {
        let Some(cached) = self.calls.get_mut(id) else { return };
        if let Some(old) = std::mem::replace(&mut cached.timer, timer) {
            self.timers.remove(&(old, id.clone()));
        }
        if let Some(timer) = timer {
            self.timers.insert((timer, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Actor, Command};
    use crate::store::contract::{apply, call};

    /// Else a deadline that nobody can judge would be fired again as fast as the store answers.
    #[test]
    fn a_deadline_that_was_fired_is_not_fired_again_at_once() {
        let now = Timestamp::from_millis(1_000_000);
        let trying = call("1", "ana", "bo", now);
        let cache = CallCache::default();
        cache.see(&trying, now);
        let due = trying.deadline().unwrap();
        assert_eq!(cache.next_timer(), Some(due));
        assert_eq!(cache.take_due(due), std::slice::from_ref(&trying.id));
        for late in [due, due + AGAIN / 2, due + AGAIN * 4] {
            cache.see(&trying, late);
            assert_eq!(cache.next_timer(), Some(due + AGAIN), "however often it is seen");
        }
        assert!(cache.take_due(due).is_empty());
        assert_eq!(cache.take_due(due + AGAIN), std::slice::from_ref(&trying.id));
        let active = apply(&trying, Command::Accept { by: Actor::over_http(&trying.callee.user, None) }, now);
        cache.see(&active, due);
        assert_eq!(cache.next_timer(), active.deadline(), "another record has a timer of its own");
        let overdue = active.deadline().unwrap() + Duration::from_secs(1);
        cache.forget(&active.id);
        cache.see(&active, overdue);
        assert_eq!(cache.take_due(overdue), std::slice::from_ref(&active.id), "first seen when it was late");
    }

    /// What was read before the end may arrive after it: put back after a loss, it would take the lines of newer calls.
    #[test]
    fn what_is_older_than_the_end_does_not_come_to_life() {
        let now = Timestamp::from_millis(1_000_000);
        let trying = call("1", "ana", "bo", now);
        let active = apply(&trying, Command::Accept { by: Actor::over_http(&trying.callee.user, None) }, now);
        let by = Actor::over_http(&trying.caller.user, None);
        let ended = apply(&active, Command::Cancel { by, reason: None }, now);
        assert!(!ended.is_live());
        let cache = CallCache::default();
        for seen in [&trying, &ended, &active, &trying, &ended] {
            cache.see(seen, now);
        }
        assert!(cache.last_seen(&ended.id).is_none() && cache.next_timer().is_none());
        let remembered: Vec<_> = cache.remembered(now).iter().map(|call| call.version).collect();
        assert_eq!(remembered, [ended.version], "once");
        cache.see(&call("2", "cleo", "dan", now), now + ENDED_FOR + Duration::from_secs(1));
        assert_eq!(cache.remembered(now + ENDED_FOR + Duration::from_secs(1)).len(), 1, "only the live one");
    }
}
