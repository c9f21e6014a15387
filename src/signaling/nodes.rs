//! Node leases: the own one is renewed, those of dead nodes are swept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::Signaling;
use crate::call::{NodeId, Timestamp};
use crate::store::{Lease, SessionRecord, StoreError};
use crate::telemetry::metrics;

const SWEEP_TICK: Duration = Duration::from_millis(300);
/// Before each look for an unknown node.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Requests that wait for such a look; more are told that the session is unknown.
const SEEKERS: usize = 64;
const SWEPT_AT_ONCE: usize = 512;
/// Registered again this often, so that presence outlives the store's garbage collection.
const REFRESH: Duration = Duration::from_secs(3600);
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
    /// Addresses by tag: what a session id says of its node.
    routes: RwLock<HashMap<String, String>>,
    seekers: Semaphore,
    looking: tokio::sync::Mutex<()>,
    renewals: Mutex<Renewals>,
    /// By the clock's `elapsed`.
    renewed_at: Mutex<Duration>,
    register_again: AtomicBool,
    /// Sessions that left while the store failed.
    leftovers: Mutex<Vec<SessionRecord>>,
    leaves_something: AtomicBool,
}

struct Renewals {
    last: Option<Timestamp>,
    /// Since when renewals went through without a gap.
    well_since: Option<Timestamp>,
    refreshed_at: Timestamp,
    /// Sessions of the cluster over the last window.
    sessions: VecDeque<(Timestamp, u64)>,
    storm_until: Option<Timestamp>,
}

impl Nodes {
    pub fn new(own: NodeId, address: String, probe: String, lease: Duration, now: Timestamp) -> Self {
        Self {
            own,
            address,
            probe,
            lease,
            epoch: AtomicU64::new(now.as_millis()),
            leases: RwLock::default(),
            routes: RwLock::default(),
            seekers: Semaphore::new(SEEKERS),
            looking: tokio::sync::Mutex::default(),
            renewals: Mutex::new(Renewals {
                last: None,
                well_since: None,
                refreshed_at: now,
                sessions: VecDeque::new(),
                storm_until: None,
            }),
            renewed_at: Mutex::default(),
            register_again: AtomicBool::new(false),
            leftovers: Mutex::default(),
            leaves_something: AtomicBool::new(false),
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Asks for a registration of all sessions with the next renewal.
    pub fn register_again(&self) {
        self.register_again.store(true, Ordering::Relaxed);
    }

    /// Keeps a session whose removal failed, to be removed with the next renewal.
    pub fn remove_later(&self, session: SessionRecord) {
        self.leftovers.lock().push(session);
    }

    /// Something of this node stays in the store: its lease must expire, not end.
    pub fn leave_the_lease(&self) {
        self.leaves_something.store(true, Ordering::Relaxed);
    }

    pub fn leaves_something(&self) -> bool {
        self.leaves_something.load(Ordering::Relaxed) || !self.leftovers.lock().is_empty()
    }

    /// Whether a session may be alive: only an expired lease, read by a node that is well itself, says no.
    pub fn may_live(&self, session: &SessionRecord, now: Timestamp) -> bool {
        let leases = self.leases.read();
        let Some(lease) = leases.get(&session.node) else { return true };
        if lease.epoch != session.epoch {
            // Registered again since, or a lease newer than what was read last.
            return session.epoch > lease.epoch;
        }
        lease.expires_at > now || !self.is_well(now, lease.expires_at)
    }

    pub fn is_dead(&self, node: &NodeId, now: Timestamp) -> bool {
        let expired = self.leases.read().get(node).map(|lease| lease.expires_at);
        expired.is_some_and(|expires_at| expires_at <= now && self.is_well(now, expires_at))
    }

    /// Every other node that may be alive.
    pub fn others(&self, now: Timestamp) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.leases.read().keys().filter(|node| **node != self.own).cloned().collect();
        nodes.into_iter().filter(|node| !self.is_dead(node, now)).collect()
    }

    /// Own renewals went through without a gap for a full lease, and one of them after `moment`.
    fn is_well(&self, now: Timestamp, moment: Timestamp) -> bool {
        let renewals = self.renewals.lock();
        renewals.last.is_some_and(|last| last >= moment && now.since(last) < self.lease)
            && renewals.well_since.is_some_and(|since| now.since(since) >= self.lease)
    }

    pub fn is_storm(&self, now: Timestamp) -> bool {
        self.renewals.lock().storm_until.is_some_and(|until| until > now)
    }

    /// Takes note of a renewal that went through.
    fn renewed(&self, leases: Vec<Lease>, continued: bool, now: Timestamp) {
        let total = leases.iter().map(|lease| lease.sessions).sum();
        {
            let mut renewals = self.renewals.lock();
            let gap = renewals.last.is_none_or(|last| now.since(last) >= self.lease);
            if gap || !continued {
                renewals.well_since = Some(now);
            }
            renewals.last = Some(now);
            renewals.count(total, now);
        }
        *self.routes.write() = leases.iter().map(|lease| (tag_of(&lease.node), lease.address.clone())).collect();
        metrics::cluster_nodes(leases.iter().filter(|lease| lease.expires_at > now).count());
        *self.leases.write() = leases.into_iter().map(|lease| (lease.node.clone(), lease)).collect();
    }

    fn expired(&self, now: Timestamp) -> Vec<Lease> {
        let leases = self.leases.read();
        leases.values().filter(|lease| lease.node != self.own && lease.expires_at <= now).cloned().collect()
    }
}

/// A short name of a node.
fn tag_of(node: &NodeId) -> String {
    Sha256::digest(node.as_str().as_bytes())[..5].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Renewals {
    fn count(&mut self, total: u64, now: Timestamp) {
        while self.sessions.front().is_some_and(|(at, _)| now.since(*at) > STORM_WINDOW) {
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

impl Signaling {
    /// How long the store has not renewed this node's lease, by a clock that counts suspension.
    pub fn without_store_for(&self) -> Duration {
        self.clock.elapsed().saturating_sub(*self.nodes.renewed_at.lock())
    }

    /// Where the other nodes known last say whether they are ready.
    pub fn probes_of_others(&self) -> Vec<String> {
        let leases = self.nodes.leases.read();
        let others = leases.values().filter(|lease| lease.node != self.nodes.own && !lease.probe.is_empty());
        others.map(|lease| lease.probe.clone()).collect()
    }

    /// What this node's session ids say of it.
    pub fn own_tag(&self) -> String {
        tag_of(&self.nodes.own)
    }

    /// How to reach the node that a session id names. One that is not known, because it just started, is looked for:
    /// one look at a time, few a second, and few who wait for it.
    pub async fn address_of(self: &Arc<Self>, tag: &str) -> Option<String> {
        let known = || self.nodes.routes.read().get(tag).cloned();
        if let Some(address) = known() {
            return Some(address);
        }
        let _waiting = self.nodes.seekers.try_acquire().ok()?;
        let _turn = self.nodes.looking.lock().await;
        if let Some(address) = known() {
            return Some(address);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
        self.renew_lease().await.ok()?;
        known()
    }

    /// Renews the lease; where it had run out, a new epoch begins and all sessions are registered again.
    pub(super) async fn renew_lease(self: &Arc<Self>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let renewal = self.ask_renewal(now).await?;
        self.check_generation().await?;
        self.remove_leftovers().await?;
        let again = self.nodes.register_again.swap(false, Ordering::Relaxed);
        let refresh = now.since(self.nodes.renewals.lock().refreshed_at) >= REFRESH;
        if renewal {
            if again || refresh {
                self.nodes.renewals.lock().refreshed_at = now;
                self.register_all().await.inspect_err(|_| self.nodes.register_again())?;
            }
            return Ok(());
        }
        let old = self.own_lease(now);
        let epoch = old.epoch.max(self.clock.now().as_millis()) + 1;
        self.nodes.epoch.store(epoch, Ordering::Relaxed);
        self.ask_renewal(self.clock.now()).await.inspect_err(|_| self.nodes.register_again())?;
        self.register_all().await.inspect_err(|_| self.nodes.register_again())?;
        // What the old epoch left behind has just been registered under the new one.
        while !self.sessions.sweep(&old, SWEPT_AT_ONCE).await?.is_empty() {}
        Ok(())
    }

    async fn remove_leftovers(self: &Arc<Self>) -> Result<(), StoreError> {
        let leftovers = std::mem::take(&mut *self.nodes.leftovers.lock());
        for (place, session) in leftovers.iter().enumerate() {
            if let Err(error) = self.sessions.unregister(session).await {
                self.nodes.leftovers.lock().extend_from_slice(&leftovers[place..]);
                return Err(error);
            }
            self.went_away(&session.user).await;
            self.absent(session, self.clock.now()).await;
        }
        Ok(())
    }

    fn own_lease(&self, now: Timestamp) -> Lease {
        Lease {
            node: self.nodes.own.clone(),
            epoch: self.nodes.epoch(),
            address: self.nodes.address.clone(),
            probe: self.nodes.probe.clone(),
            expires_at: now + self.policy.lease,
            sessions: self.floor.len() as u64,
        }
    }

    async fn ask_renewal(&self, now: Timestamp) -> Result<bool, StoreError> {
        let lease = self.own_lease(now);
        let asked = self.clock.elapsed();
        let renewal = self.sessions.renew(&lease, self.policy.lease, now).await?;
        if let Some(store_time) = renewal.store_time {
            self.clock.follow(store_time, asked, self.clock.elapsed());
        }
        self.nodes.renewed(renewal.leases, renewal.continued, self.clock.now());
        *self.nodes.renewed_at.lock() = self.clock.elapsed();
        metrics::store_healthy(1);
        Ok(renewal.continued)
    }

    pub(super) async fn keep_lease(self: Arc<Self>) {
        loop {
            self.clock.sleep(self.policy.lease_renewal).await;
            if let Err(error) = self.renew_lease().await {
                metrics::store_failed();
                metrics::store_healthy(0);
                tracing::warn!(%error, "renewing the lease failed");
            }
        }
    }

    /// Removes the sessions of dead nodes and starts the absence of their users.
    pub(super) async fn sweep_dead_nodes(self: Arc<Self>) {
        loop {
            self.clock.sleep(SWEEP_TICK).await;
            if self.nodes.expired(self.clock.now()).is_empty() {
                continue;
            }
            // What looks expired may have been renewed since it was read.
            if let Err(error) = self.renew_lease().await {
                tracing::warn!(%error, "renewing the lease failed");
                continue;
            }
            let now = self.clock.now();
            for lease in self.nodes.expired(now) {
                if self.nodes.is_well(now, lease.expires_at) {
                    self.sweep(&lease).await;
                }
            }
        }
    }

    async fn sweep(self: &Arc<Self>, lease: &Lease) {
        loop {
            let swept = match self.sessions.sweep(lease, SWEPT_AT_ONCE).await {
                Ok(swept) if swept.is_empty() => return,
                Ok(swept) => swept,
                Err(error) => {
                    tracing::warn!(peer = %lease.node, %error, "sweeping a dead node failed");
                    return;
                }
            };
            tracing::warn!(peer = %lease.node, sessions = swept.len(), "swept the sessions of a dead node");
            metrics::sessions_swept(swept.len());
            for session in swept {
                let (signaling, at) = (Arc::clone(self), lease.expires_at);
                self.went_away(&session.user).await;
                self.spawn(async move { signaling.absent(&session, at).await });
            }
        }
    }
}
