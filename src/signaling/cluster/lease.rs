//! The lease of this node: one task renews it, and nobody else. Whoever needs a fresh look at the leases asks that task:
//! what a renewal takes up must not end with a request that was given up.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Members;
use crate::clock::Reading;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{Lease, SessionStore, StoreError};
use crate::telemetry::{metrics, outage};

/// Longer than a renewal takes that fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// A renewal under way may take so long until it fails.
pub const RENEWAL_PATIENCE: Duration = Duration::from_secs(2);

/// Where other nodes find this one.
pub struct Place {
    pub address: String,
    /// Where it says whether it is ready.
    pub probe: String,
}

/// The lease of this node.
pub struct OwnLease {
    node: Arc<NodeContext>,
    store: Arc<dyn SessionStore>,
    members: Arc<Members>,
    local: Arc<LocalSessions>,
    place: Place,
    /// By the clock's `elapsed`.
    renewed_at: Mutex<Duration>,
    /// Wakes the lease task before its time.
    wanted: Notify,
    /// The renewals that were begun and, of these, the last that ended.
    rounds: watch::Sender<Round>,
}

/// Renewals, counted.
#[derive(Clone, Copy, Default)]
struct Round {
    begun: u64,
    /// The last of them that ended, and whether it went through.
    ended: u64,
    went_through: bool,
}

impl OwnLease {
    pub fn new(
        node: Arc<NodeContext>,
        store: Arc<dyn SessionStore>,
        members: Arc<Members>,
        local: Arc<LocalSessions>,
        place: Place,
    ) -> Self {
        // It has the time of a lease to renew for the first time.
        let renewed_at = Mutex::new(node.clock.elapsed());
        let (wanted, rounds) = (Notify::new(), watch::Sender::new(Round::default()));
        Self { node, store, members, local, place, renewed_at, wanted, rounds }
    }

    /// Until the next renewal is due, or somebody asks for one.
    pub async fn is_due(&self) {
        tokio::select! {
            () = self.node.clock.sleep(self.node.policy.lease_renewal) => {}
            () = self.wanted.notified() => {}
        }
    }

    /// Makes one renewal, for all who wait for one that begins from now on.
    pub async fn round(&self, renewal: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
        let mut begun = 0;
        self.rounds.send_modify(|rounds| {
            rounds.begun += 1;
            begun = rounds.begun;
        });
        let renewed = renewal.await;
        let went_through = renewed.is_ok();
        if went_through {
            outage::redis_answers();
        }
        self.rounds.send_modify(|rounds| *rounds = Round { ended: begun, went_through, ..*rounds });
        renewed
    }

    /// Waits for a renewal that begins from now on; false where it failed. Dropped, it leaves nothing behind.
    pub async fn look_again(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        let begun = rounds.borrow_and_update().begun;
        self.wanted.notify_one();
        let ended = rounds.wait_for(|rounds| rounds.ended > begun);
        matches!(tokio::time::timeout(PATIENCE, ended).await, Ok(Ok(rounds)) if rounds.went_through)
    }

    /// Waits for the renewal under way, if there is one: false where that takes too long. It registers the sessions that it
    /// found when it began.
    pub async fn comes_to_rest(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        let begun = rounds.borrow_and_update().begun;
        let ended = rounds.wait_for(|rounds| rounds.ended >= begun);
        matches!(tokio::time::timeout(RENEWAL_PATIENCE, ended).await, Ok(Ok(_)))
    }

    /// Works for as long as it takes, and renews the lease meanwhile: a store that answers slowly must not let it run out
    /// behind thousands of registrations. Absent where it did run out, and the work was given up.
    pub async fn renewing<T>(&self, epoch: u64, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.runs_out(epoch) => None,
        }
    }

    async fn runs_out(&self, epoch: u64) {
        loop {
            self.node.clock.sleep(self.node.policy.lease_renewal).await;
            match self.ask_renewal(epoch).await {
                Ok(true) => {}
                Ok(false) => return,
                // What is done meanwhile finds out by itself.
                Err(error) => tracing::debug!(%error, "renewing the lease failed"),
            }
        }
    }

    /// The lease as it is to be, under this epoch.
    pub fn of_epoch(&self, epoch: u64) -> Lease {
        Lease {
            node: self.node.id.clone(),
            epoch,
            address: self.place.address.clone(),
            probe: self.place.probe.clone(),
            expires_at: self.node.now() + self.node.policy.lease,
            sessions: self.local.len() as u64,
        }
    }

    /// Whether the lease had not run out.
    pub async fn ask_renewal(&self, epoch: u64) -> Result<bool, StoreError> {
        let (lease, asked) = (self.of_epoch(epoch), self.node.clock.elapsed());
        // A lease is compared with the time of nodes: by their own, no step of the store's clock ends one.
        let now = self.members.has_renewed().then(|| self.node.now());
        let renewal = self.store.renew(&lease, self.node.policy.lease, now).await?;
        if let Some(said) = renewal.store_time {
            let reading = Reading { said, asked, answered: self.node.clock.elapsed() };
            if let Some(shift) = self.node.clock.follow(reading) {
                metrics::clock_stepped();
                let step_ms = shift.from - shift.to;
                tracing::error!(step_ms, "the store's clock made a step, store time does not");
                if self.store.shift_clock(shift).await? {
                    self.node.clock.shifted(shift);
                }
            }
        }
        self.members.renewed(renewal.leases, renewal.continued);
        *self.renewed_at.lock() = asked;
        metrics::store_healthy(1);
        Ok(renewal.continued)
    }

    /// How long the store has not renewed this node's lease, by a clock that counts suspension.
    pub fn without_store_for(&self) -> Duration {
        self.node.since(*self.renewed_at.lock())
    }

    /// A lease is fresh until two renewals in a row failed.
    pub fn is_fresh(&self) -> bool {
        self.without_store_for() <= 2 * self.node.policy.lease_renewal + RENEWAL_PATIENCE
    }

    /// Has the lease renewed once more: a node that was suspended finds everything old, and its store well.
    pub async fn renew_once_more(&self) -> bool {
        self.look_again().await && self.is_fresh()
    }
}
