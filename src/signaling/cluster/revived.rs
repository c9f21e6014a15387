//! What this node knows by itself of a call, and what an old copy of the store may have brought back though it is over.

use super::StoreIdentity;
use crate::call::{Call, State, UserId};
use crate::store::Generation;

impl StoreIdentity {
    /// Whether this node is told how the call goes on: a session of a party is here. Or it has left, and the store does not
    /// have that yet: who left while the store was away, or before all was put back, was here for as long as anything was
    /// decided.
    pub fn is_told_of(&self, call: &Call) -> bool {
        let is_told = |user: &UserId| self.local.holds(user) || self.registration.is_leaving(user);
        is_told(&call.caller.user) || is_told(&call.callee.user)
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

    /// Whether nodes that have a party of a call may not know it, since it may be revived: until they have looked again.
    pub fn was_lost_lately(&self) -> bool {
        self.is_quiet() || self.seen.lock().quiet_until + self.node.policy.lease > self.node.clock.uptime()
    }
}
