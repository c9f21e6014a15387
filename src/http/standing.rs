//! How this node stands beside the others: looked at in the background, so that a probe is answered at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::peers::{any_wrote, client};
use crate::signaling::Signaling;

const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row that must find another node better off.
const LOOKS: u32 = 2;

/// Whether the node takes part: not before it started nor while it stops, and not while another node is known to be
/// better off. Where no node can use the store, all take part: their phones have nowhere better to go.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Flags>);

#[derive(Default)]
struct Flags {
    serving: AtomicBool,
    cut_off: AtomicBool,
}

impl Readiness {
    pub fn set(&self, serving: bool) {
        self.0.serving.store(serving, Ordering::Relaxed);
    }

    pub(super) fn is_serving(&self) -> bool {
        self.0.serving.load(Ordering::Relaxed)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.0.cut_off.load(Ordering::Relaxed)
    }

    /// Compares this node with the others for as long as it runs.
    pub async fn keep(self, signaling: Arc<Signaling>) {
        let client = client();
        let mut looks = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(within) = signaling.cluster.better_off_within() else {
                if self.0.cut_off.swap(false, Ordering::Relaxed) {
                    tracing::info!("this node can use the store again");
                }
                looks = 0;
                continue;
            };
            // A node that was suspended finds everything old.
            if looks == 0 && signaling.cluster.renew_once_more().await && signaling.cluster.is_well() {
                continue;
            }
            looks = if any_wrote(&client, signaling.cluster.probes_of_others(), within).await { looks + 1 } else { 0 };
            let cut_off = looks >= LOOKS;
            if self.0.cut_off.swap(cut_off, Ordering::Relaxed) != cut_off {
                if cut_off {
                    tracing::error!("this node can't use the store and others can: not ready");
                } else {
                    tracing::warn!("no other node can use the store either: ready");
                }
            }
        }
    }
}

/// One look whether this node, after a last try, is without the store while another is not.
pub async fn is_cut_off(signaling: &Arc<Signaling>) -> bool {
    if signaling.cluster.renew_once_more().await {
        return false;
    }
    let Some(within) = signaling.cluster.better_off_within() else { return false };
    any_wrote(&client(), signaling.cluster.probes_of_others(), within).await
}
