//! What this node knows by itself of a call, and what an old copy of the store may have brought back though it is over.

use super::StoreIdentity;
use crate::call::{Call, CallId, State, UserId};
use crate::store::{Generation, StoreError};

impl StoreIdentity {
    /// Whether this node is told how the call goes on: a session of a party is here. Or it has left, and the store does not
    /// have that yet: who left while the store was away, or before all was put back, was here for as long as anything was
    /// decided.
    pub fn is_told_of(&self, call: &Call) -> bool {
        let is_told = |user: &UserId| self.local.holds(user) || self.registration.is_leaving(user);
        is_told(&call.caller.user) || is_told(&call.callee.user)
    }

    /// The accepted calls of which this node is told.
    pub(super) fn known_active(&self) -> Vec<CallId> {
        let remembered = self.cache.remembered(self.node.now()).into_iter();
        let known = remembered.filter(|call| matches!(call.state, State::Active { .. }) && self.is_told_of(call));
        known.map(|call| call.id.clone()).collect()
    }

    /// Whether a call that the store says is accepted may have ended long ago: nothing is told of it then.
    pub fn may_be_revived(&self, call: &Call) -> bool {
        let began_since = || self.seen.lock().newest_then.is_some_and(|newest| call.order > newest);
        let unsure = || self.is_quiet() && self.cache.last_seen(&call.id).is_none() && !began_since();
        matches!(call.state, State::Active { .. }) && (call.unvouched || unsure())
    }

    /// The store was lost, and this is the newest order of what it held then; nothing where it was lost once more.
    pub fn later_calls_are_new(&self, generation: &Generation, newest: u64) {
        let mut seen = self.seen.lock();
        if seen.generation.as_ref() == Some(generation) {
            seen.newest_then = Some(newest);
        }
    }

    /// Whether all had less than a lease to put back, whoever is waited for.
    pub fn rests(&self) -> bool {
        self.seen.lock().rests(self.node.clock.uptime())
    }

    /// Whether nodes that have a party of a call may not know it, since it may be revived: until they have looked again.
    pub fn was_lost_lately(&self) -> bool {
        self.is_quiet() || self.seen.lock().quiet_until + self.node.policy.lease > self.node.clock.uptime()
    }

    /// Whether a node that begins meets others that are putting back, or that wait for one that has not yet.
    pub(super) async fn others_restore(&self, generation: &Generation) -> Result<bool, StoreError> {
        let lost_at = self.store.unvouched(generation, 0, 1).await?.lost_at;
        if lost_at.is_some_and(|at| self.node.now().since(at) < self.node.policy.lease) {
            return Ok(true);
        }
        let said = self.store.restore_reports(generation).await?;
        Ok(!said.nodes.is_empty() && said.denied_since.is_none())
    }
}
