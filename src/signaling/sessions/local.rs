//! The sessions of this node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::Session;
use crate::call::{SessionId, UserId};

/// The sessions of this node by user.
#[derive(Default)]
pub struct LocalSessions {
    sessions: RwLock<HashMap<UserId, Vec<Arc<Session>>>>,
    count: AtomicUsize,
}

impl LocalSessions {
    pub fn add(&self, session: Arc<Session>) {
        self.sessions.write().entry(session.user.clone()).or_default().push(session);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes this session; false where it was not there.
    pub fn remove(&self, session: &Session) -> bool {
        let mut sessions = self.sessions.write();
        let Some(of_user) = sessions.get_mut(&session.user) else { return false };
        let before = of_user.len();
        of_user.retain(|other| other.id != session.id);
        let removed = of_user.len() < before;
        self.count.fetch_sub(usize::from(removed), Ordering::Relaxed);
        if of_user.is_empty() {
            sessions.remove(&session.user);
        }
        removed
    }

    pub fn of(&self, user: &UserId) -> Vec<Arc<Session>> {
        self.sessions.read().get(user).cloned().unwrap_or_default()
    }

    pub fn holds(&self, user: &UserId) -> bool {
        self.sessions.read().contains_key(user)
    }

    pub fn has(&self, user: &UserId, id: &SessionId) -> bool {
        self.sessions.read().get(user).is_some_and(|of_user| of_user.iter().any(|session| session.id == *id))
    }

    pub fn all(&self) -> Vec<Arc<Session>> {
        self.sessions.read().values().flatten().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub fn users(&self) -> usize {
        self.sessions.read().len()
    }

    pub fn names(&self) -> Vec<UserId> {
        self.sessions.read().keys().cloned().collect()
    }
}
