//! A start waits for its store, however long that is away, loads, or refuses: a node that gives up only adds restarts to
//! the trouble.

use std::fmt::Display;
use std::time::Duration;

use crate::clock::Clock;
use crate::telemetry::metrics;

const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One line when the wait begins, one when it is over.
pub struct Waiting<'a> {
    clock: &'a Clock,
    since: Option<Duration>,
    pause: Duration,
}

impl<'a> Waiting<'a> {
    pub fn new(clock: &'a Clock) -> Self {
        Self { clock, since: None, pause: PAUSE }
    }

    /// Waits until it is time to try again: longer each time, and not all nodes at once.
    pub async fn after(&mut self, error: &impl Display) {
        if self.since.is_none() {
            self.since = Some(self.clock.elapsed());
            metrics::store_healthy(0);
            tracing::warn!(%error, "the store is away or refuses: the start waits for it");
        } else {
            tracing::debug!(%error, "the store is still away or refuses");
        }
        tokio::time::sleep(self.pause.mul_f64(rand::random_range(0.75..1.25))).await;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
    }

    pub fn over(self) {
        if let Some(since) = self.since {
            let waited = self.clock.elapsed().saturating_sub(since);
            tracing::info!(?waited, "the store is there, the start goes on");
        }
    }
}
