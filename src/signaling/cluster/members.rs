//! What this node knows of all nodes, by the leases it read with its last renewal.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

use crate::call::{NodeId, Timestamp};
use crate::signaling::node::NodeContext;
use crate::store::{Lease, SessionRecord};
use crate::telemetry::metrics;

/// A mass disconnect: this share of the cluster's sessions, and at least so many, vanish within the window.
const MASS_DISCONNECT_SHARE: u64 = 5;
const MASS_DISCONNECT_LEAST: u64 = 100;
const MASS_DISCONNECT_WINDOW: Duration = Duration::from_secs(30);
const MASS_DISCONNECT_LASTS: Duration = Duration::from_secs(120);

/// What this node knows of all nodes.
pub struct Members {
    node: Arc<NodeContext>,
    leases: RwLock<HashMap<NodeId, Lease>>,
    /// When a live lease of each node was last seen, by the monotonic clock.
    seen: Mutex<HashMap<NodeId, Duration>>,
    /// Addresses by tag: what a session id says of its node.
    addresses: RwLock<HashMap<String, String>>,
    renewals: Mutex<Renewals>,
}

/// The renewals of this node's lease. Ages are by the monotonic clock, so that no step of another clock makes them.
#[derive(Default)]
struct Renewals {
    first: Option<Duration>,
    /// Store time and age of the last one.
    last: Option<(Timestamp, Duration)>,
    /// Since when renewals went through without a gap.
    well_since: Option<Duration>,
    /// Sessions of the cluster over the last window.
    sessions: VecDeque<(Duration, u64)>,
    mass_disconnect_until: Option<Duration>,
}

impl Members {
    pub fn new(node: Arc<NodeContext>) -> Self {
        Self {
            node,
            leases: RwLock::default(),
            seen: Mutex::default(),
            addresses: RwLock::default(),
            renewals: Mutex::default(),
        }
    }

    /// Whether a session may be alive: only an expired lease, read by a node that is well itself, says no.
    pub fn may_live(&self, session: &SessionRecord) -> bool {
        let now = self.node.now();
        let leases = self.leases.read();
        let Some(lease) = leases.get(&session.node) else {
            // It began since this node read the leases: if the store is lost now, it is one to wait for.
            self.seen.lock().insert(session.node.clone(), self.node.clock.uptime());
            return true;
        };
        if lease.epoch != session.epoch {
            // Registered again since, or a lease newer than what was read last.
            return session.epoch > lease.epoch;
        }
        lease.expires_at > now || !self.is_well(lease.expires_at)
    }

    /// Whether a session may be alive, and its lease had not run out when this node read it last. Of one that had run out, a
    /// node that is not well can't say that it is dead; but where it is, the sweep dates it by that lease.
    pub fn is_vouched_for(&self, session: &SessionRecord) -> bool {
        let read_at = self.renewals.lock().last.map(|(at, _)| at);
        let had_run_out = |lease: &Lease| lease.epoch == session.epoch && Some(lease.expires_at) <= read_at;
        let is_over = self.leases.read().get(&session.node).is_some_and(had_run_out);
        !is_over && self.may_live(session)
    }

    pub fn is_dead(&self, node: &NodeId) -> bool {
        let now = self.node.now();
        let expired = self.leases.read().get(node).map(|lease| lease.expires_at);
        expired.is_some_and(|expires_at| expires_at <= now && self.is_well(expires_at))
    }

    /// Every lease as it was read last.
    pub fn leases(&self) -> Vec<Lease> {
        self.leases.read().values().cloned().collect()
    }

    /// Every other node that may be alive.
    pub fn others(&self) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.leases.read().keys().filter(|node| **node != self.node.id).cloned().collect();
        nodes.into_iter().filter(|node| !self.is_dead(node)).collect()
    }

    /// Every other node that was alive when this one saw the leases before last, or within a lease before that: a store that
    /// lost its data has no lease of those that have not renewed theirs since, and this node may have been cut off till now.
    pub fn others_lately(&self) -> Vec<NodeId> {
        self.seen.lock().keys().filter(|node| **node != self.node.id).cloned().collect()
    }

    /// Own renewals went through without a gap for a full lease, and one of them after `moment`.
    pub fn is_well(&self, moment: Timestamp) -> bool {
        let (renewals, uptime, lease) = (self.renewals.lock(), self.node.clock.uptime(), self.node.policy.lease);
        let age = |since: Duration| uptime.saturating_sub(since);
        renewals.last.is_some_and(|(at, since)| at >= moment && age(since) < lease)
            && renewals.well_since.is_some_and(|since| age(since) >= lease)
    }

    /// A large part of the cluster's sessions vanished lately.
    pub fn is_mass_disconnect(&self) -> bool {
        self.renewals.lock().mass_disconnect_until.is_some_and(|until| until > self.node.clock.uptime())
    }

    /// Whether the time that this node has from the store is that of other nodes: one that begins just after a step of the
    /// store's clock believes it, until another has taken it back with a renewal.
    pub fn share_its_time(&self) -> bool {
        let is_alone = self.leases.read().keys().all(|node| *node == self.node.id);
        let renewals = self.renewals.lock();
        let all = renewals.first.zip(renewals.last);
        all.is_some_and(|(first, (_, last))| is_alone || last.saturating_sub(first) >= self.node.policy.lease_renewal)
    }

    /// Whether this node's lease was ever renewed.
    pub fn has_renewed(&self) -> bool {
        self.renewals.lock().last.is_some()
    }

    /// Takes note of a renewal that went through.
    pub fn renewed(&self, leases: Vec<Lease>, continued: bool) {
        let (now, uptime) = (self.node.now(), self.node.clock.uptime());
        let (total, lease) = (leases.iter().map(|lease| lease.sessions).sum(), self.node.policy.lease);
        let before = {
            let mut renewals = self.renewals.lock();
            let before = renewals.last.map_or(uptime, |(_, since)| since);
            let gap = renewals.last.is_none_or(|(_, since)| uptime.saturating_sub(since) >= lease);
            if gap || !continued {
                renewals.well_since = Some(uptime);
            }
            renewals.first.get_or_insert(uptime);
            renewals.last = Some((now, uptime));
            renewals.count(total, uptime);
            before
        };
        {
            let mut seen = self.seen.lock();
            seen.retain(|_, at| before.saturating_sub(*at) < lease);
            seen.extend(leases.iter().filter(|lease| lease.expires_at > now).map(|lease| (lease.node.clone(), uptime)));
        }
        *self.addresses.write() = leases.iter().map(|lease| (tag_of(&lease.node), lease.address.clone())).collect();
        metrics::cluster_nodes(leases.iter().filter(|lease| lease.expires_at > now).count());
        *self.leases.write() = leases.into_iter().map(|lease| (lease.node.clone(), lease)).collect();
    }

    /// The leases of other nodes that have run out.
    pub fn expired(&self) -> Vec<Lease> {
        let (leases, now) = (self.leases.read(), self.node.now());
        leases.values().filter(|lease| lease.node != self.node.id && lease.expires_at <= now).cloned().collect()
    }

    /// Where the other nodes known last say whether they are ready.
    pub fn probes_of_others(&self) -> Vec<String> {
        let leases = self.leases.read();
        let others = leases.values().filter(|lease| lease.node != self.node.id && !lease.probe.is_empty());
        others.map(|lease| lease.probe.clone()).collect()
    }

    /// Where the node with this tag is reached, as far as is known.
    pub fn address(&self, tag: &str) -> Option<String> {
        self.addresses.read().get(tag).cloned()
    }

    /// What this node's session ids say of it.
    pub fn own_tag(&self) -> String {
        tag_of(&self.node.id)
    }
}

/// A short name of a node.
fn tag_of(node: &NodeId) -> String {
    Sha256::digest(node.as_str().as_bytes())[..5].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Renewals {
    fn count(&mut self, total: u64, now: Duration) {
        while self.sessions.front().is_some_and(|(at, _)| now.saturating_sub(*at) > MASS_DISCONNECT_WINDOW) {
            self.sessions.pop_front();
        }
        let most = self.sessions.iter().map(|(_, sessions)| *sessions).max().unwrap_or(0);
        let vanished = most.saturating_sub(total);
        if vanished >= MASS_DISCONNECT_LEAST && vanished * MASS_DISCONNECT_SHARE > most {
            if self.mass_disconnect_until.is_none_or(|until| until <= now) {
                metrics::mass_disconnect();
                tracing::error!(most, total, "a large part of the cluster's sessions vanished, graces are prolonged");
            }
            self.mass_disconnect_until = Some(now + MASS_DISCONNECT_LASTS);
        }
        self.sessions.push_back((now, total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::signaling::Policy;
    use crate::store::contract::{lease, session};

    fn of_n1() -> (Members, Clock, Policy) {
        let (clock, policy) = (Clock::manual(Timestamp::from_millis(1_000_000)), Policy::for_tests());
        let (traces, tasks, stop) = Default::default();
        let id = NodeId::parse("n1").unwrap();
        let node = NodeContext { id, clock: clock.clone(), policy, traces, tasks, stop };
        (Members::new(Arc::new(node)), clock, policy)
    }

    /// A node that was cut off for longer than a lease came back to an emptied store, waited for nobody, and decided on
    /// what it had missed the end of.
    #[test]
    fn who_was_cut_off_knows_the_others_of_before() {
        let (members, clock, policy) = of_n1();
        let renew = |nodes: &[&str]| {
            let expires_at = clock.now() + policy.lease;
            let leases = nodes.iter().map(|node| Lease { expires_at, ..lease(node, 1) });
            members.renewed(leases.collect(), true);
        };
        let others = || members.others_lately().iter().map(|node| node.as_str().to_owned()).collect::<Vec<_>>();
        renew(&["n1", "n2"]);
        clock.advance(policy.lease * 2);
        assert_eq!(others(), ["n2"], "cut off");
        renew(&["n1"]);
        assert_eq!(others(), ["n2"], "back, and the store is empty");
        clock.advance(policy.lease_renewal);
        renew(&["n1"]);
        assert_eq!(others(), [""; 0]);
        assert!(members.may_live(&session(1, "ana", "n3", 1)));
        assert_eq!(others(), ["n3"], "begun since, by a session it has");
    }

    /// Between its first reading of the store's clock and the next renewal of another it decides on no deadline of others.
    #[test]
    fn who_has_just_begun_shares_no_time_yet() {
        let (members, clock, policy) = of_n1();
        assert!(!members.share_its_time(), "the store said nothing yet");
        members.renewed(vec![lease("n1", 1)], false);
        assert!(members.share_its_time(), "there is nobody else");
        members.renewed(vec![lease("n1", 1), lease("n2", 1)], true);
        assert!(!members.share_its_time());
        clock.advance(policy.lease_renewal);
        members.renewed(vec![lease("n1", 1), lease("n2", 1)], true);
        assert!(members.share_its_time());
    }

    /// In an old copy of the store a node that had gone long ago has sessions: nobody is well enough to call it dead for a
    /// lease, and its user's own session left meanwhile.
    #[test]
    fn a_lease_that_had_run_out_vouches_for_nobody() {
        let (members, clock, policy) = of_n1();
        let of = |epoch| session(1, "ana", "n2", epoch);
        let said = || (members.may_live(&of(1)), members.is_vouched_for(&of(1)));
        assert_eq!(said(), (true, true), "nothing was read yet");
        let renew = |expires_at| {
            let own = Lease { expires_at: clock.now() + policy.lease, ..lease("n1", 1) };
            members.renewed(vec![own, Lease { expires_at, ..lease("n2", 1) }], true);
        };
        let expires_at = clock.now() + policy.lease_renewal;
        renew(expires_at);
        clock.advance(policy.lease_renewal * 2);
        assert_eq!(said(), (true, true), "it had not run out when it was read: the other may have renewed it since");
        renew(expires_at);
        assert_eq!(said(), (true, false));
        assert!(members.is_vouched_for(&of(2)), "registered again since");
        assert!(members.is_vouched_for(&session(1, "ana", "n3", 1)), "on a node that began since");
        for _ in 0..4 {
            clock.advance(policy.lease_renewal);
            renew(expires_at);
        }
        assert_eq!(said(), (false, false), "this node is well");
    }
}
