//! Laravel asks about users, speaks to them, and sends them away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::{Failure, Node, Told};
use crate::bus::{Body, Word};
use crate::call::{NodeId, UserId};
use crate::store::{Page, SessionRecord, StoreError};
use crate::telemetry::Who;
use crate::telemetry::metrics::{self, Departure};

const ASKED_AT_ONCE: usize = 1000;
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
    /// Who of these has a session, in order.
    pub(super) async fn who_is_online(&self, users: &[UserId]) -> Result<Vec<(UserId, bool)>, StoreError> {
        let mut answer = Vec::with_capacity(users.len());
        for users in users.chunks(ASKED_AT_ONCE) {
            let sessions = self.sessions.sessions_of(users).await?;
            let online = |(user, sessions): (&UserId, Vec<SessionRecord>)| {
                // Of this node the floor knows; a record may be of its past.
                let elsewhere = |session: &SessionRecord| session.node != self.nodes.own;
                let is_here = self.floor.holds(user) && sessions.iter().any(|session| !elsewhere(session));
                let may_live = |session| self.nodes.may_live(session, &self.clock);
                (user.clone(), is_here || sessions.iter().filter(|session| elsewhere(session)).any(may_live))
            };
            answer.extend(users.iter().zip(sessions).map(online));
        }
        Ok(answer)
    }

    /// Users with a session, page by page, with their number in all.
    pub(super) async fn connected_page(
        &self,
        after: Option<&Page>,
        limit: usize,
    ) -> Result<(u64, Vec<UserId>, Option<Page>), StoreError> {
        let (count, page) = tokio::try_join!(self.sessions.online_count(), self.sessions.online_page(after, limit))?;
        Ok((count, page.0, page.1))
    }

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
        let sessions = self.sessions_of(user).await;
        let expires_at = self.clock.now() + WORD_LIFE;
        // Every node, also one that just started: it may remember a token of a phone that is elsewhere by now.
        if !self.look_again().await {
            tracing::warn!("looking for nodes failed");
        }
        let with_sessions = sessions.iter().flatten().map(|session| session.node.clone());
        let nodes: HashSet<NodeId> = self.nodes.others(&self.clock).into_iter().chain(with_sessions).collect();
        for node in nodes.into_iter().filter(|node| *node != self.nodes.own) {
            let body = Body::SendAway { user: user.clone() };
            self.post(node, self.envelope(expires_at, body)).await;
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
        self.spawn(async move { signaling.end_sessions_of(&user).await });
    }

    /// The users whom other nodes sent away, for who remembers tokens; once.
    pub(super) fn users_sent_away(&self) -> Option<mpsc::Receiver<UserId>> {
        self.sent_away.receiver.lock().take()
    }

    async fn end_sessions_of(self: &Arc<Self>, user: &UserId) {
        for session in self.floor.of(user) {
            metrics::session_sent_away();
            session.dismiss(Departure::SentAway);
            // At once, not when the socket is found closed: he is offline as soon as Laravel is answered.
            self.disconnect(&session, Departure::SentAway).await;
        }
    }
}
