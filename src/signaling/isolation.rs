//! Is this node cut off? Only what others can do tells: while nobody can use the store, nobody is worse off.

use std::time::Duration;

use super::Node;
use super::selftest::DEAF_AFTER;

/// A renewal under way may take so long until it fails.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// A lease is fresh until two renewals in a row failed.
    fn lease_is_fresh(&self) -> bool {
        self.without_store_for() <= 2 * self.policy.lease_renewal + RENEWAL_PATIENCE
    }

    /// Whether the store takes this node's writes and the node hears its own channel.
    pub(super) fn is_well(&self) -> bool {
        self.lease_is_fresh() && self.hears_itself()
    }

    /// How long one of both has not been proved.
    pub(super) fn unproven_for(&self) -> Duration {
        self.without_store_for().max(self.deaf_for())
    }

    /// Within how long another node must have proved both to be better off than this one. Nodes that lost the store at
    /// the same time renewed it last at different ones, one renewal apart at most: none of them is better off.
    pub(super) fn better_off_within(&self) -> Option<Duration> {
        if self.is_well() {
            return None;
        }
        self.unproven_for().checked_sub(self.policy.lease_renewal.max(DEAF_AFTER / 2) + RENEWAL_PATIENCE)
    }

    /// Has the lease renewed once more: a node that was suspended finds everything old, and its store well.
    pub(super) async fn renew_once_more(&self) -> bool {
        self.look_again().await && self.lease_is_fresh()
    }
}
