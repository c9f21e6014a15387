//! Users who are sent away, and sessions whose token is no longer accepted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Connections;
use crate::bus::Body;
use crate::call::{NodeId, TokenHash, UserId};
use crate::signaling::cluster::{Members, Messenger, OwnLease};
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::StoreError;
use crate::telemetry::Who;
use crate::telemetry::metrics::{self, Departure};

const DISMISSAL_LIFE: Duration = Duration::from_secs(10);
const REVOCATION_LIFE: Duration = Duration::from_secs(10);
/// Users to forget that wait.
const FORGOTTEN_LIMIT: usize = 1024;

/// Users whom another node sent away: what this node remembers of their tokens is to go.
pub struct SentAway {
    sender: mpsc::Sender<UserId>,
    receiver: parking_lot::Mutex<Option<mpsc::Receiver<UserId>>>,
}

impl Default for SentAway {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(FORGOTTEN_LIMIT);
        Self { sender, receiver: parking_lot::Mutex::new(Some(receiver)) }
    }
}

/// Ends sessions by order of the backend.
pub struct Dismissals {
    pub node: Arc<NodeContext>,
    pub local: Arc<LocalSessions>,
    pub members: Arc<Members>,
    pub lease: Arc<OwnLease>,
    pub directory: Arc<Directory>,
    pub messenger: Arc<Messenger>,
    pub connections: Arc<Connections>,
    pub sent_away: SentAway,
}

impl Dismissals {
    /// Ends every session of a user, wherever it is, with a disconnect packet. Returns how many there were.
    pub async fn send_away(self: &Arc<Self>, user: &UserId, reason: &str) -> Result<usize, StoreError> {
        let sessions = self.directory.sessions_of(user).await;
        let expires_at = self.node.now() + DISMISSAL_LIFE;
        // Every node: it may remember a token of a phone that is elsewhere by now.
        let mut nodes = self.other_nodes().await;
        nodes.extend(sessions.iter().flatten().map(|session| session.node.clone()));
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::SendAway { user: user.clone() };
            self.messenger.post(node, expires_at, body).await;
        }
        self.end_sessions_of(user).await;
        let sessions = sessions?.len();
        tracing::info!(user = %Who(user), reason, sessions, "a user was sent away");
        Ok(sessions)
    }

    /// Also one that just started.
    async fn other_nodes(&self) -> HashSet<NodeId> {
        if !self.lease.look_again().await {
            tracing::debug!("looking for nodes failed");
        }
        self.members.others().into_iter().collect()
    }

    /// Another node was told to send a user away.
    pub fn sent_away(self: &Arc<Self>, user: UserId) {
        // A full queue: what is remembered there is believed for a minute at most.
        let _ = self.sent_away.sender.try_send(user.clone());
        let dismissals = Arc::clone(self);
        self.node.spawn(async move { dismissals.end_sessions_of(&user).await });
    }

    /// The users whom other nodes sent away, for who remembers tokens; once.
    pub fn users_sent_away(&self) -> Option<mpsc::Receiver<UserId>> {
        self.sent_away.receiver.lock().take()
    }

    async fn end_sessions_of(self: &Arc<Self>, user: &UserId) {
        for session in self.local.of(user) {
            metrics::session_sent_away();
            session.sender().dismiss(Departure::SentAway);
            // At once, not when the socket is found closed: he is offline as soon as Laravel is answered.
            self.connections.disconnect(&session, Departure::SentAway).await;
        }
    }

    /// Ends every session that came with a token which is no longer accepted, wherever it is.
    pub async fn revoke(self: &Arc<Self>, user: &UserId, token: TokenHash) {
        self.end_sessions_with(user, &token);
        let nodes: HashSet<NodeId> = match self.directory.sessions_of(user).await {
            Ok(sessions) => sessions.into_iter().map(|session| session.node).collect(),
            // Said once: whoever may have one is told.
            Err(_) => self.other_nodes().await,
        };
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::Revoked { user: user.clone(), token };
            self.messenger.post(node, self.node.now() + REVOCATION_LIFE, body).await;
        }
    }

    pub fn end_sessions_with(&self, user: &UserId, token: &TokenHash) {
        for session in self.local.of(user).iter().filter(|session| session.token().as_ref() == Some(token)) {
            metrics::session_revoked();
            session.sender().dismiss(Departure::Revoked);
        }
    }

    /// The tokens of the sessions on this node.
    pub fn live_tokens(&self) -> Vec<TokenHash> {
        let tokens: HashSet<TokenHash> = self.local.all().iter().filter_map(|session| session.token()).collect();
        tokens.into_iter().collect()
    }
}
