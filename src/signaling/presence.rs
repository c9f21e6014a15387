//! Who watches whom: a user's coming and going is told to the nodes that watch him, and to no other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Node, Session};
use crate::bus::Body;
use crate::call::{NodeId, SessionId, UserId};
use crate::store::StoreError;
use crate::telemetry::metrics::{self, Limit};

/// Users one session may watch.
pub const WATCHED_PER_SESSION: usize = 500;
/// A user is offline when he stayed away for this long: a network switch is not told.
const DAMPING: Duration = Duration::from_secs(3);
const NEWS_LIFE: Duration = Duration::from_secs(30);
/// A whole subscription: what a store has in one place is asked for in one command.
const ASKED_AT_ONCE: usize = 500;

/// Why a subscription was not taken.
#[derive(Debug)]
pub enum SubscribeError {
    /// More than [`WATCHED_PER_SESSION`].
    TooMany,
    Unavailable,
}

impl From<StoreError> for SubscribeError {
    fn from(_: StoreError) -> Self {
        SubscribeError::Unavailable
    }
}

/// The watchers on this node.
#[derive(Default)]
pub(super) struct Watchers(Mutex<Books>);

#[derive(Default)]
struct Books {
    users: HashMap<UserId, Watched>,
    sessions: HashMap<SessionId, HashSet<UserId>>,
}

#[derive(Default)]
struct Watched {
    by: HashMap<SessionId, Arc<Session>>,
    /// What the watchers were last told.
    online: Option<bool>,
}

impl Watchers {
    /// Notes the subscription and returns the users that nobody here watched before.
    fn add(&self, session: &Arc<Session>, users: &[UserId]) -> Result<Vec<UserId>, SubscribeError> {
        let books = &mut *self.0.lock();
        let watched = books.sessions.entry(session.id.clone()).or_default();
        let more = users.iter().filter(|user| !watched.contains(*user)).collect::<HashSet<_>>().len();
        if watched.len() + more > WATCHED_PER_SESSION {
            return Err(SubscribeError::TooMany);
        }
        let mut new = Vec::new();
        for user in users {
            watched.insert(user.clone());
            let entry = books.users.entry(user.clone()).or_default();
            if entry.by.is_empty() {
                new.push(user.clone());
            }
            entry.by.insert(session.id.clone(), Arc::clone(session));
        }
        metrics::watched_users(books.users.len());
        Ok(new)
    }

    /// Ends subscriptions of a session (all of them without `users`); returns the users that nobody here watches now.
    fn remove(&self, session: &SessionId, users: Option<&[UserId]>) -> Vec<UserId> {
        let books = &mut *self.0.lock();
        let Some(watched) = books.sessions.get_mut(session) else { return vec![] };
        let leaving: Vec<UserId> = match users {
            Some(users) => users.iter().filter(|user| watched.remove(*user)).cloned().collect(),
            None => watched.drain().collect(),
        };
        if watched.is_empty() {
            books.sessions.remove(session);
        }
        let mut unwatched = Vec::new();
        for user in leaving {
            if let Some(entry) = books.users.get_mut(&user) {
                entry.by.remove(session);
                if entry.by.is_empty() {
                    books.users.remove(&user);
                    unwatched.push(user);
                }
            }
        }
        metrics::watched_users(books.users.len());
        unwatched
    }

    fn all(&self) -> Vec<UserId> {
        self.0.lock().users.keys().cloned().collect()
    }

    /// The sessions to tell, if this is news to them.
    fn news(&self, user: &UserId, online: bool) -> Vec<Arc<Session>> {
        let mut books = self.0.lock();
        let Some(watched) = books.users.get_mut(user) else { return vec![] };
        if watched.online.replace(online) == Some(online) {
            return vec![];
        }
        watched.by.values().cloned().collect()
    }

    /// What a subscriber was just answered is told to him already.
    fn answered(&self, user: &UserId, online: bool) {
        if let Some(watched) = self.0.lock().users.get_mut(user) {
            watched.online.get_or_insert(online);
        }
    }
}

impl Node {
    /// Watches users for a session and answers who is online. The watch is written before the sessions are read, so
    /// that who comes in between is told by one of both.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let new = self.subscriptions.add(session, users).inspect_err(|_| metrics::limited(Limit::Subscriptions))?;
        if let Err(error) = self.sessions.watch(&new, &self.node.id).await {
            self.subscriptions.remove(&session.id, Some(users));
            return Err(error.into());
        }
        if !self.local.has(&session.user, &session.id) {
            // It left meanwhile: its leave found nothing to take back.
            self.unwatch_all_of(session).await;
        }
        let answer = self.directory.who_is_online(users).await?;
        for (user, online) in &answer {
            self.subscriptions.answered(user, *online);
        }
        Ok(answer)
    }

    pub(super) async fn unsubscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let unwatched = self.subscriptions.remove(&session.id, Some(users));
        self.sessions.unwatch(&unwatched, &self.node.id).await?;
        Ok(self.directory.who_is_online(users).await?)
    }

    pub(super) async fn unwatch_all_of(self: &Arc<Self>, session: &Session) {
        let unwatched = self.subscriptions.remove(&session.id, None);
        // What stays behind is told to this node for nothing until it expires.
        let _ = self.sessions.unwatch(&unwatched, &self.node.id).await;
    }

    /// Writes every watch of this node again: they expire in the store, and a new store has none.
    pub(super) async fn watch_all_again(&self) -> Result<(), StoreError> {
        for users in self.subscriptions.all().chunks(ASKED_AT_ONCE) {
            self.sessions.watch(users, &self.node.id).await?;
        }
        Ok(())
    }

    /// The user's first session came: his watchers hear of it.
    pub(super) async fn came_online(self: &Arc<Self>, user: &UserId, watchers: Vec<NodeId>) {
        self.announce(user, true, watchers).await;
    }

    /// The user's last session may have gone: the nodes that watch him find out whether he stays away.
    pub(super) async fn went_away(self: &Arc<Self>, user: &UserId) {
        if let Ok(watchers) = self.sessions.watchers(user).await {
            self.announce(user, false, watchers).await;
        }
    }

    /// Has the backend told by webhook that a user came, or, if he stays away, that he went. Best effort: what can't be
    /// written is not told.
    pub(super) fn post_presence(self: &Arc<Self>, user: &UserId, online: bool) {
        if !self.node.policy.presence_webhooks {
            return;
        }
        let (signaling, user) = (Arc::clone(self), user.clone());
        self.node.spawn(async move {
            if !online && !signaling.stays_away(&user).await {
                return;
            }
            signaling.append_presence(&user, online).await;
        });
    }

    async fn announce(self: &Arc<Self>, user: &UserId, online: bool, watchers: Vec<NodeId>) {
        let now = self.node.now();
        for node in watchers {
            if node == self.node.id {
                self.tell_presence(user, online);
            } else if self.members.is_dead(&node) {
                let _ = self.sessions.unwatch(std::slice::from_ref(user), &node).await;
            } else {
                let body = Body::Presence { user: user.clone(), online };
                self.messenger.post(node, now + NEWS_LIFE, body).await;
            }
        }
    }

    /// Whether a user who seems to have gone has. A store that lost its sessions is given the time to get them back.
    async fn stays_away(self: &Arc<Self>, user: &UserId) -> bool {
        self.node.clock.sleep(DAMPING).await;
        while !self.may_judge().await {
            self.node.clock.sleep(DAMPING).await;
        }
        matches!(self.directory.is_online(user).await, Ok(false))
    }

    /// Tells the watchers here that the user came, or, if he stays away, that he went.
    pub(super) fn tell_presence(self: &Arc<Self>, user: &UserId, online: bool) {
        if online {
            return self.tell_watchers(user, true);
        }
        let (signaling, user) = (Arc::clone(self), user.clone());
        self.node.spawn(async move {
            if signaling.stays_away(&user).await {
                signaling.tell_watchers(&user, false);
            }
        });
    }

    fn tell_watchers(&self, user: &UserId, online: bool) {
        for session in self.subscriptions.news(user, online) {
            session.voice().presence(user, online, self.node.now());
        }
    }

    /// Compares what watchers were told with the store, after messages may have been lost.
    pub(super) async fn heal_presence(self: &Arc<Self>) {
        let users = self.subscriptions.all();
        if let Ok(online) = self.directory.who_is_online(&users).await {
            for (user, online) in online {
                self.tell_presence(&user, online);
            }
        }
    }
}
