//! The lease of this node: one task renews it, and nobody else. Whoever needs a fresh look at the leases asks that task:
//! what a renewal takes up must not end with a request that was given up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::Node;
use super::nodes::Round;
use crate::clock::Reading;
use crate::store::{Lease, StoreError};
use crate::telemetry::metrics;

/// Registered again this often, so that presence outlives the store's garbage collection.
const REFRESH: Duration = Duration::from_secs(3600);
/// Between two renewals, however many ask.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than a renewal takes that fails.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions of a phone or of the past that are removed at the same time.
const AT_ONCE: usize = 64;

impl Node {
    /// Renews the lease again and again, and at once where somebody asks.
    pub(super) async fn keep_lease(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.clock.sleep(self.policy.lease_renewal) => {}
                () = self.nodes.wanted.notified() => {}
            }
            let mut begun = 0;
            self.nodes.rounds.send_modify(|rounds| {
                rounds.begun += 1;
                begun = rounds.begun;
            });
            let renewed = self.renew_lease().await;
            if let Err(error) = &renewed {
                metrics::store_failed();
                metrics::store_healthy(0);
                self.nodes.has_trouble(&self.clock);
                tracing::warn!(%error, "renewing the lease failed");
            }
            let went_through = renewed.is_ok();
            self.nodes.rounds.send_modify(|rounds| *rounds = Round { ended: begun, went_through, ..*rounds });
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for a renewal that begins from now on; false where it failed. Dropped, it leaves nothing behind.
    pub(super) async fn look_again(&self) -> bool {
        let mut rounds = self.nodes.rounds.subscribe();
        let begun = rounds.borrow_and_update().begun;
        self.nodes.wanted.notify_one();
        let ended = rounds.wait_for(|rounds| rounds.ended > begun);
        matches!(tokio::time::timeout(PATIENCE, ended).await, Ok(Ok(rounds)) if rounds.went_through)
    }

    /// Renews the lease; where it had run out, a new epoch begins and all sessions are registered again.
    pub(super) async fn renew_lease(self: &Arc<Self>) -> Result<(), StoreError> {
        let old = self.nodes.epoch();
        let continued = self.ask_renewal(old).await?;
        self.check_generation().await?;
        self.renewing(old, self.remove_leftovers()).await?;
        let wanted = self.nodes.registrations();
        let refresh = self.clock.uptime().saturating_sub(self.nodes.renewals.lock().refreshed_at) >= REFRESH;
        let anew = !continued || self.nodes.begins_anew();
        if !anew && wanted.is_none() && !refresh {
            return Ok(());
        }
        if anew {
            self.nodes.register_again();
            self.nodes.begin_epoch(self.clock.now());
        }
        let new = self.nodes.epoch();
        // Sessions of an epoch that others do not know yet live; those of one that they know to be over do not.
        let meanwhile = if continued { old } else { new };
        if !continued {
            self.ask_renewal(new).await?;
        }
        let wanted = self.nodes.registrations();
        let registering = async {
            let past = self.sessions.begin(&self.nodes.own, new).await?;
            self.register_all().await?;
            Ok(past)
        };
        let mut past = self.renewing(meanwhile, registering).await?;
        past.push(old);
        if anew && continued {
            self.ask_renewal(new).await?;
        }
        self.nodes.renewals.lock().refreshed_at = self.clock.uptime();
        if let Some(wanted) = wanted {
            self.nodes.registered(wanted);
        }
        // What lives has been registered under the new epoch.
        self.renewing(new, self.sweep_own_past(self.own_lease(old), past)).await
    }

    /// Works for as long as it takes, and renews the lease meanwhile: a store that answers slowly must not let it run out
    /// behind thousands of registrations.
    async fn renewing<T>(
        &self,
        epoch: u64,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            done = work => done,
            never = self.keep_renewing(epoch) => match never {},
        }
    }

    async fn keep_renewing(&self, epoch: u64) -> Infallible {
        loop {
            self.clock.sleep(self.policy.lease_renewal).await;
            if let Err(error) = self.ask_renewal(epoch).await {
                // What is done meanwhile finds out by itself.
                tracing::warn!(%error, "renewing the lease failed");
            }
        }
    }

    /// Removes sessions that left while the store failed; each is forgotten here only when that is done.
    async fn remove_leftovers(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut removals = stream::iter(self.nodes.leftovers())
            .map(|session| async move {
                self.sessions.unregister(&session).await?;
                self.went_away(&session.user).await;
                self.absent(&session, self.clock.now()).await?;
                self.nodes.is_removed(&session);
                Ok::<(), StoreError>(())
            })
            .buffer_unordered(AT_ONCE);
        while let Some(removed) = removals.next().await {
            removed?;
        }
        Ok(())
    }

    fn own_lease(&self, epoch: u64) -> Lease {
        let expires_at = self.clock.now() + self.policy.lease;
        self.nodes.own_lease(epoch, expires_at, self.floor.len() as u64)
    }

    /// Whether the lease had not run out.
    async fn ask_renewal(&self, epoch: u64) -> Result<bool, StoreError> {
        let (lease, asked) = (self.own_lease(epoch), self.clock.elapsed());
        // A lease is compared with the time of nodes: by their own, no step of the store's clock ends one.
        let now = self.nodes.has_renewed().then(|| self.clock.now());
        let renewal = self.sessions.renew(&lease, self.policy.lease, now).await?;
        if let Some((raw, shift)) = renewal.store_time {
            let reading = Reading { raw, shift, asked, answered: self.clock.elapsed() };
            if let Some(shift) = self.clock.follow(reading) {
                metrics::clock_stepped();
                let step_ms = shift.from - shift.to;
                tracing::error!(step_ms, "the store's clock made a step, store time does not");
                if self.sessions.shift_clock(shift).await? {
                    self.clock.shifted(shift);
                }
            }
        }
        self.nodes.renewed(renewal.leases, renewal.continued, &self.clock);
        *self.nodes.renewed_at.lock() = asked;
        metrics::store_healthy(1);
        Ok(renewal.continued)
    }
}
