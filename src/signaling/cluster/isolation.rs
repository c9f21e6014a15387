//! Is this node cut off? Only what others can do tells: while nobody can use the store, nobody is worse off.

use std::sync::Arc;
use std::time::Duration;

use super::lease::RENEWAL_PATIENCE;
use super::self_test::DEAF_AFTER;
use super::{OwnLease, SelfTest, StallDetector};
use crate::signaling::node::NodeContext;

/// Whether this node is worse off than others.
pub struct Isolation {
    pub node: Arc<NodeContext>,
    pub lease: Arc<OwnLease>,
    pub self_test: Arc<SelfTest>,
    pub stall: Arc<StallDetector>,
}

impl Isolation {
    /// Whether the store takes this node's writes and the node hears its own channel.
    pub fn is_well(&self) -> bool {
        self.lease.is_fresh() && self.self_test.hears_itself()
    }

    /// How long one of both has not been proved.
    pub fn unproven_for(&self) -> Duration {
        self.lease.without_store_for().max(self.self_test.deaf_for())
    }

    /// Within how long another node must have proved both to be better off than this one. Nodes that lost the store at
    /// the same time renewed it last at different ones, one renewal apart at most: none of them is better off.
    pub fn better_off_within(&self) -> Option<Duration> {
        if self.is_well() {
            return None;
        }
        self.unproven_for().checked_sub(self.node.policy.lease_renewal.max(DEAF_AFTER / 2) + RENEWAL_PATIENCE)
    }

    /// How long the node has tried in vain to have its lease renewed: while it stood still it did not try.
    pub fn tried_in_vain_for(&self) -> Duration {
        let without = self.lease.without_store_for();
        self.stall.goes_on_for(self.node.clock.elapsed()).map_or(without, |awake| without.min(awake))
    }
}
