//! Who is connected anywhere: the sessions of the store, less those of dead nodes.

use std::sync::Arc;

use super::cluster::Members;
use super::node::NodeContext;
use super::sessions::LocalSessions;
use crate::call::{Call, Role, UserId};
use crate::store::{Page, SessionRecord, SessionStore, StoreError};

const ASKED_AT_ONCE: usize = 1000;

/// Who is connected to which node.
pub struct Directory {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn SessionStore>,
    pub local: Arc<LocalSessions>,
    pub members: Arc<Members>,
}

impl Directory {
    /// The user's sessions on nodes that may be alive. "Dead" is only a lease that expired while this node's own
    /// renewals went through.
    pub async fn sessions_of(&self, user: &UserId) -> Result<Vec<SessionRecord>, StoreError> {
        Ok(self.alive(user, self.store.sessions(user).await?))
    }

    /// Those of a user's sessions whose nodes may be alive.
    pub fn alive(&self, user: &UserId, mut sessions: Vec<SessionRecord>) -> Vec<SessionRecord> {
        sessions.retain(|session| self.is_here(user, session).unwrap_or_else(|| self.members.may_live(session)));
        sessions
    }

    /// Of this node its own sessions are known; nothing of a session of another.
    fn is_here(&self, user: &UserId, session: &SessionRecord) -> Option<bool> {
        (session.node == self.node.id).then(|| self.local.has(user, &session.id))
    }

    pub async fn is_online(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(!self.sessions_of(user).await?.is_empty())
    }

    /// Whether the user has a session, as far as can be told: what was obeyed is not undone by a store that fails then.
    pub async fn seems_online(&self, user: &UserId) -> bool {
        self.is_online(user).await.unwrap_or_else(|_| self.local.holds(user))
    }

    /// Whether the party's device has a session. When the store can't tell, it has.
    pub async fn is_present(&self, call: &Call, role: Role) -> bool {
        self.has_device(call, role, |session| self.members.may_live(session)).await.unwrap_or(true)
    }

    /// Whether the party's device still has a session when another has left. One that only a lease which has run out speaks
    /// for is none: if it is dead it left before that other, and whoever sweeps it would say so.
    pub async fn is_still_there(&self, call: &Call, role: Role) -> Result<bool, StoreError> {
        self.has_device(call, role, |session| self.members.is_vouched_for(session)).await
    }

    /// `lives`: of a session of another node.
    async fn has_device(
        &self,
        call: &Call,
        role: Role,
        lives: impl Fn(&SessionRecord) -> bool,
    ) -> Result<bool, StoreError> {
        let party = call.party(role);
        let is_of_it = |session: &SessionRecord| {
            let is_alive = || self.is_here(&party.user, session).unwrap_or_else(|| lives(session));
            party.device.matches(&session.device) && is_alive()
        };
        Ok(self.store.sessions(&party.user).await?.iter().any(is_of_it))
    }

    /// The id of the user's newest session, opaque to its reader.
    pub async fn session_id(&self, user: &UserId) -> Result<Option<String>, StoreError> {
        let sessions = self.sessions_of(user).await?;
        Ok(sessions.into_iter().max_by_key(|session| session.connected_at).map(|session| session.id.to_string()))
    }

    /// Who of these has a session, in order.
    pub async fn who_is_online(&self, users: &[UserId]) -> Result<Vec<(UserId, bool)>, StoreError> {
        let mut answer = Vec::with_capacity(users.len());
        for users in users.chunks(ASKED_AT_ONCE) {
            let sessions = self.store.sessions_of(users).await?;
            let online = |(user, sessions): (&UserId, Vec<SessionRecord>)| {
                // Of this node its own sessions are known; a record may be of its past.
                let elsewhere = |session: &SessionRecord| session.node != self.node.id;
                let is_here = self.local.holds(user) && sessions.iter().any(|session| !elsewhere(session));
                let may_live = |session| self.members.may_live(session);
                (user.clone(), is_here || sessions.iter().filter(|session| elsewhere(session)).any(may_live))
            };
            answer.extend(users.iter().zip(sessions).map(online));
        }
        Ok(answer)
    }

    /// Every user with a session, in order of id.
    pub async fn connected_users(&self) -> Result<Vec<UserId>, StoreError> {
        let mut users = self.store.online_users().await?;
        users.sort();
        users.dedup();
        Ok(users)
    }

    /// Users with a session, page by page, with their number in all.
    pub async fn connected_page(
        &self,
        after: Option<&Page>,
        limit: usize,
    ) -> Result<(u64, Vec<UserId>, Option<Page>), StoreError> {
        let (count, page) = tokio::try_join!(self.store.online_count(), self.store.online_page(after, limit))?;
        Ok((count, page.0, page.1))
    }
}
