use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::call::{NodeId, SessionId, Timestamp, TokenHash, UserId};
use crate::clock::Shift;
use crate::store::{
    KnownToken, Lease, Page, Registered, Renewal, SESSIONS_PER_HOLDER, SESSIONS_PER_USER, SessionRecord, SessionStore,
    StoreError, Swept, TokenStore,
};

/// Tokens kept before those that expired are dropped.
const TOKENS: usize = 100_000;

#[derive(Default)]
pub(super) struct Sessions {
    by_user: HashMap<UserId, HashMap<SessionId, SessionRecord>>,
    leases: HashMap<NodeId, Lease>,
    subscribers: HashMap<UserId, BTreeSet<NodeId>>,
    /// Users of dead nodes that somebody sweeps, and until when.
    sweeping: HashMap<(NodeId, u64, UserId), Timestamp>,
    epochs: HashMap<NodeId, BTreeSet<u64>>,
}

impl Sessions {
    fn remove(&mut self, session: &SessionRecord) {
        if let Some(of_user) = self.by_user.get_mut(&session.user) {
            of_user.remove(&session.id);
            if of_user.is_empty() {
                self.by_user.remove(&session.user);
            }
        }
    }

    /// What a node registered of a user, or of all, under this epoch.
    fn held(&self, lease: &Lease, user: Option<&UserId>) -> Vec<SessionRecord> {
        let of_all = self.by_user.iter().filter(|(of, _)| user.is_none_or(|user| user == *of));
        let sessions = of_all.flat_map(|(_, sessions)| sessions.values());
        sessions.filter(|session| session.node == lease.node && session.epoch == lease.epoch).cloned().collect()
    }

    fn subscribers_of(&self, user: &UserId) -> Vec<NodeId> {
        self.subscribers.get(user).map(|nodes| nodes.iter().cloned().collect()).unwrap_or_default()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn register(&self, session: &SessionRecord) -> Result<Registered, StoreError> {
        let mut sessions = self.sessions.lock();
        let of_user = sessions.by_user.entry(session.user.clone()).or_default();
        let written = of_user.len() < SESSIONS_PER_USER || of_user.contains_key(&session.id);
        if written {
            of_user.insert(session.id.clone(), session.clone());
        }
        let of_user = of_user.values().cloned().collect();
        Ok(Registered { written, sessions: of_user, subscribers: sessions.subscribers_of(&session.user) })
    }

    async fn subscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        let mut sessions = self.sessions.lock();
        for user in users {
            sessions.subscribers.entry(user.clone()).or_default().insert(node.clone());
        }
        Ok(())
    }

    async fn unsubscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        let mut sessions = self.sessions.lock();
        for user in users {
            if let Some(nodes) = sessions.subscribers.get_mut(user) {
                nodes.remove(node);
                if nodes.is_empty() {
                    sessions.subscribers.remove(user);
                }
            }
        }
        Ok(())
    }

    async fn subscribers(&self, user: &UserId) -> Result<Vec<NodeId>, StoreError> {
        Ok(self.sessions.lock().subscribers_of(user))
    }

    async fn unregister(&self, session: &SessionRecord) -> Result<bool, StoreError> {
        let mut sessions = self.sessions.lock();
        sessions.remove(session);
        let left = sessions.by_user.contains_key(&session.user);
        Ok(!left && sessions.subscribers.contains_key(&session.user))
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<SessionRecord>, StoreError> {
        let sessions = self.sessions.lock();
        Ok(sessions.by_user.get(user).map(|of_user| of_user.values().cloned().collect()).unwrap_or_default())
    }

    async fn sessions_of(&self, users: &[UserId]) -> Result<Vec<Vec<SessionRecord>>, StoreError> {
        let sessions = self.sessions.lock();
        let of = |user| {
            let mut seen: HashMap<_, usize> = HashMap::new();
            let of_user = sessions.by_user.get(user).into_iter().flat_map(HashMap::values);
            let mut is_wanted = |session: &SessionRecord| {
                let count = seen.entry((session.node.clone(), session.epoch)).or_default();
                *count += 1;
                *count <= SESSIONS_PER_HOLDER
            };
            of_user.filter(|session| is_wanted(session)).cloned().collect()
        };
        Ok(users.iter().map(of).collect())
    }

    async fn online_count(&self) -> Result<u64, StoreError> {
        Ok(self.sessions.lock().by_user.len() as u64)
    }

    async fn online_users(&self) -> Result<Vec<UserId>, StoreError> {
        Ok(self.sessions.lock().by_user.keys().cloned().collect())
    }

    async fn online_page(&self, after: Option<&Page>, limit: usize) -> Result<(Vec<UserId>, Option<Page>), StoreError> {
        let mut users = self.online_users().await?;
        users.sort();
        users.retain(|user| after.is_none_or(|after| *user > after.user));
        let more = users.len() > limit;
        users.truncate(limit);
        let next = users.last().filter(|_| more).map(|user| Page { shard: 0, user: user.clone() });
        Ok((users, next))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration, now: Option<Timestamp>) -> Result<Renewal, StoreError> {
        let now = now.unwrap_or_else(|| self.clock.now());
        let mut sessions = self.sessions.lock();
        let known = sessions.leases.get(&lease.node);
        let continued = known.is_some_and(|known| known.epoch == lease.epoch && known.expires_at > now);
        sessions.leases.insert(lease.node.clone(), Lease { expires_at: now + ttl, ..lease.clone() });
        Ok(Renewal { store_time: None, continued, leases: sessions.leases.values().cloned().collect() })
    }

    async fn shift_clock(&self, _: Shift) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn sweep(&self, lease: &Lease, now: Timestamp, claim: Duration, limit: usize) -> Result<Swept, StoreError> {
        let sessions = &mut *self.sessions.lock();
        let users: BTreeSet<UserId> = sessions.held(lease, None).into_iter().map(|session| session.user).collect();
        if users.is_empty() {
            if sessions.leases.get(&lease.node).is_some_and(|known| known.epoch == lease.epoch) {
                sessions.leases.remove(&lease.node);
            }
            if let Some(epochs) = sessions.epochs.get_mut(&lease.node) {
                epochs.remove(&lease.epoch);
            }
            return Ok(Swept::default());
        }
        let (mut swept, mut free) = (Swept::default(), limit);
        for user in users {
            let key = (lease.node.clone(), lease.epoch, user);
            let is_free = sessions.sweeping.get(&key).is_none_or(|until| *until <= now);
            if is_free && free > 0 {
                free -= 1;
                swept.sessions.extend(sessions.held(lease, Some(&key.2)));
                sessions.sweeping.insert(key.clone(), now + claim);
            }
            swept.claimed += usize::from(sessions.sweeping.contains_key(&key));
        }
        Ok(swept)
    }

    async fn swept(&self, lease: &Lease, users: &[UserId]) -> Result<(), StoreError> {
        let sessions = &mut *self.sessions.lock();
        for user in users {
            sessions.sweeping.remove(&(lease.node.clone(), lease.epoch, user.clone()));
            for session in sessions.held(lease, Some(user)) {
                sessions.remove(&session);
            }
        }
        Ok(())
    }

    async fn begin(&self, node: &NodeId, epoch: u64) -> Result<Vec<u64>, StoreError> {
        let mut sessions = self.sessions.lock();
        let epochs = sessions.epochs.entry(node.clone()).or_default();
        epochs.insert(epoch);
        Ok(epochs.iter().copied().filter(|other| *other != epoch).collect())
    }

    async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        self.sessions.lock().leases.remove(node);
        Ok(())
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn get(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        let now = self.clock.now();
        Ok(self.tokens.lock().get(token).filter(|(_, until)| *until > now).map(|(known, _)| known.clone()))
    }

    async fn put(&self, token: &TokenHash, known: &KnownToken, ttl: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tokens = self.tokens.lock();
        if tokens.len() >= TOKENS {
            tokens.retain(|_, (_, until)| *until > now);
        }
        tokens.insert(*token, (known.clone(), now + ttl));
        Ok(())
    }

    async fn touch(&self, touched: &[TokenHash], ttl: Duration) -> Result<(), StoreError> {
        let until = self.clock.now() + ttl;
        let mut tokens = self.tokens.lock();
        for token in touched {
            if let Some(known) = tokens.get_mut(token) {
                known.1 = until;
            }
        }
        Ok(())
    }

    async fn forget(&self, token: &TokenHash) -> Result<(), StoreError> {
        self.tokens.lock().remove(token);
        Ok(())
    }

    async fn forget_user(&self, user: &UserId) -> Result<(), StoreError> {
        self.tokens.lock().retain(|_, (known, _)| known.user != *user);
        Ok(())
    }
}
