//! Guards between a dial and its ring. Who dials may give up, move to another node and dial somebody else; the store may
//! take its time meanwhile. A ring that comes after that would end the newer call of its own caller. Each guard says
//! what has passed and what it keeps from happening.

use std::sync::Arc;
use std::time::Duration;

use crate::call::Actor;
use crate::signaling::cluster::StallDetector;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;

/// Who dialled waits no longer than that for his call to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// Decides whether a dial still is one.
pub struct DialGuard {
    pub node: Arc<NodeContext>,
    pub stall: Arc<StallDetector>,
    pub local: Arc<LocalSessions>,
}

/// A dial under way, from when it was read.
pub struct Dial<'a> {
    guard: &'a DialGuard,
    by: &'a Actor,
    began: Duration,
}

impl DialGuard {
    /// This process stood still: what it reads now was dialled by somebody who may be on another node since. Absent for
    /// such a dial.
    pub fn begin<'a>(&'a self, by: &'a Actor) -> Option<Dial<'a>> {
        let is_old = by.session.is_some() && self.stall.catches_up(self.node.clock.elapsed());
        (!is_old).then(|| Dial { guard: self, by, began: self.node.clock.elapsed() })
    }
}

impl Dial<'_> {
    /// Before each write: the dial had to wait, for the store or for a busy claim, and its user may have dialled anew
    /// elsewhere. Who waits for it is connected here still, or has not waited for long.
    pub fn is_wanted(&self) -> bool {
        let has_waited = self.guard.node.since(self.began) > WRITTEN_WITHIN;
        let is_here = || self.by.session.as_ref().is_some_and(|id| self.guard.local.has(&self.by.user, id));
        !has_waited || is_here()
    }

    /// After a write of unknown outcome: one that failed at once is repeated, one that ran out of time is not, for it
    /// could be written after a newer dial.
    pub fn may_repeat(&self, asked_at: Duration) -> bool {
        self.guard.node.since(asked_at) <= WRITTEN_WITHIN
    }
}
