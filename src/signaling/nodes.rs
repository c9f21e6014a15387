//! What this node knows of all nodes, by the leases it read with its last renewal.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore, watch};

use super::Node;
use crate::call::{NodeId, Timestamp};
use crate::clock::Clock;
use crate::store::{Lease, SessionRecord};
use crate::telemetry::metrics;

/// Before each look for an unknown node.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Requests that wait for such a look; more are told that the session is unknown.
const SEEKERS: usize = 64;
/// A storm: this share of the cluster's sessions, and at least so many, vanish within the window.
const STORM_SHARE: u64 = 5;
const STORM_LEAST: u64 = 100;
const STORM_WINDOW: Duration = Duration::from_secs(30);
const STORM_LASTS: Duration = Duration::from_secs(120);

/// What this node knows of all nodes.
pub(super) struct Nodes {
    pub own: NodeId,
    address: String,
    probe: String,
    lease: Duration,
    epoch: AtomicU64,
    leases: RwLock<HashMap<NodeId, Lease>>,
    /// When a live lease of each node was last seen, by the monotonic clock.
    seen: Mutex<HashMap<NodeId, Duration>>,
    /// Addresses by tag: what a session id says of its node.
    routes: RwLock<HashMap<String, String>>,
    seekers: Semaphore,
    pub(super) renewals: Mutex<Renewals>,
    /// By the clock's `elapsed`.
    pub(super) renewed_at: Mutex<Duration>,
    /// When the store last failed a write of this node that presence rests on, by the monotonic clock.
    trouble_at: Mutex<Option<Duration>>,
    /// Wakes the lease task before its time.
    pub(super) wanted: Notify,
    /// The renewals that were begun and, of these, the last that ended.
    pub(super) rounds: watch::Sender<Round>,
    /// How often all sessions were to be registered again, and how many of these wishes were met.
    registrations_wanted: AtomicU64,
    registrations_made: AtomicU64,
    begin_anew: AtomicBool,
    /// Sessions that left while the store failed.
    leftovers: Mutex<Vec<SessionRecord>>,
    leaves_something: AtomicBool,
}

/// Renewals, counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Round {
    pub begun: u64,
    /// The last of them that ended, and whether it went through.
    pub ended: u64,
    pub went_through: bool,
}

/// Ages are by the monotonic clock, so that no step of another clock makes them.
pub(super) struct Renewals {
    /// Store time and age of the last one.
    last: Option<(Timestamp, Duration)>,
    /// Since when renewals went through without a gap.
    well_since: Option<Duration>,
    pub refreshed_at: Duration,
    /// Sessions of the cluster over the last window.
    sessions: VecDeque<(Duration, u64)>,
    storm_until: Option<Duration>,
}

impl Nodes {
    pub fn new(own: NodeId, address: String, probe: String, lease: Duration, clock: &Clock) -> Self {
        Self {
            own,
            address,
            probe,
            lease,
            epoch: AtomicU64::new(clock.now().as_millis()),
            leases: RwLock::default(),
            seen: Mutex::default(),
            routes: RwLock::default(),
            seekers: Semaphore::new(SEEKERS),
            renewals: Mutex::new(Renewals {
                last: None,
                well_since: None,
                refreshed_at: clock.uptime(),
                sessions: VecDeque::new(),
                storm_until: None,
            }),
            // It has the time of a lease to renew for the first time.
            renewed_at: Mutex::new(clock.elapsed()),
            trouble_at: Mutex::default(),
            wanted: Notify::new(),
            rounds: watch::Sender::new(Round::default()),
            registrations_wanted: AtomicU64::new(0),
            registrations_made: AtomicU64::new(0),
            begin_anew: AtomicBool::new(false),
            leftovers: Mutex::default(),
            leaves_something: AtomicBool::new(false),
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The next epoch, above every one before.
    pub fn begin_epoch(&self, now: Timestamp) {
        let next = |epoch: u64| Some(epoch.max(now.as_millis()) + 1);
        // Never refused: the closure always answers.
        let _ = self.epoch.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Asks for a registration of all sessions with the next renewal.
    pub fn register_again(&self) {
        self.registrations_wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was asked for, if not all of it is done.
    pub fn registrations(&self) -> Option<u64> {
        let wanted = self.registrations_wanted.load(Ordering::Relaxed);
        (wanted != self.registrations_made.load(Ordering::Relaxed)).then_some(wanted)
    }

    /// What was asked for up to then is done. Not before: a wish that is taken and then forgotten leaves phones that
    /// nobody finds.
    pub fn registered(&self, wanted: u64) {
        self.registrations_made.store(wanted, Ordering::Relaxed);
    }

    /// The sessions to be removed, a copy: each stays until it is.
    pub fn leftovers(&self) -> Vec<SessionRecord> {
        self.leftovers.lock().clone()
    }

    pub fn is_removed(&self, session: &SessionRecord) {
        self.leftovers.lock().retain(|left| left != session);
    }

    /// Asks for a new epoch with the next renewal: in a store that came back older, sessions that left live under an old one.
    pub fn begin_anew(&self) {
        self.begin_anew.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for; for the lease task, which begins it.
    pub fn begins_anew(&self) -> bool {
        self.begin_anew.swap(false, Ordering::Relaxed)
    }

    /// Keeps a session whose removal failed, to be removed with the next renewal.
    pub fn remove_later(&self, session: SessionRecord) {
        let mut leftovers = self.leftovers.lock();
        if !leftovers.contains(&session) {
            leftovers.push(session);
        }
    }

    /// Something of this node stays in the store: its lease must expire, not end.
    pub fn leave_the_lease(&self) {
        self.leaves_something.store(true, Ordering::Relaxed);
    }

    pub fn leaves_something(&self) -> bool {
        self.leaves_something.load(Ordering::Relaxed) || !self.leftovers.lock().is_empty()
    }

    /// Whether a session may be alive: only an expired lease, read by a node that is well itself, says no.
    pub fn may_live(&self, session: &SessionRecord, clock: &Clock) -> bool {
        let now = clock.now();
        let leases = self.leases.read();
        let Some(lease) = leases.get(&session.node) else { return true };
        if lease.epoch != session.epoch {
            // Registered again since, or a lease newer than what was read last.
            return session.epoch > lease.epoch;
        }
        lease.expires_at > now || !self.is_well(clock, lease.expires_at)
    }

    pub fn is_dead(&self, node: &NodeId, clock: &Clock) -> bool {
        let now = clock.now();
        let expired = self.leases.read().get(node).map(|lease| lease.expires_at);
        expired.is_some_and(|expires_at| expires_at <= now && self.is_well(clock, expires_at))
    }

    /// Every other node that may be alive.
    pub fn others(&self, clock: &Clock) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.leases.read().keys().filter(|node| **node != self.own).cloned().collect();
        nodes.into_iter().filter(|node| !self.is_dead(node, clock)).collect()
    }

    /// Every other node that was alive within the last lease: a store that lost its data has no lease of those that have not
    /// renewed theirs since.
    pub fn others_lately(&self, clock: &Clock) -> Vec<NodeId> {
        let (seen, uptime) = (self.seen.lock(), clock.uptime());
        let lately = seen.iter().filter(|(node, at)| **node != self.own && uptime.saturating_sub(**at) < self.lease);
        lately.map(|(node, _)| node.clone()).collect()
    }

    /// Own renewals went through without a gap for a full lease, and one of them after `moment`.
    pub fn is_well(&self, clock: &Clock, moment: Timestamp) -> bool {
        let (renewals, uptime) = (self.renewals.lock(), clock.uptime());
        let age = |since: Duration| uptime.saturating_sub(since);
        renewals.last.is_some_and(|(at, since)| at >= moment && age(since) < self.lease)
            && renewals.well_since.is_some_and(|since| age(since) >= self.lease)
    }

    /// The store failed what this node wrote.
    pub fn has_trouble(&self, clock: &Clock) {
        *self.trouble_at.lock() = Some(clock.uptime());
    }

    pub fn had_trouble_within(&self, time: Duration, clock: &Clock) -> bool {
        self.trouble_at.lock().is_some_and(|at| clock.uptime().saturating_sub(at) < time)
    }

    pub fn is_storm(&self, clock: &Clock) -> bool {
        self.renewals.lock().storm_until.is_some_and(|until| until > clock.uptime())
    }

    /// Takes note of a renewal that went through.
    pub fn renewed(&self, leases: Vec<Lease>, continued: bool, clock: &Clock) {
        let (now, uptime) = (clock.now(), clock.uptime());
        let total = leases.iter().map(|lease| lease.sessions).sum();
        {
            let mut renewals = self.renewals.lock();
            let gap = renewals.last.is_none_or(|(_, since)| uptime.saturating_sub(since) >= self.lease);
            if gap || !continued {
                renewals.well_since = Some(uptime);
            }
            renewals.last = Some((now, uptime));
            renewals.count(total, uptime);
        }
        {
            let mut seen = self.seen.lock();
            seen.retain(|_, at| uptime.saturating_sub(*at) < self.lease);
            seen.extend(leases.iter().filter(|lease| lease.expires_at > now).map(|lease| (lease.node.clone(), uptime)));
        }
        *self.routes.write() = leases.iter().map(|lease| (tag_of(&lease.node), lease.address.clone())).collect();
        metrics::cluster_nodes(leases.iter().filter(|lease| lease.expires_at > now).count());
        *self.leases.write() = leases.into_iter().map(|lease| (lease.node.clone(), lease)).collect();
    }

    pub fn expired(&self, now: Timestamp) -> Vec<Lease> {
        let leases = self.leases.read();
        leases.values().filter(|lease| lease.node != self.own && lease.expires_at <= now).cloned().collect()
    }
}

/// A short name of a node.
fn tag_of(node: &NodeId) -> String {
    Sha256::digest(node.as_str().as_bytes())[..5].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Renewals {
    fn count(&mut self, total: u64, now: Duration) {
        while self.sessions.front().is_some_and(|(at, _)| now.saturating_sub(*at) > STORM_WINDOW) {
            self.sessions.pop_front();
        }
        let most = self.sessions.iter().map(|(_, sessions)| *sessions).max().unwrap_or(0);
        let vanished = most.saturating_sub(total);
        if vanished >= STORM_LEAST && vanished * STORM_SHARE > most {
            if self.storm_until.is_none_or(|until| until <= now) {
                metrics::storm();
                tracing::error!(most, total, "a large part of the cluster's sessions vanished, graces are prolonged");
            }
            self.storm_until = Some(now + STORM_LASTS);
        }
        self.sessions.push_back((now, total));
    }
}

impl Nodes {
    pub fn own_lease(&self, epoch: u64, expires_at: Timestamp, sessions: u64) -> Lease {
        Lease {
            node: self.own.clone(),
            epoch,
            address: self.address.clone(),
            probe: self.probe.clone(),
            expires_at,
            sessions,
        }
    }

    pub fn has_renewed(&self) -> bool {
        self.renewals.lock().last.is_some()
    }
}

impl Node {
    /// How long the store has not renewed this node's lease, by a clock that counts suspension.
    pub(super) fn without_store_for(&self) -> Duration {
        self.clock.elapsed().saturating_sub(*self.nodes.renewed_at.lock())
    }

    /// How long the node has tried in vain to have its lease renewed: while it stood still it did not try.
    pub(super) fn tried_in_vain_for(&self) -> Duration {
        let without = self.without_store_for();
        self.pulse.goes_on_for(self.clock.elapsed()).map_or(without, |awake| without.min(awake))
    }

    /// Where the other nodes known last say whether they are ready.
    pub(super) fn probes_of_others(&self) -> Vec<String> {
        let leases = self.nodes.leases.read();
        let others = leases.values().filter(|lease| lease.node != self.nodes.own && !lease.probe.is_empty());
        others.map(|lease| lease.probe.clone()).collect()
    }

    /// What this node's session ids say of it.
    pub(super) fn own_tag(&self) -> String {
        tag_of(&self.nodes.own)
    }

    /// How to reach the node that a session id names. One that is not known, because it just started, is looked for by
    /// the lease task, for all who wait at once; few may.
    pub(super) async fn address_of(self: &Arc<Self>, tag: &str) -> Option<String> {
        let known = || self.nodes.routes.read().get(tag).cloned();
        if let Some(address) = known() {
            return Some(address);
        }
        let _waiting = self.nodes.seekers.try_acquire().ok()?;
        tokio::time::sleep(LOOK_PAUSE).await;
        self.look_again().await;
        known()
    }
}
