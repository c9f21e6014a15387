//! Laravel asks about users, speaks to them, and sends them away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::{Failure, Node, Told};
use crate::bus::{Body, Word};
use crate::call::{NodeId, UserId};
use crate::telemetry::Who;
use crate::telemetry::metrics::{self, Departure};

const WORD_LIFE: Duration = Duration::from_secs(10);
/// Users to forget that wait.
const FORGOTTEN_LIMIT: usize = 1024;

/// Users whom another node sent away: what this node remembers of their tokens is to go.
pub(super) struct SentAway {
    sender: mpsc::Sender<UserId>,
    receiver: parking_lot::Mutex<Option<mpsc::Receiver<UserId>>>,
}

impl Default for SentAway {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(FORGOTTEN_LIMIT);
        Self { sender, receiver: parking_lot::Mutex::new(Some(receiver)) }
    }
}

impl Node {
    /// Says an event of the application's own to every session of a user; false where he has none.
    pub(super) async fn say_to_user(
        self: &Arc<Self>,
        user: &UserId,
        event: String,
        data: Value,
    ) -> Result<bool, Failure> {
        Ok(matches!(self.spread(user, Word::App { event, data }).await?, Told::Emitted(true)))
    }

    /// Ends every session of a user, wherever it is, with a disconnect packet. Returns how many there were.
    pub(super) async fn send_away(self: &Arc<Self>, user: &UserId, reason: &str) -> Result<usize, Failure> {
        let sessions = self.directory.sessions_of(user).await;
        let expires_at = self.node.now() + WORD_LIFE;
        // Every node, also one that just started: it may remember a token of a phone that is elsewhere by now.
        if !self.lease.look_again().await {
            tracing::debug!("looking for nodes failed");
        }
        let with_sessions = sessions.iter().flatten().map(|session| session.node.clone());
        let nodes: HashSet<NodeId> = self.members.others().into_iter().chain(with_sessions).collect();
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::SendAway { user: user.clone() };
            self.messenger.post(node, expires_at, body).await;
        }
        self.end_sessions_of(user).await;
        let sessions = sessions?.len();
        tracing::info!(user = %Who(user), reason, sessions, "a user was sent away");
        Ok(sessions)
    }

    /// Another node was told to send a user away.
    pub(super) fn sent_away(self: &Arc<Self>, user: UserId) {
        // A full queue: what is remembered there is believed for a minute at most.
        let _ = self.sent_away.sender.try_send(user.clone());
        let signaling = Arc::clone(self);
        self.node.spawn(async move { signaling.end_sessions_of(&user).await });
    }

    /// The users whom other nodes sent away, for who remembers tokens; once.
    pub(super) fn users_sent_away(&self) -> Option<mpsc::Receiver<UserId>> {
        self.sent_away.receiver.lock().take()
    }

    async fn end_sessions_of(self: &Arc<Self>, user: &UserId) {
        for session in self.local.of(user) {
            metrics::session_sent_away();
            session.dismiss(Departure::SentAway);
            // At once, not when the socket is found closed: he is offline as soon as Laravel is answered.
            self.disconnect(&session, Departure::SentAway).await;
        }
    }
}
