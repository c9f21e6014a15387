//! What other nodes have for the sessions here, dispatched to the rooms.

mod calls;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::cluster::SelfTest;
use super::connections::{Dismissals, Registrar};
use super::delivery::DirectDelivery;
use super::node::NodeContext;
use super::presence::Presence;
use super::recovery::Healing;
use crate::bus::{Body, Inbound};
use crate::telemetry::metrics;

pub use calls::CallNews;

/// Envelopes that are recognised when they come again: those of the seconds in which that happens.
const REMEMBERED: usize = 8192;

/// The nonces of the last envelopes: one that seemed to have reached nobody may have been heard all the same.
#[derive(Default)]
struct Nonces {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Nonces {
    fn is_new(&mut self, nonce: u64) -> bool {
        if !self.known.insert(nonce) {
            return false;
        }
        self.order.push_back(nonce);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Reads the node's channel.
pub struct Inbox {
    pub node: Arc<NodeContext>,
    pub self_test: Arc<SelfTest>,
    pub calls: CallNews,
    pub direct: Arc<DirectDelivery>,
    pub presence: Arc<Presence>,
    pub registrar: Arc<Registrar>,
    pub dismissals: Arc<Dismissals>,
    pub healing: Arc<Healing>,
}

impl Inbox {
    /// Reads what other nodes have for the sessions here.
    pub async fn keep_reading(self: Arc<Self>, mut inbox: mpsc::Receiver<Inbound>) {
        let mut heard = Nonces::default();
        let gaps = Arc::new(Notify::new());
        self.node.run("gaps", Arc::clone(&self).keep_healing(Arc::clone(&gaps)));
        while let Some(inbound) = inbox.recv().await {
            match inbound {
                Inbound::Envelope(envelope) if envelope.expires_at <= self.node.now() => {
                    if !matches!(envelope.body, Body::SelfTest { .. }) {
                        metrics::expired_envelope();
                    }
                }
                Inbound::Envelope(envelope) if envelope.nonce != 0 && !heard.is_new(envelope.nonce) => {}
                Inbound::Envelope(envelope) => {
                    metrics::bus_lag(self.node.now().since(envelope.sent_at));
                    let (about, body) = (envelope.body.about(), envelope.body);
                    self.node.traces.run_for("deliver", about, envelope.traceparent.as_deref(), || self.open(body));
                }
                Inbound::Gap => {
                    metrics::bus_gap();
                    tracing::warn!("messages of the bus may be lost, comparing all calls with the store");
                    gaps.notify_one();
                }
                Inbound::Unreadable => {
                    metrics::unreadable_envelope();
                    tracing::warn!("a message on the node's channel can't be read, dropped");
                }
            }
        }
    }

    /// Compares what this node knows with the store: once for all gaps that came meanwhile.
    async fn keep_healing(self: Arc<Self>, gaps: Arc<Notify>) {
        loop {
            gaps.notified().await;
            self.healing.compare_all().await;
            self.healing.find_unheard().await;
            self.presence.heal_presence();
        }
    }

    fn open(&self, body: Body) {
        match body {
            Body::Call { users, call } => self.calls.take(users, *call),
            Body::Notice { user, call } => self.calls.delivery.tell_notice_here(&call, &user),
            Body::Direct { user, event } => self.direct.send_here(&user, &event),
            Body::Presence { user, online } => self.presence.tell_presence(&user, online),
            Body::SendAway { user } => self.dismissals.sent_away(user),
            Body::Revoked { user, token } => self.dismissals.end_sessions_with(&user, &token),
            Body::Evict { user, session } => self.registrar.evict_here(&user, &session),
            Body::SelfTest { nonce } => self.self_test.hear(nonce),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A publish that seemed to have reached nobody, as across a failover, is made again.
    #[test]
    fn an_envelope_that_comes_again_is_known() {
        let mut heard = Nonces::default();
        assert!(heard.is_new(7) && !heard.is_new(7));
        assert!((100..100 + REMEMBERED as u64).all(|nonce| heard.is_new(nonce)));
        assert!(heard.is_new(7), "long ago");
        assert!(heard.known.len() == REMEMBERED && heard.order.len() == REMEMBERED, "bounded");
    }
}
