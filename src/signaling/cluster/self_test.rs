//! Does this node hear its own channel? A subscription may be lost without anybody noticing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::bus::{Body, Bus, Envelope};
use crate::signaling::node::NodeContext;
use crate::telemetry::metrics;

const INTERVAL: Duration = Duration::from_secs(2);
/// A node that has not heard itself for so long is not ready.
pub const DEAF_AFTER: Duration = Duration::from_secs(6);
/// Unanswered questions before the subscription is made anew.
const PATIENCE: u32 = 2;

/// The question that is out, and when the last one was heard.
pub struct SelfTest {
    node: Arc<NodeContext>,
    bus: Arc<dyn Bus>,
    question: Mutex<u64>,
    heard_at: Mutex<Duration>,
}

impl SelfTest {
    pub fn new(node: Arc<NodeContext>, bus: Arc<dyn Bus>) -> Self {
        // The bus proves itself when the node begins to listen.
        let heard_at = Mutex::new(node.clock.elapsed());
        Self { node, bus, question: Mutex::default(), heard_at }
    }

    /// A question came in over the node's own channel.
    pub fn hear(&self, nonce: u64) {
        if nonce == *self.question.lock() {
            *self.heard_at.lock() = self.node.clock.elapsed();
        }
    }

    /// Whether this node heard itself lately.
    pub fn hears_itself(&self) -> bool {
        self.deaf_for() < DEAF_AFTER
    }

    /// Since when this node has not heard itself, by a clock that counts suspension.
    pub fn deaf_for(&self) -> Duration {
        self.node.since(*self.heard_at.lock())
    }

    /// Asks itself again and again.
    pub async fn keep_asking(self: Arc<Self>) {
        let mut unanswered = 0;
        loop {
            let asked = self.node.clock.elapsed();
            let nonce = rand::random();
            *self.question.lock() = nonce;
            let sent = self.bus.publish(&self.node.id, &self.question(nonce)).await;
            tokio::time::sleep(INTERVAL).await;
            let heard = *self.heard_at.lock() >= asked;
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

    fn question(&self, nonce: u64) -> Envelope {
        let sent_at = self.node.now();
        let body = Body::SelfTest { nonce };
        Envelope { sent_at, expires_at: sent_at + DEAF_AFTER, nonce: rand::random(), traceparent: None, body }
    }
}
