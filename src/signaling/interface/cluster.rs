//! How this node stands among the others.

use std::sync::Arc;
use std::time::Duration;

use crate::signaling::cluster::{Isolation, Members, Routes};

/// How this node stands among the others, and how to reach them.
pub struct Cluster {
    pub(in crate::signaling) isolation: Isolation,
    pub(in crate::signaling) members: Arc<Members>,
    pub(in crate::signaling) routes: Routes,
}

impl Cluster {
    /// Whether the store takes this node's writes and the node hears its own channel.
    pub fn is_well(&self) -> bool {
        self.isolation.is_well()
    }

    /// How long the store has not renewed this node's lease, by a clock that counts suspension.
    pub fn without_store_for(&self) -> Duration {
        self.isolation.lease.without_store_for()
    }

    /// How long this node has not heard its own channel.
    pub fn deaf_for(&self) -> Duration {
        self.isolation.self_test.deaf_for()
    }

    /// How long the node has tried in vain to have its lease renewed.
    pub fn tried_in_vain_for(&self) -> Duration {
        self.isolation.tried_in_vain_for()
    }

    /// How long it has not been proved that the node is well.
    pub fn unproven_for(&self) -> Duration {
        self.isolation.unproven_for()
    }

    /// Within how long another node must have proved to be well, to be better off than this one; absent while this one is.
    pub fn better_off_within(&self) -> Option<Duration> {
        self.isolation.better_off_within()
    }

    /// Has the lease renewed once more, and says whether it is fresh then.
    pub async fn renew_once_more(&self) -> bool {
        self.isolation.lease.renew_once_more().await
    }

    /// Where the other nodes known last say whether they are ready.
    pub fn probes_of_others(&self) -> Vec<String> {
        self.members.probes_of_others()
    }

    /// What this node's session ids say of it.
    pub fn own_tag(&self) -> String {
        self.members.own_tag()
    }

    /// How to reach the node that a session id names.
    pub async fn address_of(&self, tag: &str) -> Option<String> {
        self.routes.address_of(tag).await
    }
}
