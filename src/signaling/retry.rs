//! Hang-ups are never refused: while the store fails, verdicts wait here, in order per call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Failure, Signaling};
use crate::call::{CallId, Command};
use crate::telemetry::metrics;

/// Verdicts are retried for this long.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// Bound of the queue; beyond it the oldest is dropped and counted.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(super) struct RetryQueue(Mutex<VecDeque<Waiting>>);

struct Waiting {
    id: CallId,
    command: Command,
    since: Duration,
}

impl RetryQueue {
    pub fn push(&self, id: CallId, command: Command, since: Duration) {
        let mut queue = self.0.lock();
        if queue.len() >= CAPACITY {
            queue.pop_front();
            metrics::verdict_dropped();
        }
        queue.push_back(Waiting { id, command, since });
    }

    /// Whether a verdict of this call waits.
    pub fn holds(&self, id: &CallId) -> bool {
        let queue = self.0.lock();
        !queue.is_empty() && queue.iter().any(|waiting| waiting.id == *id)
    }

    fn pop(&self) -> Option<Waiting> {
        self.0.lock().pop_front()
    }

    fn put_back(&self, waiting: Waiting) {
        self.0.lock().push_front(waiting);
    }
}

impl Signaling {
    pub(super) async fn retry_verdicts(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PAUSE).await;
            metrics::waiting_verdicts(self.retries.0.lock().len());
            while let Some(waiting) = self.retries.pop() {
                if self.clock.elapsed().saturating_sub(waiting.since) > PATIENCE {
                    metrics::verdict_dropped();
                    tracing::error!(call = %waiting.id, "a verdict was given up after 60 s without the store");
                    continue;
                }
                // Refused or unknown is an answer too; only a failing store keeps it waiting.
                if let Err(Failure::Unavailable) = self.judge_again(&waiting.id, &waiting.command).await {
                    self.retries.put_back(waiting);
                    break;
                }
            }
        }
    }
}
