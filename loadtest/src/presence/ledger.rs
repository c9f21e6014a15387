//! Who watches whom, who is there, and who has not heard of a change yet. Knows no sockets and no clock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::dial::Failure;
use crate::figures::Latency;

/// Who has not heard of a change by then has missed it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nodes tell that a user is offline when the user stayed away for so long.
pub const DAMPING: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Came,
    Went,
}

/// A change that is under way.
struct Open {
    change: Change,
    /// The time it was planned for.
    scheduled: Instant,
    deadline: Instant,
    /// Watchers who have not heard of it.
    waiting: HashSet<usize>,
    /// Who came is connected.
    ready: bool,
}

/// What was counted.
#[derive(Default)]
pub struct Tally {
    pub came: u64,
    pub went: u64,
    /// Changes for which all users were in a change.
    pub nobody_at_rest: u64,
    pub connect: Latency,
    /// From the planned time of a change until a watcher heard of it.
    pub online: Latency,
    pub offline: Latency,
    /// This program's own delay.
    pub own_delay: Latency,
    pub faults: BTreeMap<String, u64>,
}

pub struct Ledger {
    /// By user.
    watchers: Vec<Vec<usize>>,
    is_there: Vec<bool>,
    /// Users who may come or go next.
    at_rest: Vec<usize>,
    open: HashMap<usize, Open>,
    /// Users whose connection was lost: what is told of them counts no more.
    lost: HashSet<usize>,
    pub tally: Tally,
}

/// The users whom one of the watchers watches, so that all users have as many watchers.
pub fn watched_by(watcher: usize, watched: usize, users: usize) -> impl Iterator<Item = usize> {
    (0..watched).map(move |place| (watcher * watched + place) % users)
}

impl Ledger {
    /// The first `there` of the users are connected.
    pub fn new(users: usize, there: usize, watchers: usize, watched: usize) -> Self {
        let mut by_user = vec![Vec::new(); users];
        for watcher in 0..watchers {
            watched_by(watcher, watched, users).for_each(|user| by_user[user].push(watcher));
        }
        Self {
            watchers: by_user,
            is_there: (0..users).map(|user| user < there).collect(),
            at_rest: (0..users).collect(),
            open: HashMap::new(),
            lost: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// Changes under way.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes a user at rest, who is to come or to go now.
    pub fn take(&mut self, scheduled: Instant, now: Instant, random: &mut impl Rng) -> Option<(usize, Change)> {
        if self.at_rest.is_empty() {
            self.tally.nobody_at_rest += 1;
            return None;
        }
        let user = self.at_rest.swap_remove(random.random_range(0..self.at_rest.len()));
        self.is_there[user] = !self.is_there[user];
        let (change, patience) = match self.is_there[user] {
            true => (Change::Came, PATIENCE),
            false => (Change::Went, DAMPING + PATIENCE),
        };
        match change {
            Change::Came => self.tally.came += 1,
            Change::Went => self.tally.went += 1,
        }
        self.tally.own_delay.add(now.saturating_duration_since(scheduled));
        let waiting = self.watchers[user].iter().copied().collect();
        let ready = change == Change::Went;
        self.open.insert(user, Open { change, scheduled, deadline: now + patience, waiting, ready });
        // Whom nobody watches has not to wait until it is told.
        self.settle(user);
        Some((user, change))
    }

    /// Who came is connected.
    pub fn ready(&mut self, user: usize, at: Instant) {
        if let Some(open) = self.open.get_mut(&user) {
            open.ready = true;
            self.tally.connect.add(at.saturating_duration_since(open.scheduled));
            self.settle(user);
        }
    }

    /// Who came was not let in: there is nothing to be told.
    pub fn refused(&mut self, user: usize, why: &Failure) {
        self.fault(format!("refused: {why}"), 1);
        self.take_out(user);
    }

    /// A watcher heard of a user.
    pub fn hears(&mut self, watcher: usize, user: usize, change: Change, at: Instant) {
        if self.lost.contains(&user) {
            return;
        }
        let Some(open) = self.open.get_mut(&user).filter(|open| open.change == change) else {
            let is_so = self.is_there.get(user) == Some(&(change == Change::Came));
            let name = if is_so { "late or doubled" } else { "out of turn" };
            return self.fault(format!("{name}: {}", change.event()), 1);
        };
        if !open.waiting.remove(&watcher) {
            return self.fault(format!("late or doubled: {}", change.event()), 1);
        }
        let latency = match change {
            Change::Came => &mut self.tally.online,
            Change::Went => &mut self.tally.offline,
        };
        latency.add(at.saturating_duration_since(open.scheduled));
        self.settle(user);
    }

    /// A user lost the connection without going.
    pub fn user_lost(&mut self, user: usize, why: &str) {
        if self.is_there[user] {
            self.fault(format!("lost: {why}"), 1);
            self.take_out(user);
        }
    }

    pub fn watcher_lost(&mut self, watcher: usize, why: &str) {
        self.fault(format!("watcher lost: {why}"), 1);
        self.watchers.iter_mut().for_each(|watchers| watchers.retain(|other| *other != watcher));
        let waited = self.open.iter_mut().filter_map(|(user, open)| open.waiting.remove(&watcher).then_some(*user));
        let users: Vec<usize> = waited.collect();
        users.into_iter().for_each(|user| self.settle(user));
    }

    /// Counts what was missed by now.
    pub fn sweep(&mut self, now: Instant) {
        let due = self.open.iter_mut().filter(|(_, open)| open.deadline <= now && !open.waiting.is_empty());
        let missed: Vec<_> =
            due.map(|(user, open)| (*user, open.change, open.waiting.drain().count() as u64)).collect();
        for (user, change, count) in missed {
            self.fault(format!("missed: {}", change.event()), count);
            self.settle(user);
        }
    }

    /// A change that all have heard of is over.
    fn settle(&mut self, user: usize) {
        if self.open.get(&user).is_some_and(|open| open.ready && open.waiting.is_empty()) {
            self.open.remove(&user);
            self.at_rest.push(user);
        }
    }

    fn take_out(&mut self, user: usize) {
        self.open.remove(&user);
        self.at_rest.retain(|other| *other != user);
        self.lost.insert(user);
    }

    fn fault(&mut self, what: String, count: u64) {
        *self.tally.faults.entry(what).or_default() += count;
    }
}

impl Change {
    pub fn event(self) -> &'static str {
        match self {
            Change::Came => "user:online",
            Change::Went => "user:offline",
        }
    }

    pub fn parse(event: &str) -> Option<Self> {
        [Change::Came, Change::Went].into_iter().find(|change| change.event() == event)
    }
}
