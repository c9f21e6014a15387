//! What other nodes have for the sessions here.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Node;
use crate::bus::{Body, Inbound};
use crate::call::{Call, UserId};
use crate::telemetry::metrics;

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

impl Node {
    /// Reads what other nodes have for the sessions here.
    pub(super) async fn read_inbox(self: Arc<Self>, mut inbox: mpsc::Receiver<Inbound>) {
        let mut heard = Nonces::default();
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
                    let signaling = Arc::clone(&self);
                    self.node.spawn(async move {
                        signaling.heal_all().await;
                        signaling.find_unheard().await;
                        signaling.heal_presence().await;
                    });
                }
                Inbound::Unreadable => {
                    metrics::unreadable_envelope();
                    tracing::warn!("a message on the node's channel can't be read, dropped");
                }
            }
        }
    }

    fn take_call(self: &Arc<Self>, users: &[UserId], call: &Call) {
        if users.iter().any(|user| self.local.holds(user)) {
            self.cache.see(call, self.node.now());
        }
        for user in users {
            self.tell_here(call, user);
        }
    }

    fn open(self: &Arc<Self>, body: Body) {
        match body {
            Body::Call { users, call } if self.stall.catches_up(self.node.clock.elapsed()) => {
                // It may have gone on since, and what tells that comes behind this.
                let node = Arc::clone(self);
                self.node.spawn(async move {
                    let stored = node.store.load(&call.id).await.ok().flatten();
                    node.take_call(&users, &stored.unwrap_or(*call));
                });
            }
            Body::Call { users, call } => self.take_call(&users, &call),
            Body::Notice { user, call } => self.tell_notice_here(&call, &user),
            Body::Word { user, word } => {
                for session in self.local.of(&user) {
                    session.voice().word(&word, self.node.now());
                }
            }
            Body::Presence { user, online } => self.tell_presence(&user, online),
            Body::SendAway { user } => self.sent_away(user),
            Body::Revoked { user, token } => self.end_sessions_with(&user, &token),
            Body::Evict { user, session } => self.evict_here(&user, &session),
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
