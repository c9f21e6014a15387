//! What this node has in the store and owes it: the epoch of its sessions, what is to be registered again, what is to be
//! removed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::call::{SessionId, Timestamp, UserId};
use crate::signaling::node::NodeContext;
use crate::store::SessionRecord;

/// Registered again this often, so that presence outlives the store's garbage collection.
const REFRESH: Duration = Duration::from_secs(3600);
/// What was sent to a store that failed may run so long after it is well again, on a connection that was given up.
pub const LATE_WRITES: Duration = Duration::from_secs(10);
/// Sessions that are removed one by one; more leave by the sweep of their epoch.
const LEFTOVERS_AT_MOST: usize = 10_000;

/// What this node has in the store and owes it.
pub struct Registration {
    node: Arc<NodeContext>,
    epoch: Epoch,
    /// How often all sessions were to be registered again, and how many of these wishes were met.
    wanted: AtomicU64,
    made: AtomicU64,
    begin_anew: AtomicBool,
    left: Mutex<Left>,
    /// Whether something else stays behind than sessions.
    leaves_something: AtomicBool,
    ages: Mutex<Ages>,
}

/// What its sessions are registered under.
struct Epoch {
    present: AtomicU64,
    /// Whether this process may have written a session, under this epoch or one before.
    is_written: AtomicBool,
}

/// Sessions that left, and not all of it is in the store.
#[derive(Default)]
struct Left {
    leftovers: HashMap<(SessionId, u64), Leftover>,
    /// How many of a user: of these, and of those that are being removed.
    of: HashMap<UserId, usize>,
}

/// A session that left while the store failed.
#[derive(Clone)]
pub struct Leftover {
    pub session: SessionRecord,
    pub left_at: Timestamp,
    /// When the store first had all that follows, by the clock's uptime.
    pub removed_at: Option<Duration>,
}

impl Left {
    fn add(&mut self, user: &UserId) {
        *self.of.entry(user.clone()).or_default() += 1;
    }

    fn remove(&mut self, user: &UserId) {
        if let Some(count) = self.of.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(user);
            }
        }
    }
}

/// By the monotonic clock.
struct Ages {
    refreshed_at: Duration,
    /// When the store last failed a write that presence rests on.
    trouble_at: Option<Duration>,
}

fn key_of(session: &SessionRecord) -> (SessionId, u64) {
    (session.id.clone(), session.epoch)
}

/// A session is on its way out, until this is dropped.
pub struct Departing<'a> {
    registration: &'a Registration,
    user: &'a UserId,
}

impl Drop for Departing<'_> {
    fn drop(&mut self) {
        self.registration.left.lock().remove(self.user);
    }
}

impl Registration {
    pub fn new(node: Arc<NodeContext>) -> Self {
        Self {
            epoch: Epoch { present: AtomicU64::new(node.now().as_millis()), is_written: AtomicBool::new(false) },
            wanted: AtomicU64::new(0),
            made: AtomicU64::new(0),
            begin_anew: AtomicBool::new(false),
            left: Mutex::default(),
            leaves_something: AtomicBool::new(false),
            ages: Mutex::new(Ages { refreshed_at: node.clock.uptime(), trouble_at: None }),
            node,
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.present.load(Ordering::SeqCst)
    }

    /// The present epoch, for a session that is about to be written under it.
    pub fn epoch_to_write(&self) -> u64 {
        self.epoch.is_written.store(true, Ordering::SeqCst);
        self.epoch()
    }

    /// Begins the next epoch, above every one before. Returns whether those before may have left something: whoever still
    /// writes under one of them said so before he read it.
    pub fn begin_epoch(&self, now: Timestamp) -> bool {
        let next = |epoch: u64| Some(epoch.max(now.as_millis()) + 1);
        // Never refused: the closure always answers.
        let _ = self.epoch.present.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        self.epoch.is_written.load(Ordering::SeqCst)
    }

    /// Asks for a registration of all sessions with the next renewal.
    pub fn register_again(&self) {
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was asked for, if not all of it is done.
    pub fn wanted(&self) -> Option<u64> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        (wanted != self.made.load(Ordering::Relaxed)).then_some(wanted)
    }

    /// What was asked for up to then is done. Not before: a wish that is taken and then forgotten leaves phones that
    /// nobody finds.
    pub fn registered(&self, wanted: u64) {
        self.made.store(wanted, Ordering::Relaxed);
    }

    /// Asks for a new epoch with the next renewal: in a store that came back older, sessions that left live under an old one.
    pub fn begin_anew(&self) {
        self.begin_anew.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for; for the lease task, which begins it.
    pub fn begins_anew(&self) -> bool {
        self.begin_anew.swap(false, Ordering::Relaxed)
    }

    /// Whether all of it is so old that it is to be written again.
    pub fn wants_refresh(&self) -> bool {
        self.node.clock.uptime().saturating_sub(self.ages.lock().refreshed_at) >= REFRESH
    }

    pub fn is_refreshed(&self) {
        self.ages.lock().refreshed_at = self.node.clock.uptime();
    }

    /// The sessions to be removed; a copy: each stays until it is.
    pub fn leftovers(&self) -> Vec<Leftover> {
        self.left.lock().leftovers.values().cloned().collect()
    }

    /// A leftover was removed. It is removed again with each renewal for as long as a registration of it may still run.
    pub fn is_removed(&self, session: &SessionRecord) {
        let now = self.node.clock.uptime();
        let left = &mut *self.left.lock();
        let Entry::Occupied(mut leftover) = left.leftovers.entry(key_of(session)) else { return };
        match leftover.get().removed_at {
            Some(since) if now.saturating_sub(since) >= LATE_WRITES => drop(leftover.remove()),
            Some(_) => {}
            None => {
                leftover.get_mut().removed_at = Some(now);
                left.remove(&session.user);
            }
        }
    }

    /// Keeps a session whose removal failed, to be removed with the next renewal; the first time counts as that it left.
    pub fn remove_later(&self, session: SessionRecord, left_at: Timestamp) {
        let left = &mut *self.left.lock();
        let key = key_of(&session);
        if left.leftovers.contains_key(&key) {
            return;
        }
        if left.leftovers.len() >= LEFTOVERS_AT_MOST {
            self.leave_the_lease();
            self.begin_anew();
            self.register_again();
            return;
        }
        left.add(&session.user);
        left.leftovers.insert(key, Leftover { session, left_at, removed_at: None });
    }

    /// A session of this user leaves: begun before it is gone from here, and held until the store has all that follows, or
    /// [`Registration::remove_later`] has it.
    pub fn leaving<'a>(&'a self, user: &'a UserId) -> Departing<'a> {
        self.left.lock().add(user);
        Departing { registration: self, user }
    }

    /// Whether a session of this user has left of which the store may not have all yet.
    pub fn is_leaving(&self, user: &UserId) -> bool {
        self.left.lock().of.contains_key(user)
    }

    /// Something of this node stays in the store: its lease must expire, not end.
    pub fn leave_the_lease(&self) {
        self.leaves_something.store(true, Ordering::Relaxed);
    }

    pub fn leaves_something(&self) -> bool {
        self.leaves_something.load(Ordering::Relaxed) || !self.left.lock().leftovers.is_empty()
    }

    /// The store failed what this node wrote.
    pub fn has_trouble(&self) {
        self.ages.lock().trouble_at = Some(self.node.clock.uptime());
    }

    pub fn had_trouble_within(&self, time: Duration) -> bool {
        self.ages.lock().trouble_at.is_some_and(|at| self.node.clock.uptime().saturating_sub(at) < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::NodeId;
    use crate::clock::Clock;
    use crate::signaling::Policy;
    use crate::store::contract::session;

    fn registration(clock: &Clock) -> Registration {
        let (traces, tasks, stop) = Default::default();
        let (id, policy) = (NodeId::parse("n1").unwrap(), Policy::for_tests());
        Registration::new(Arc::new(NodeContext { id, clock: clock.clone(), policy, traces, tasks, stop }))
    }

    /// A phone left while the store failed, and was removed once more at the first renewal that succeeded; its registration, on
    /// a connection that had been given up, ran after that, and its user was online for ever.
    #[test]
    fn who_left_is_removed_for_as_long_as_his_registration_may_run() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let (registration, gone) = (registration(&clock), session(1, "ana", "n1", 1));
        registration.remove_later(gone.clone(), clock.now());
        registration.remove_later(gone.clone(), clock.now());
        assert!(registration.is_leaving(&gone.user) && registration.leftovers().len() == 1);
        // The store fails for longer than that.
        clock.advance(LATE_WRITES * 2);
        for _ in 0..3 {
            registration.is_removed(&gone);
            assert!(!registration.is_leaving(&gone.user), "the store has that it left");
            assert!(registration.leftovers().len() == 1 && registration.leaves_something(), "and may get it once more");
            clock.advance(LATE_WRITES / 3);
        }
        clock.advance(LATE_WRITES / 3);
        registration.is_removed(&gone);
        registration.is_removed(&gone);
        assert!(registration.leftovers().is_empty() && !registration.leaves_something());
    }

    #[test]
    fn an_epoch_leaves_something_once_a_session_may_have_been_written() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let registration = registration(&clock);
        let first = registration.epoch();
        assert!(!registration.begin_epoch(clock.now()) && registration.epoch() > first);
        registration.epoch_to_write();
        assert!(registration.begin_epoch(clock.now()) && registration.begin_epoch(clock.now()));
    }

    /// Who connects and leaves again and again while the store is away fills nothing, and nobody waits for what he left.
    #[test]
    fn what_leaves_in_a_storm_is_left_to_the_sweep() {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let registration = registration(&clock);
        let leave = |seed| registration.remove_later(session(seed, "eve", "n1", 1), clock.now());
        (0..10_000).for_each(leave);
        assert!(!registration.begins_anew() && registration.wanted().is_none());
        (10_000..20_000).for_each(leave);
        assert_eq!(registration.leftovers().len(), LEFTOVERS_AT_MOST);
        assert!(registration.begins_anew() && registration.wanted().is_some() && registration.leaves_something());
    }
}
