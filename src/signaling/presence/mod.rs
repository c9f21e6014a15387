//! Presence subscriptions: a user's coming and going is told to the nodes that subscribed to it, and to no other.

mod departures;
mod subscriptions;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Members, Messenger, StoreIdentity};
use super::directory::Directory;
use super::node::NodeContext;
use super::sessions::Session;
use crate::bus::Body;
use crate::call::{NodeId, UserId};
use crate::store::{Registered, SessionStore, StoreError};
use crate::telemetry::metrics::{self, Limit};
pub use subscriptions::Subscriptions;
pub use webhooks::PresenceWebhooks;

/// Users one session may subscribe to.
pub const MAX_SUBSCRIPTIONS: usize = 500;
/// A user is offline when he stayed away for this long: a network switch is not told.
const DAMPING: Duration = Duration::from_secs(3);
const NEWS_LIFE: Duration = Duration::from_secs(30);
/// A whole subscription: what a store has in one place is asked for in one command.
const ASKED_AT_ONCE: usize = 500;

/// Why a subscription was not taken.
#[derive(Debug)]
pub enum SubscribeError {
    /// More than [`MAX_SUBSCRIPTIONS`].
    TooMany,
    Unavailable,
}

impl From<StoreError> for SubscribeError {
    fn from(_: StoreError) -> Self {
        SubscribeError::Unavailable
    }
}

/// Tells subscribers that users came and went.
pub struct Presence {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn SessionStore>,
    pub members: Arc<Members>,
    pub directory: Arc<Directory>,
    pub messenger: Arc<Messenger>,
    pub identity: Arc<StoreIdentity>,
    pub webhooks: PresenceWebhooks,
    pub subscriptions: Subscriptions,
}

impl Presence {
    /// Subscribes a session to users and answers who is online. The subscription is written before the sessions are
    /// read, so that who comes in between is told by one of both.
    pub async fn subscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let new = self.subscriptions.add(session, users).inspect_err(|_| metrics::limited(Limit::Subscriptions))?;
        if let Err(error) = self.store.subscribe(&new, &self.node.id).await {
            self.subscriptions.remove(&session.id, Some(users));
            return Err(error.into());
        }
        if !self.directory.local.has(&session.user, &session.id) {
            // It left meanwhile: its leave found nothing to take back.
            self.unsubscribe_all_of(session).await;
        }
        let answer = self.directory.who_is_online(users).await?;
        for (user, online) in &answer {
            self.subscriptions.answered(user, *online);
        }
        Ok(answer)
    }

    pub async fn unsubscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let no_longer_subscribed = self.subscriptions.remove(&session.id, Some(users));
        self.store.unsubscribe(&no_longer_subscribed, &self.node.id).await?;
        Ok(self.directory.who_is_online(users).await?)
    }

    pub async fn unsubscribe_all_of(self: &Arc<Self>, session: &Session) {
        let no_longer_subscribed = self.subscriptions.remove(&session.id, None);
        // What stays behind is told to this node for nothing until it expires.
        let _ = self.store.unsubscribe(&no_longer_subscribed, &self.node.id).await;
    }

    /// Writes every subscription of this node again: they expire in the store, and a new store has none.
    pub async fn renew_subscriptions(&self) -> Result<(), StoreError> {
        for users in self.subscriptions.all().chunks(ASKED_AT_ONCE) {
            self.store.subscribe(users, &self.node.id).await?;
        }
        Ok(())
    }

    /// A session was registered: where it is the user's only one, the subscribers are told that he came.
    pub async fn came(self: &Arc<Self>, user: &UserId, registered: &Registered) {
        if registered.sessions.iter().filter(|session| self.members.may_live(session)).count() == 1 {
            self.post_presence(user, true);
            self.announce(user, true, &registered.subscribers).await;
        }
    }

    /// The user's last session may have gone: the nodes that subscribed find out whether the user stays away. An error: the
    /// store failed, nobody was told.
    pub async fn went_away(self: &Arc<Self>, user: &UserId) -> Result<(), StoreError> {
        let subscribers = self.store.subscribers(user).await?;
        self.announce(user, false, &subscribers).await;
        Ok(())
    }

    /// Has the backend told by webhook that a user came, or, if he stays away, that he went. Of who comes and goes all the
    /// while it is told at most once in [`DAMPING`] that he is there.
    pub fn post_presence(self: &Arc<Self>, user: &UserId, online: bool) {
        let leaving = &self.webhooks.leaving;
        if !self.node.policy.presence_webhooks || (online && leaving.came_back(user)) {
            return;
        }
        // Who leaves again while it is not known whether he stays away is watched already.
        if !online && !leaving.left(user, self.node.clock.uptime()) {
            return;
        }
        let (signaling, user) = (Arc::clone(self), user.clone());
        self.node.spawn(async move {
            if online {
                return signaling.webhooks.append(&user, true).await;
            }
            let mut rest = DAMPING;
            let came_back = loop {
                signaling.damped(rest).await;
                match signaling.webhooks.leaving.is_over(&user, signaling.node.clock.uptime()) {
                    Ok(came_back) => break came_back,
                    Err(left) => rest = left,
                }
            };
            // Not by `is_online`: calls wait for its connection.
            match signaling.directory.who_is_online(std::slice::from_ref(&user)).await.as_deref() {
                Ok([(_, false)]) => signaling.webhooks.append(&user, false).await,
                Ok([(_, true)]) if came_back => signaling.webhooks.append(&user, true).await,
                Ok(_) | Err(_) => {}
            }
        });
    }

    async fn announce(self: &Arc<Self>, user: &UserId, online: bool, subscribers: &[NodeId]) {
        let now = self.node.now();
        for node in subscribers {
            if *node == self.node.id {
                self.tell_presence(user, online);
            } else if self.members.is_dead(node) {
                let _ = self.store.unsubscribe(std::slice::from_ref(user), node).await;
            } else {
                let body = Body::Presence { user: user.clone(), online };
                self.messenger.post(node.clone(), now + NEWS_LIFE, body).await;
            }
        }
    }

    /// Waits until it shows whether who left stays away. A store that lost its sessions is given the time to get them back.
    async fn damped(&self, rest: Duration) {
        self.node.clock.sleep(rest).await;
        while !self.identity.may_judge().await {
            self.node.clock.sleep(DAMPING).await;
        }
    }

    /// Tells the subscribers here that the user came, or went, if the user stays away.
    pub fn tell_presence(&self, user: &UserId, online: bool) {
        let now = self.node.clock.uptime();
        if online {
            self.tell(&self.subscriptions.came(user, now), user, true);
        } else {
            self.subscriptions.left([user], now);
        }
    }

    fn tell(&self, subscribers: &[Arc<Session>], user: &UserId, online: bool) {
        for session in subscribers {
            session.sender().presence(user, online, self.node.now());
        }
    }

    /// Has compared what subscribers were told with the store, after messages may have been lost.
    pub fn heal_presence(&self) {
        self.subscriptions.doubt();
    }
}
