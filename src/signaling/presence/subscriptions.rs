//! The presence subscriptions on this node.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{SubscribeError, WATCHED_PER_SESSION};
use crate::call::{SessionId, UserId};
use crate::signaling::sessions::Session;
use crate::telemetry::metrics;

/// Who on this node watches whom.
#[derive(Default)]
pub struct Subscriptions(Mutex<Books>);

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

impl Subscriptions {
    /// Notes the subscription and returns the users that nobody here watched before.
    pub fn add(&self, session: &Arc<Session>, users: &[UserId]) -> Result<Vec<UserId>, SubscribeError> {
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
    pub fn remove(&self, session: &SessionId, users: Option<&[UserId]>) -> Vec<UserId> {
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

    pub fn all(&self) -> Vec<UserId> {
        self.0.lock().users.keys().cloned().collect()
    }

    /// The sessions to tell, if this is news to them.
    pub fn news(&self, user: &UserId, online: bool) -> Vec<Arc<Session>> {
        let mut books = self.0.lock();
        let Some(watched) = books.users.get_mut(user) else { return vec![] };
        if watched.online.replace(online) == Some(online) {
            return vec![];
        }
        watched.by.values().cloned().collect()
    }

    /// What a subscriber was just answered is told to him already.
    pub fn answered(&self, user: &UserId, online: bool) {
        if let Some(watched) = self.0.lock().users.get_mut(user) {
            watched.online.get_or_insert(online);
        }
    }
}
