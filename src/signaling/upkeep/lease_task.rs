//! The task that keeps the lease of this node, and does with each renewal what the node owes the store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::OwnPast;
use crate::signaling::cluster::{Leftover, OwnLease, Registration, StoreIdentity};
use crate::signaling::connections::{Absences, Registering};
use crate::signaling::node::NodeContext;
use crate::store::{SessionStore, StoreError};
use crate::telemetry::metrics;

/// Between two renewals, however many ask.
const PAUSE: Duration = Duration::from_millis(50);
/// Sessions that are removed at the same time.
const AT_ONCE: usize = 64;

/// Keeps the lease.
pub struct LeaseTask {
    pub node: Arc<NodeContext>,
    pub sessions: Arc<dyn SessionStore>,
    pub lease: Arc<OwnLease>,
    pub identity: Arc<StoreIdentity>,
    pub registration: Arc<Registration>,
    pub registering: Registering,
    pub absences: Arc<Absences>,
    pub own_past: OwnPast,
}

impl LeaseTask {
    /// Renews the lease again and again, and at once where somebody asks.
    pub async fn keep_lease(self: Arc<Self>) {
        loop {
            self.lease.is_due().await;
            if let Err(error) = self.lease.round(self.renew_lease()).await {
                metrics::store_failed();
                metrics::store_healthy(0);
                self.registration.has_trouble();
                tracing::debug!(%error, "renewing the lease failed");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Renews the lease; where it had run out, a new epoch begins and all sessions are registered again.
    pub async fn renew_lease(&self) -> Result<(), StoreError> {
        let old = self.registration.epoch();
        let continued = self.lease.ask_renewal(old).await?;
        self.identity.check().await?;
        let left = self.registration.leftovers();
        let wanted = self.registration.wanted();
        let refresh = self.registration.wants_refresh();
        let anew = !continued || self.registration.begins_anew();
        if !anew && wanted.is_none() && !refresh {
            self.renewing(old, self.take_leave(&left)).await?;
            self.renewing(old, self.registering.renew_subscriptions()).await?;
            return self.sweep_own_past(old).await;
        }
        if anew {
            self.registration.register_again();
            if self.registration.begin_epoch(self.node.now()) {
                self.own_past.ends(old);
            }
        }
        let new = self.registration.epoch();
        // Sessions of an epoch that others do not know yet live; those of one that they know to be over do not.
        let meanwhile = if continued { old } else { new };
        if !continued {
            self.lease.ask_renewal(new).await?;
        }
        let wanted = self.registration.wanted();
        let registering = async {
            let past = self.sessions.begin(&self.node.id, new).await?;
            self.registering.register_all().await?;
            Ok(past)
        };
        let past = self.renewing(meanwhile, registering).await?;
        // This node may have stood still, and others have swept what it registered: then all of it is done again.
        if !self.lease.ask_renewal(meanwhile).await? {
            return Err(self.ran_out());
        }
        self.own_past.is_over(past);
        if anew && continued {
            self.lease.ask_renewal(new).await?;
        }
        self.registration.is_refreshed();
        if let Some(wanted) = wanted {
            self.registration.registered(wanted);
        }
        self.renewing(new, self.take_leave(&left)).await?;
        self.sweep_own_past(new).await
    }

    /// Works, and renews the lease meanwhile.
    async fn renewing<T>(
        &self,
        epoch: u64,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.lease.renewing(epoch, work).await.unwrap_or_else(|| Err(self.ran_out()))
    }

    /// The lease ran out under this node, which renewed it since: with the next renewal a new epoch begins all the same.
    fn ran_out(&self) -> StoreError {
        self.registration.begin_anew();
        self.registration.register_again();
        StoreError::Unavailable("the lease of this node ran out meanwhile".into())
    }

    /// What a store that failed kept of earlier epochs, too.
    async fn sweep_own_past(&self, epoch: u64) -> Result<(), StoreError> {
        if self.own_past.is_swept() {
            return Ok(());
        }
        self.renewing(epoch, self.own_past.sweep(self.lease.of_epoch(epoch))).await
    }

    /// Does once more what follows from sessions that left while the store failed, after whatever lives is registered.
    async fn take_leave(&self, left: &[Leftover]) -> Result<(), StoreError> {
        let leaves = stream::iter(left).map(Ok).try_for_each_concurrent(AT_ONCE, |leftover| async move {
            // On the heap: the lease task is deep already.
            if Box::pin(self.absences.take_leave(leftover)).await? {
                self.registration.is_removed(&leftover.session);
            }
            Ok(())
        });
        leaves.await
    }
}
