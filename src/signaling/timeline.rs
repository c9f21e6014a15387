//! The history of a call beside its record: what a change adds is written with the change, what happens to envelopes
//! and phones is gathered and written a moment later, many at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Failure, Node};
use crate::call::{Call, CallId, Device, Milestone, Role, What};
use crate::telemetry::metrics;

/// Gathered for so long: one command carries what all calls of this node have to say.
const GATHER: Duration = Duration::from_millis(100);
/// Milestones that wait; more are dropped and counted, no call waits for its history.
const WAITING: usize = 8192;
const AT_ONCE: usize = 512;

/// Milestones that are not written yet.
#[derive(Default)]
pub(super) struct Notes {
    waiting: Mutex<Vec<(CallId, Milestone)>>,
    news: Notify,
}

impl Node {
    /// Adds to a call's history, best effort.
    pub(super) fn note(&self, id: &CallId, milestone: Milestone) {
        let mut waiting = self.notes.waiting.lock();
        if waiting.len() >= WAITING {
            return metrics::milestones_dropped(1);
        }
        waiting.push((id.clone(), milestone));
        if waiting.len() == 1 {
            self.notes.news.notify_one();
        }
    }

    pub(super) fn milestone(&self, what: What) -> Milestone {
        Milestone::new(what, self.clock.now(), &self.nodes.own)
    }

    /// What a device of the callee, or the way to it, did.
    pub(super) fn note_callee(&self, call: &Call, what: What, device: Device) {
        self.note(&call.id, self.milestone(what).of(Role::Callee, device));
    }

    pub(super) async fn write_notes(self: Arc<Self>) {
        loop {
            self.notes.news.notified().await;
            tokio::time::sleep(GATHER).await;
            self.flush_notes().await;
        }
    }

    pub(super) async fn flush_notes(&self) {
        let mut notes = std::mem::take(&mut *self.notes.waiting.lock());
        // Stable: the milestones of a call stay in order.
        notes.sort_by(|one, other| one.0.cmp(&other.0));
        for some in notes.chunks(AT_ONCE) {
            if let Err(error) = self.calls.note(some).await {
                tracing::warn!(%error, milestones = some.len(), "writing to the timelines of calls failed");
                metrics::milestones_dropped(some.len());
            }
        }
    }

    /// A call as it is stored, with its history in order of time.
    pub(super) async fn history(&self, id: &CallId) -> Result<(Call, Vec<Milestone>), Failure> {
        self.flush_notes().await;
        let (call, timeline) = tokio::try_join!(self.calls.load(id), self.calls.timeline(id))?;
        let mut timeline = timeline;
        timeline.sort_by_key(|milestone| milestone.at);
        Ok((call.ok_or(Failure::NotFound)?, timeline))
    }
}
