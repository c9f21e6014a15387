//! When a deadline is judged, and by whom.

use std::sync::Arc;
use std::time::Duration;

use super::Judge;
use crate::call::Timestamp;
use crate::signaling::call_cache::CallCache;
use crate::signaling::cluster::{Members, StoreIdentity};
use crate::signaling::node::NodeContext;
use crate::store::CallStore;
use crate::telemetry::metrics;

/// How often the index is asked for deadlines that nobody's timer fired.
const POLL: Duration = Duration::from_millis(300);
/// How long the nodes that hold the call have before others step in.
const PRECEDENCE: Duration = Duration::from_millis(300);
/// A claimed deadline is offered to others again after this.
const CLAIM: Duration = Duration::from_secs(2);
const CLAIM_AT_ONCE: usize = 128;
/// After a deadline that the store failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Finds deadlines that are due.
pub struct Timers {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub cache: Arc<CallCache>,
    pub identity: Arc<StoreIdentity>,
    pub members: Arc<Members>,
    pub judge: Arc<Judge>,
}

impl Timers {
    /// Fires the timers of the calls this node has to do with.
    pub async fn keep_firing(self: Arc<Self>) {
        loop {
            let changed = self.cache.changed.notified();
            match self.cache.next_timer() {
                Some(at) => tokio::select! {
                    () = self.node.clock.sleep_until(at) => {}
                    () = changed => continue,
                },
                None => {
                    changed.await;
                    continue;
                }
            }
            for id in self.cache.take_due(self.node.now()) {
                let judge = Arc::clone(&self.judge);
                self.node.spawn(async move { judge.expire(&id).await });
            }
        }
    }

    /// Claims overdue deadlines from the index: those of dead or sleeping nodes.
    pub async fn keep_claiming(self: Arc<Self>) {
        loop {
            self.node.clock.sleep(POLL).await;
            if !self.members.share_its_time() || !self.identity.may_judge().await {
                continue;
            }
            let now = self.node.now();
            let due = Timestamp::from_millis(now.as_millis().saturating_sub(PRECEDENCE.as_millis() as u64));
            match self.store.claim_due(due, now, CLAIM, CLAIM_AT_ONCE).await {
                Ok(claimed) => {
                    for id in claimed {
                        let judge = Arc::clone(&self.judge);
                        self.node.spawn(async move { judge.expire(&id).await });
                    }
                }
                Err(error) => {
                    metrics::store_failed();
                    tracing::debug!(%error, "claiming deadlines failed");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}
