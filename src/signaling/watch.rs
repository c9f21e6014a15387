use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call::{Call, CallId, State, Timestamp, UserId};
use crate::telemetry::metrics;

/// Ended calls are remembered for so long, and so many of them.
const ENDED_FOR: Duration = Duration::from_secs(60);
const ENDED_CAPACITY: usize = 10_000;

/// The live calls this node has to do with: their last seen record, their local timer, and when they were last
/// compared with the store. A cache: only a swap may trust it.
#[derive(Default)]
pub(super) struct Watch {
    entries: Mutex<Entries>,
    /// An earlier timer was set.
    pub changed: Notify,
}

#[derive(Default)]
struct Entries {
    calls: HashMap<CallId, Watched>,
    timers: BTreeSet<(Timestamp, CallId)>,
    /// Calls that ended lately, oldest first: a store that lost the end is told again.
    ended: VecDeque<(Timestamp, Arc<Call>)>,
}

struct Watched {
    call: Arc<Call>,
    timer: Option<Timestamp>,
    checked_at: Timestamp,
    /// It could not be told to everybody it was for.
    untold: bool,
}

impl Watch {
    /// Takes note of a record. A live one is watched, a newer ended one is forgotten.
    pub fn see(&self, call: &Call, now: Timestamp) {
        let mut entries = self.entries.lock();
        if entries.calls.get(&call.id).is_some_and(|known| known.call.version.counter > call.version.counter) {
            return;
        }
        let first = entries.timers.first().map(|(at, _)| *at);
        entries.set_timer(&call.id, None);
        if !call.is_live() {
            entries.calls.remove(&call.id);
            entries.bury(call, now);
            return;
        }
        let watched = Watched { call: Arc::new(call.clone()), timer: None, checked_at: now, untold: false };
        entries.calls.insert(call.id.clone(), watched);
        entries.set_timer(&call.id, call.deadline());
        let earlier = entries.timers.first().map(|(at, _)| *at) != first;
        drop(entries);
        if earlier {
            self.changed.notify_one();
        }
    }

    pub fn forget(&self, id: &CallId) {
        let mut entries = self.entries.lock();
        entries.set_timer(id, None);
        entries.calls.remove(id);
    }

    pub fn last_seen(&self, id: &CallId) -> Option<Arc<Call>> {
        self.entries.lock().calls.get(id).map(|watched| Arc::clone(&watched.call))
    }

    /// The last records seen: of live calls, and of those that ended within the last minute.
    pub fn remembered(&self, now: Timestamp) -> Vec<Arc<Call>> {
        let entries = self.entries.lock();
        let ended = entries.ended.iter().filter(|(at, _)| now.since(*at) <= ENDED_FOR).map(|(_, call)| call);
        entries.calls.values().map(|watched| &watched.call).chain(ended).cloned().collect()
    }

    /// Notes whether a call could be told to everybody it was for.
    pub fn mark_untold(&self, id: &CallId, untold: bool) {
        if let Some(watched) = self.entries.lock().calls.get_mut(id) {
            watched.untold = untold;
        }
    }

    pub fn is_untold(&self, id: &CallId) -> bool {
        self.entries.lock().calls.get(id).is_some_and(|watched| watched.untold)
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
        }
        due
    }

    /// The users in a live call, and whether it still rings.
    pub fn parties(&self) -> HashMap<UserId, bool> {
        let entries = self.entries.lock();
        let calls = entries.calls.values().map(|watched| &watched.call);
        calls
            .flat_map(|call| [&call.caller, &call.callee].map(|party| (party.user.clone(), call.is_ringing())))
            .collect()
    }

    /// Reports the calls by state.
    pub fn count(&self) {
        let (mut trying, mut ringing, mut active) = (0, 0, 0);
        for watched in self.entries.lock().calls.values() {
            match watched.call.state {
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
        for watched in entries.calls.values_mut() {
            let interval = if watched.call.is_ringing() { ringing } else { active };
            if now.since(watched.checked_at) >= interval {
                watched.checked_at = now;
                unchecked.push(Arc::clone(&watched.call));
            }
        }
        unchecked
    }
}

impl Entries {
    fn bury(&mut self, call: &Call, now: Timestamp) {
        let passed = |(at, _): &(Timestamp, Arc<Call>)| now.since(*at) > ENDED_FOR;
        while self.ended.len() >= ENDED_CAPACITY || self.ended.front().is_some_and(passed) {
            self.ended.pop_front();
        }
        self.ended.push_back((now, Arc::new(call.clone())));
    }

    fn set_timer(&mut self, id: &CallId, timer: Option<Timestamp>) {
        let Some(watched) = self.calls.get_mut(id) else { return };
        if let Some(old) = std::mem::replace(&mut watched.timer, timer) {
            self.timers.remove(&(old, id.clone()));
        }
        if let Some(timer) = timer {
            self.timers.insert((timer, id.clone()));
        }
    }
}
