//! All sessions of this node are registered again: under a new epoch, or in a store that forgot them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};

use super::{Absences, Registrar, Replay};
use crate::signaling::sessions::Session;
use crate::store::{ReconnectSnapshot, Registered, StoreError};

/// Sessions that a node registers again at the same time.
const AT_ONCE: usize = 64;

/// Registers again.
pub struct Registering {
    registrar: Arc<Registrar>,
    replay: Arc<Replay>,
    absences: Arc<Absences>,
    /// Subscriptions to presence are to be written again.
    owes_subscriptions: AtomicBool,
}

impl Registering {
    pub fn new(registrar: Arc<Registrar>, replay: Arc<Replay>, absences: Arc<Absences>) -> Self {
        Self { registrar, replay, absences, owes_subscriptions: AtomicBool::new(false) }
    }

    /// Registers all sessions of this node, under the epoch of now, and tells each what it may have missed.
    pub async fn register_all(&self) -> Result<(), StoreError> {
        let sessions = self.registrar.local.all();
        if !sessions.is_empty() {
            tracing::info!(sessions = sessions.len(), "registering all sessions again");
        }
        let registered = all_of(sessions.into_iter().map(|session| async move {
            let registered = self.registrar.register(&session).await?;
            Ok(registered.written.then_some((session, registered)))
        }))
        .await?;
        // Who is where is known at once. After a loss the store may know less of their calls than others are about to put
        // back.
        self.replay.identity.all_restored().await?;
        let present = registered.into_iter().flatten();
        let told =
            present.map(|(session, registered)| async move { Box::pin(self.tell_missed(&session, &registered)).await });
        all_of(told).await?;
        self.owes_subscriptions.store(true, Ordering::Relaxed);
        self.renew_subscriptions().await
    }

    /// Writes the subscriptions to presence again that are owed. A store that is full takes none until it has room, and
    /// the sessions are registered all the same.
    pub async fn renew_subscriptions(&self) -> Result<(), StoreError> {
        if !self.owes_subscriptions.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.absences.presence.renew_subscriptions().await {
            Ok(()) => self.owes_subscriptions.store(false, Ordering::Relaxed),
            Err(error) if error.is_refusal() => tracing::debug!(%error, "presence is not subscribed to again yet"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells a session that is registered again what it may have missed meanwhile.
    async fn tell_missed(&self, session: &Arc<Session>, registered: &Registered) -> Result<(), StoreError> {
        let snapshot = self.registrar.calls.reconnect_snapshot(&session.user).await?;
        self.registrar.evict_surplus(&session.id, &registered.sessions, snapshot.line.as_ref()).await;
        if !session.has_joined() {
            // Whether he was announced when he connected is not known.
            self.absences.presence.came(&session.user, registered).await;
            self.tell_earlier(session, &snapshot).await?;
        }
        self.replay.replay(session, &snapshot).await;
        session.joined(snapshot.order);
        // While this node stood still or was cut off, others held its sessions for gone.
        match &snapshot.line {
            // On the heap: a worker's stack does not hold it on top of all that a renewal is in.
            Some(call) => Box::pin(self.absences.is_present(session, call)).await,
            None => Ok(()),
        }
    }

    /// Tells a session that connected while the store was away, whose `session:ready` was empty, of the ends before the
    /// newest: another device may have had that call.
    async fn tell_earlier(&self, session: &Arc<Session>, snapshot: &ReconnectSnapshot) -> Result<(), StoreError> {
        let newest = usize::from(snapshot.line.is_none());
        for outcome in snapshot.outcomes.iter().skip(newest).rev() {
            match self.registrar.calls.load(&outcome.call_id).await {
                Ok(Some(call)) => self.replay.replay_earlier(session, &call),
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                // Expired, or of a version that this one can't read.
                Ok(None) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Does all of these, many at once, and returns what came of them, or the first failure. One that fails does not keep the
/// others from it; as many as are on their way at once mean that the store is away.
async fn all_of<T, F>(work: impl IntoIterator<Item = F>) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut outcomes = stream::iter(work).buffer_unordered(AT_ONCE);
    let (mut done, mut failed, mut first) = (Vec::new(), 0, None);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(one) => done.push(one),
            Err(error) => {
                failed += 1;
                first.get_or_insert(error);
            }
        }
        if failed >= AT_ONCE {
            break;
        }
    }
    let Some(error) = first else { return Ok(done) };
    tracing::warn!(failed, total = failed + done.len(), %error, "not all sessions could be registered again");
    Err(error)
}
