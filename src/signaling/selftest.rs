//! Does this node hear its own channel? A subscription may be lost without anybody noticing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Node;
use crate::bus::Body;
use crate::telemetry::metrics;

const INTERVAL: Duration = Duration::from_secs(2);
/// A node that has not heard itself for so long is not ready.
pub(super) const DEAF_AFTER: Duration = Duration::from_secs(6);
/// Unanswered questions before the subscription is made anew.
const PATIENCE: u32 = 2;

/// The question that is out, and when the last one was heard.
pub(super) struct SelfTest {
    question: Mutex<u64>,
    heard_at: Mutex<Duration>,
}

impl SelfTest {
    /// `now` is the clock's `elapsed`: the bus proved itself when the node began to listen.
    pub fn new(now: Duration) -> Self {
        Self { question: Mutex::default(), heard_at: Mutex::new(now) }
    }

    pub fn hear(&self, nonce: u64, now: Duration) {
        if nonce == *self.question.lock() {
            *self.heard_at.lock() = now;
        }
    }
}

impl Node {
    /// Whether this node heard itself lately.
    pub(super) fn hears_itself(&self) -> bool {
        self.deaf_for() < DEAF_AFTER
    }

    /// Since when this node has not heard itself, by a clock that counts suspension.
    pub(super) fn deaf_for(&self) -> Duration {
        self.clock.elapsed().saturating_sub(*self.self_test.heard_at.lock())
    }

    pub(super) async fn test_bus(self: Arc<Self>) {
        let mut unanswered = 0;
        loop {
            let asked = self.clock.elapsed();
            let nonce = rand::random();
            *self.self_test.question.lock() = nonce;
            let question = self.envelope(self.clock.now() + DEAF_AFTER, Body::SelfTest { nonce });
            let sent = self.bus.publish(&self.nodes.own, &question).await;
            tokio::time::sleep(INTERVAL).await;
            let heard = *self.self_test.heard_at.lock() >= asked;
            metrics::bus_healthy(usize::from(heard));
            if heard {
                unanswered = 0;
                continue;
            }
            unanswered += 1;
            if sent.is_ok() && unanswered % PATIENCE == 0 {
                tracing::warn!(unanswered, "the node does not hear its own channel, subscribing anew");
                self.bus.reconnect().await;
            }
        }
    }
}
