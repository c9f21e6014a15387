//! A store that counts how sessions are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use onlycare_signaling::call::{NodeId, Timestamp, UserId};
use onlycare_signaling::clock::Shift;
use onlycare_signaling::store::{Lease, Page, Registered, Renewal, SessionRecord, SessionStore, StoreError, Swept};

pub struct CountingSessions {
    store: Arc<dyn SessionStore>,
    /// Questions about one user, which wait on the connection of calls.
    pub of_one: AtomicUsize,
    /// Questions about many.
    pub of_many: AtomicUsize,
    /// Renewals of a lease, and sweeps of what an epoch left.
    pub renewals: AtomicUsize,
    pub sweeps: AtomicUsize,
    /// So many of the next questions about many fail.
    pub to_fail: AtomicUsize,
    /// Questions about one user fail, and are counted.
    pub fails: AtomicBool,
    /// Nothing is removed, and whoever asks for it is not answered.
    pub hangs: AtomicBool,
    /// So many of the next registrations are written, and their replies lost.
    pub to_lose: AtomicUsize,
    /// So many of the next removals by a sweeper are done, and their replies lost.
    pub swept_to_lose: AtomicUsize,
}

impl CountingSessions {
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        let [of_one, of_many, renewals, sweeps, to_fail, to_lose, swept_to_lose] = Default::default();
        let [fails, hangs] = Default::default();
        Self { store, of_one, of_many, renewals, sweeps, to_fail, fails, hangs, to_lose, swept_to_lose }
    }
}

/// Where it is one of the next so many: whoever asked hears nothing of what was done.
fn unless_lost<T>(answer: Result<T, StoreError>, to_lose: &AtomicUsize) -> Result<T, StoreError> {
    let is_lost = to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    if is_lost { Err(StoreError::Unavailable("on purpose".into())) } else { answer }
}

#[async_trait]
impl SessionStore for CountingSessions {
    async fn sessions(&self, user: &UserId) -> Result<Vec<SessionRecord>, StoreError> {
        self.of_one.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.sessions(user).await
    }

    async fn sessions_of(&self, users: &[UserId]) -> Result<Vec<Vec<SessionRecord>>, StoreError> {
        self.of_many.fetch_add(1, Ordering::SeqCst);
        if self.to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.sessions_of(users).await
    }

    async fn register(&self, session: &SessionRecord) -> Result<Registered, StoreError> {
        unless_lost(self.store.register(session).await, &self.to_lose)
    }

    async fn unregister(&self, session: &SessionRecord) -> Result<bool, StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.store.unregister(session).await
    }

    async fn subscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        self.store.subscribe(users, node).await
    }

    async fn unsubscribe(&self, users: &[UserId], node: &NodeId) -> Result<(), StoreError> {
        self.store.unsubscribe(users, node).await
    }

    async fn subscribers(&self, user: &UserId) -> Result<Vec<NodeId>, StoreError> {
        self.store.subscribers(user).await
    }

    async fn online_count(&self) -> Result<u64, StoreError> {
        self.store.online_count().await
    }

    async fn online_users(&self) -> Result<Vec<UserId>, StoreError> {
        self.store.online_users().await
    }

    async fn online_page(&self, after: Option<&Page>, limit: usize) -> Result<(Vec<UserId>, Option<Page>), StoreError> {
        self.store.online_page(after, limit).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration, now: Option<Timestamp>) -> Result<Renewal, StoreError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.store.renew(lease, ttl, now).await
    }

    async fn shift_clock(&self, shift: Shift) -> Result<bool, StoreError> {
        self.store.shift_clock(shift).await
    }

    async fn sweep(&self, lease: &Lease, now: Timestamp, claim: Duration, limit: usize) -> Result<Swept, StoreError> {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        self.store.sweep(lease, now, claim, limit).await
    }

    async fn swept(&self, lease: &Lease, users: &[UserId]) -> Result<(), StoreError> {
        unless_lost(self.store.swept(lease, users).await, &self.swept_to_lose)
    }

    async fn begin(&self, node: &NodeId, epoch: u64) -> Result<Vec<u64>, StoreError> {
        self.store.begin(node, epoch).await
    }

    async fn retire(&self, node: &NodeId) -> Result<(), StoreError> {
        self.store.retire(node).await
    }
}
