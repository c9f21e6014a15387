//! The presence subscriptions on this node.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{MAX_SUBSCRIPTIONS, SubscribeError};
use crate::call::{SessionId, UserId};
use crate::signaling::sessions::Session;
use crate::telemetry::metrics;

/// Which sessions of this node subscribed to whom.
#[derive(Default)]
pub struct Subscriptions(Mutex<Books>);

#[derive(Default)]
struct Books {
    users: HashMap<UserId, Subscribed>,
    sessions: HashMap<SessionId, HashSet<UserId>>,
}

#[derive(Default)]
struct Subscribed {
    by: HashMap<SessionId, Arc<Session>>,
    /// What the subscribers were last told.
    online: Option<bool>,
}

impl Subscriptions {
    /// Notes the subscription and returns the users that nobody here had subscribed to.
    pub fn add(&self, session: &Arc<Session>, users: &[UserId]) -> Result<Vec<UserId>, SubscribeError> {
        let books = &mut *self.0.lock();
        let subscribed = books.sessions.entry(session.id.clone()).or_default();
        let more = users.iter().filter(|user| !subscribed.contains(*user)).collect::<HashSet<_>>().len();
        if subscribed.len() + more > MAX_SUBSCRIPTIONS {
            return Err(SubscribeError::TooMany);
        }
        let mut new = Vec::new();
        for user in users {
            subscribed.insert(user.clone());
            let entry = books.users.entry(user.clone()).or_default();
            if entry.by.is_empty() {
                new.push(user.clone());
            }
            entry.by.insert(session.id.clone(), Arc::clone(session));
        }
        metrics::subscribed_users(books.users.len());
        Ok(new)
    }

    /// Ends subscriptions of a session (all of them without `users`); returns the users that nobody here subscribes to
    /// now.
    pub fn remove(&self, session: &SessionId, users: Option<&[UserId]>) -> Vec<UserId> {
        let books = &mut *self.0.lock();
        let Some(subscribed) = books.sessions.get_mut(session) else { return vec![] };
        let leaving: Vec<UserId> = match users {
            Some(users) => users.iter().filter(|user| subscribed.remove(*user)).cloned().collect(),
            None => subscribed.drain().collect(),
        };
        if subscribed.is_empty() {
            books.sessions.remove(session);
        }
        let mut no_longer_subscribed = Vec::new();
        for user in leaving {
            if let Some(entry) = books.users.get_mut(&user) {
                entry.by.remove(session);
                if entry.by.is_empty() {
                    books.users.remove(&user);
                    no_longer_subscribed.push(user);
                }
            }
        }
        metrics::subscribed_users(books.users.len());
        no_longer_subscribed
    }

    pub fn all(&self) -> Vec<UserId> {
        self.0.lock().users.keys().cloned().collect()
    }

    /// The sessions to tell, if this is news to them.
    pub fn news(&self, user: &UserId, online: bool) -> Vec<Arc<Session>> {
        let mut books = self.0.lock();
        let Some(subscribed) = books.users.get_mut(user) else { return vec![] };
        if subscribed.online.replace(online) == Some(online) {
            return vec![];
        }
        subscribed.by.values().cloned().collect()
    }

    /// What a subscriber was just answered is told to him already.
    pub fn answered(&self, user: &UserId, online: bool) {
        if let Some(subscribed) = self.0.lock().users.get_mut(user) {
            subscribed.online.get_or_insert(online);
        }
    }
}
