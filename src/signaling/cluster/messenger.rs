//! How a message reaches another node.

use std::sync::Arc;
use std::time::Duration;

use super::Members;
use crate::bus::{Body, Bus, Envelope};
use crate::call::{Milestone, NodeId, Timestamp, What};
use crate::fault_injection::{self, Bug};
use crate::signaling::node::NodeContext;
use crate::signaling::timeline::Timeline;
use crate::telemetry::metrics;
use crate::telemetry::trace::{self, Kind};

/// Pauses before a publish that nobody heard is tried again.
const RETRIES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];

/// Publishes to other nodes.
pub struct Messenger {
    pub node: Arc<NodeContext>,
    pub bus: Arc<dyn Bus>,
    pub members: Arc<Members>,
    pub timeline: Arc<Timeline>,
}

impl Messenger {
    pub fn envelope(&self, expires_at: Timestamp, body: Body) -> Envelope {
        Envelope { sent_at: self.node.now(), expires_at, nonce: rand::random(), traceparent: None, body }
    }

    pub async fn post(self: &Arc<Self>, node: NodeId, expires_at: Timestamp, body: Body) -> bool {
        self.post_envelope(node, self.envelope(expires_at, body)).await
    }

    /// Publishes to a node; what nobody heard is tried again in the background while the node's lease lives. True where
    /// it was heard at once.
    pub async fn post_envelope(self: &Arc<Self>, node: NodeId, mut envelope: Envelope) -> bool {
        if self.publish(&node, &mut envelope).await {
            return true;
        }
        let messenger = Arc::clone(self);
        self.node.spawn(async move {
            for pause in RETRIES {
                tokio::time::sleep(pause).await;
                let gone = messenger.members.is_dead(&node) || envelope.expires_at <= messenger.node.now();
                if gone || messenger.publish(&node, &mut envelope).await {
                    return;
                }
            }
            metrics::undelivered_envelope();
            if let Body::Call { call, .. } = &envelope.body {
                let undelivered = Milestone::new(What::Undelivered, messenger.node.now(), &node);
                messenger.timeline.note(&call.id, undelivered);
            }
        });
        false
    }

    async fn publish(&self, node: &NodeId, envelope: &mut Envelope) -> bool {
        if fault_injection::strikes(Bug::DropEnvelopes, 100) {
            return true;
        }
        let publish = async {
            envelope.traceparent = trace::traceparent();
            let published = self.bus.publish(node, envelope).await;
            trace::note("peer", || node.to_string());
            match published {
                Ok(listeners) => listeners > 0,
                Err(error) => {
                    metrics::bus_failed();
                    trace::note("outcome", || "unavailable");
                    tracing::debug!(peer = %node, %error, "publishing to a node failed");
                    false
                }
            }
        };
        trace::part("publish", Kind::Producer, publish).await
    }
}
