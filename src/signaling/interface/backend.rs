//! What Laravel says and asks, and what concerns its tokens.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::bus::DirectEvent;
use crate::call::{Call, CallId, Milestone, TokenHash, UserId};
use crate::signaling::calls::{Calls, Failure, Initiate};
use crate::signaling::connections::Dismissals;
use crate::signaling::delivery::DirectDelivery;
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;
use crate::signaling::timeline::Timeline;
use crate::signaling::use_cases::{BackendCommand, BackendCommands, CommandOutcome, Initiated};
use crate::store::{Page, StoreError};

/// What Laravel says and asks.
pub struct Backend {
    pub(in crate::signaling) node: Arc<NodeContext>,
    pub(in crate::signaling) commands: Arc<BackendCommands>,
    pub(in crate::signaling) direct: Arc<DirectDelivery>,
    pub(in crate::signaling) dismissals: Arc<Dismissals>,
    pub(in crate::signaling) directory: Arc<Directory>,
    pub(in crate::signaling) timeline: Arc<Timeline>,
    pub(in crate::signaling) calls: Arc<Calls>,
}

impl Backend {
    /// Laravel rings the receiver in the caller's name, at once.
    pub async fn initiate(&self, caller: &UserId, request: Initiate) -> Result<Initiated, Failure> {
        let (commands, caller) = (Arc::clone(&self.commands), caller.clone());
        self.node.to_its_end(async move { commands.initiate(&caller, request).await }).await
    }

    /// What became of a call over REST. While the store fails or stands still it waits and is obeyed later, and this is
    /// answered within a second or so.
    pub async fn obey(&self, id: &CallId, command: BackendCommand) -> CommandOutcome {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        let (tell, answer) = oneshot::channel();
        let obeyed = self.node.to_its_end(async move { commands.obey(&id, command, tell).await });
        let obeyed = self.node.obeying(self.node.clock.elapsed(), obeyed);
        // Its task has more to do when it has told.
        let obeyed = async {
            obeyed.await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            Ok(answer) = answer => answer,
            never = obeyed => never,
        }
    }

    /// Says an event of the application's own to every session of a user; false where he has none.
    pub async fn send_to_user(&self, user: &UserId, event: String, data: Value) -> Result<bool, Failure> {
        let (direct, user) = (Arc::clone(&self.direct), user.clone());
        self.node.to_its_end(async move { Ok(direct.send(&user, DirectEvent::App { event, data }).await?) }).await
    }

    /// Ends every session of a user, wherever it is, with a disconnect packet, once he is forgotten. Returns what came of the
    /// forgetting, and how many sessions there were.
    pub async fn send_away<T: Send + 'static>(
        &self,
        user: &UserId,
        reason: &str,
        forgetting: impl Future<Output = T> + Send + 'static,
    ) -> (T, Result<usize, Failure>) {
        let (dismissals, user, reason) = (Arc::clone(&self.dismissals), user.clone(), reason.to_owned());
        let sent_away = async move { (forgetting.await, dismissals.send_away(&user, &reason).await) };
        let (forgotten, sessions) = self.node.to_its_end(sent_away).await;
        (forgotten, sessions.map_err(Failure::from))
    }

    /// Ends every session that came with a token which is no longer accepted, wherever it is.
    pub async fn revoke(&self, user: &UserId, token: TokenHash) {
        let (dismissals, user) = (Arc::clone(&self.dismissals), user.clone());
        self.node.to_its_end(async move { dismissals.revoke(&user, token).await }).await;
    }

    /// A call as it is stored, with its history in order of time.
    pub async fn history(&self, id: &CallId) -> Result<(Call, Vec<Milestone>), Failure> {
        let (timeline, calls, id) = (Arc::clone(&self.timeline), Arc::clone(&self.calls), id.clone());
        let read = async move {
            // Milestones that wait are written first.
            let found = timeline.history(&id).await?.ok_or(Failure::NotFound);
            calls.unless_lost(found).await
        };
        self.node.to_its_end(read).await
    }

    /// Who of these has a session, in order.
    pub async fn who_is_online(&self, users: &[UserId]) -> Result<Vec<(UserId, bool)>, StoreError> {
        self.directory.who_is_online(users).await
    }

    /// The id of the user's newest session, opaque to its reader.
    pub async fn session_id(&self, user: &UserId) -> Result<Option<String>, StoreError> {
        self.directory.session_id(user).await
    }

    /// Every user with a session, in order of id.
    pub async fn connected_users(&self) -> Result<Vec<UserId>, StoreError> {
        self.directory.connected_users().await
    }

    /// Users with a session, page by page, with their number in all.
    pub async fn connected_page(
        &self,
        after: Option<&Page>,
        limit: usize,
    ) -> Result<(u64, Vec<UserId>, Option<Page>), StoreError> {
        self.directory.connected_page(after, limit).await
    }

    /// The tokens of the sessions on this node.
    pub fn live_tokens(&self) -> Vec<TokenHash> {
        self.dismissals.live_tokens()
    }

    /// The users whom other nodes sent away, for who remembers tokens; once.
    pub fn users_sent_away(&self) -> Option<mpsc::Receiver<UserId>> {
        self.dismissals.users_sent_away()
    }
}
