//! The history of a call beside its record: what a change adds is written with the change, what happens to envelopes
//! and phones is gathered and written a moment later, many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::node::NodeContext;
use crate::call::{Call, CallId, Device, Milestone, Role, What};
use crate::store::{CallStore, StoreError};
use crate::telemetry::{call_log, metrics};

/// Gathered for so long: one command carries what all calls of this node have to say, unless a write of the call takes
/// it along before.
const GATHER: Duration = Duration::from_millis(400);
/// Milestones that wait; more are dropped and counted, no call waits for its history.
const WAITING: usize = 8192;
const AT_ONCE: usize = 512;

/// Milestones that are not written yet.
pub struct Timeline {
    node: Arc<NodeContext>,
    store: Arc<dyn CallStore>,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Those of a call in the order in which they came.
    of_calls: BTreeMap<CallId, Vec<Milestone>>,
    count: usize,
}

impl Timeline {
    pub fn new(node: Arc<NodeContext>, store: Arc<dyn CallStore>) -> Self {
        Self { node, store, waiting: Mutex::default(), news: Notify::new() }
    }

    /// Adds to a call's history, best effort.
    pub fn note(&self, id: &CallId, milestone: Milestone) {
        call_log::noted(id, &milestone);
        self.keep(id, milestone);
    }

    fn keep(&self, id: &CallId, milestone: Milestone) {
        let mut waiting = self.waiting.lock();
        if waiting.count >= WAITING {
            return metrics::milestones_dropped(1);
        }
        waiting.of_calls.entry(id.clone()).or_default().push(milestone);
        waiting.count += 1;
        if waiting.count == 1 {
            self.news.notify_one();
        }
    }

    /// Takes what waits of a call, for a write that carries it.
    pub fn take(&self, id: &CallId) -> Vec<Milestone> {
        let mut waiting = self.waiting.lock();
        let taken = waiting.of_calls.remove(id).unwrap_or_default();
        waiting.count -= taken.len();
        taken
    }

    /// What was taken was not written.
    pub fn take_back(&self, id: &CallId, taken: Vec<Milestone>) {
        for milestone in taken {
            self.keep(id, milestone);
        }
    }

    /// What a device of the callee, or the way to it, did.
    pub fn note_callee(&self, call: &Call, what: What, device: Device) {
        self.note(&call.id, self.node.milestone(what).of(Role::Callee, device));
    }

    /// Writes what was gathered, again and again.
    pub async fn keep_writing(self: Arc<Self>) {
        loop {
            self.news.notified().await;
            tokio::time::sleep(GATHER).await;
            self.flush().await;
        }
    }

    pub async fn flush(&self) {
        let of_calls = std::mem::take(&mut *self.waiting.lock()).of_calls;
        let of_call = |(id, notes): (CallId, Vec<Milestone>)| notes.into_iter().map(move |note| (id.clone(), note));
        let notes: Vec<_> = of_calls.into_iter().flat_map(of_call).collect();
        for some in notes.chunks(AT_ONCE) {
            if let Err(error) = self.store.note(some).await {
                tracing::debug!(%error, milestones = some.len(), "writing to the timelines of calls failed");
                metrics::milestones_dropped(some.len());
            }
        }
    }

    /// A call as it is stored, with its history in order of time.
    pub async fn history(&self, id: &CallId) -> Result<Option<(Call, Vec<Milestone>)>, StoreError> {
        self.flush().await;
        let (call, mut timeline) = tokio::try_join!(self.store.load(id), self.store.timeline(id))?;
        timeline.sort_by_key(|milestone| milestone.at);
        Ok(call.map(|call| (call, timeline)))
    }
}
