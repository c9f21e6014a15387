//! Phones come and go: registration, eviction, absence, replay.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::delivery::{Audience, NOTICE_TTL};
use super::{Failure, Node, Ready, ReadyCall, Session};
use crate::bus::Body;
use crate::call::{Call, Command, Role, SayKind, State, Timestamp, TokenHash, UserId};
use crate::store::{Desk, SessionRecord, StoreError};
use crate::telemetry::metrics::{self, Departure};

/// How old an outcome may be to be listed for who connects.
const OUTCOMES_FOR: std::time::Duration = std::time::Duration::from_secs(600);
const REVOCATION_LIFE: std::time::Duration = std::time::Duration::from_secs(10);
/// Sessions that a node registers again, or takes leave of, at the same time.
const AT_ONCE: usize = 64;

impl Node {
    /// Makes a socket that was authenticated part of the cluster: registers it first, then tells what it missed.
    /// While the store fails the session lives on this node alone and is registered when the store is back.
    pub(super) async fn connect(self: &Arc<Self>, session: &Arc<Session>) {
        self.local.add(Arc::clone(session));
        metrics::sessions(self.local.len());
        let desk = match self.join(session).await {
            Ok(desk) => desk,
            Err(error) => {
                tracing::debug!(session = %session.id, %error, "registering a session failed, to be repeated");
                self.registration.has_trouble();
                self.registration.register_again();
                Desk::default()
            }
        };
        if desk.order > 0 {
            session.joined(desk.order);
        }
        let now = self.node.now();
        let recent = desk.outcomes.iter().filter(|outcome| now.since(outcome.ended_at) <= OUTCOMES_FOR);
        session.voice().ready(&Ready {
            session_id: session.id.to_string(),
            server_time: now,
            call: desk.line.as_ref().and_then(|call| ReadyCall::of(call, &session.user, now)),
            ended: recent.cloned().collect(),
        });
        self.replay(session, &desk).await;
        if let Some(call) = desk.line {
            self.come_back(session, &call).await;
        }
    }

    async fn join(self: &Arc<Self>, session: &Arc<Session>) -> Result<Desk, StoreError> {
        let registered = self.register(session).await?;
        if !registered.written {
            return Ok(Desk::default());
        }
        let alive = registered.sessions.iter().filter(|other| self.members.may_live(other)).count();
        if alive == 1 {
            self.post_presence(&session.user, true);
        }
        if alive == 1 && !registered.watchers.is_empty() {
            self.came_online(&session.user, registered.watchers).await;
        }
        let desk = self.store.desk(&session.user).await?;
        self.evict_surplus(&session.id, &registered.sessions, desk.line.as_ref()).await;
        Ok(desk)
    }

    pub(super) fn record_of(&self, session: &Session) -> SessionRecord {
        SessionRecord {
            id: session.id.clone(),
            user: session.user.clone(),
            node: self.node.id.clone(),
            epoch: self.registration.epoch(),
            device: session.device.clone(),
            acks: session.acks,
            connected_at: session.connected_at,
        }
    }

    /// Ends every session that came with a token which is no longer accepted, wherever it is.
    pub(super) async fn revoke(self: &Arc<Self>, user: &UserId, token: TokenHash) {
        self.end_sessions_with(user, &token);
        let Ok(sessions) = self.directory.sessions_of(user).await else { return };
        let nodes: HashSet<_> = sessions.into_iter().map(|session| session.node).collect();
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::Revoked { user: user.clone(), token };
            self.messenger.post(node, self.node.now() + REVOCATION_LIFE, body).await;
        }
    }

    pub(super) fn end_sessions_with(&self, user: &UserId, token: &TokenHash) {
        for session in self.local.of(user).iter().filter(|session| session.token().as_ref() == Some(token)) {
            metrics::session_revoked();
            session.dismiss(Departure::Revoked);
        }
    }

    /// The tokens of the sessions on this node.
    pub(super) fn live_tokens(&self) -> Vec<TokenHash> {
        let tokens: HashSet<TokenHash> = self.local.all().iter().filter_map(|session| session.token()).collect();
        tokens.into_iter().collect()
    }

    /// Tells a session that connects what its user missed and still can use (docs/semantics.md 5).
    async fn replay(self: &Arc<Self>, session: &Arc<Session>, desk: &Desk) {
        let now = self.node.now();
        if let Some(call) = &desk.line {
            if self.may_be_revived(call) {
                return;
            }
            self.cache.see(call, now);
            // A device that was away when another answered may still show the ring.
            let answered_lately = call.accepted_at().is_some_and(|at| now.since(at) <= self.node.policy.call_grace);
            self.tell_session(session, call, |kind| match kind {
                SayKind::Incoming | SayKind::Accepted => true,
                SayKind::UpgradeRequest | SayKind::UpgradeResponse | SayKind::Downgraded => true,
                SayKind::Cancelled => answered_lately,
                SayKind::Ringing | SayKind::Rejected | SayKind::Ended | SayKind::Timeout | SayKind::Busy => false,
            });
            return;
        }
        let Some(last) = &desk.last else { return };
        let Some(end) = last.end() else { return };
        let age = now.since(end.at);
        let mut unheard = false;
        if age <= NOTICE_TTL && last.caller.user == session.user {
            unheard = self.has_notice(&session.user, &last.id).await;
        }
        let is_notice = unheard;
        // It was here and not registered, or somebody would have told it; but for what was the answer to its initiate.
        unheard |= session.was_here_at_the_end(last) && !last.version.is_first();
        unheard |= last.caller.user == session.user && session.asked_in_vain(end, NOTICE_TTL);
        let recent = age <= self.node.policy.call_grace;
        // Without `acks` lost sockets are not dead phones: what nobody said is not told to one that comes back.
        let unproven = last.is_presumed_over() && !session.acks;
        self.tell_session(session, last, |kind| match kind {
            SayKind::Cancelled => recent,
            SayKind::Ended => recent && !unproven,
            SayKind::Rejected | SayKind::Timeout | SayKind::Busy => unheard,
            SayKind::Incoming | SayKind::Ringing | SayKind::Accepted => false,
            SayKind::UpgradeRequest | SayKind::UpgradeResponse | SayKind::Downgraded => false,
        });
        if is_notice {
            self.told_notice(&session.user).await;
        }
    }

    /// Ends the absence of the party whose device is back, and tells the ring that may have died with the caller's node.
    async fn come_back(self: &Arc<Self>, session: &Session, call: &Call) {
        let Some(role) = call.role_of(&session.user) else { return };
        if role == Role::Caller && call.state == State::Trying {
            self.tell(call, Audience::CALLEE).await;
        }
        let party = call.party(role);
        if party.absent_since.is_some() && party.device.matches(&session.device) {
            // Refused where somebody else saw him first or the call ended meanwhile.
            let _ = self.transition(&call.id, &Command::Return { role }).await;
        }
    }

    /// A socket is gone: removes this session and no other, and starts the grace of a party that has none left.
    pub(super) async fn disconnect(self: &Arc<Self>, session: &Arc<Session>, found: Departure) {
        if !self.local.remove(session) {
            return;
        }
        metrics::departed(session.departure(found));
        metrics::sessions(self.local.len());
        let record = self.record_of(session);
        match self.sessions.unregister(&record).await {
            Ok(true) => self.went_away(&session.user).await,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(session = %session.id, %error, "removing a session failed, to be repeated");
                self.registration.remove_later(record.clone());
            }
        }
        self.unwatch_all_of(session).await;
        if self.absent(&record, self.node.now()).await.is_err() {
            self.registration.remove_later(record);
        }
    }

    /// Stores the grace of a party whose device has no session left since `at`, then looks again: a session that
    /// came in between would otherwise be overlooked by both. An error: the store failed, it is to be done again.
    pub(super) async fn absent(self: &Arc<Self>, gone: &SessionRecord, at: Timestamp) -> Result<(), StoreError> {
        self.post_presence(&gone.user, false);
        self.all_put_back().await?;
        let call = match self.store.line(&gone.user).await {
            Ok(Some(call)) => call,
            // A call of another version is not ours to judge: its maximum ends it.
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(role) = call.role_of(&gone.user) else { return Ok(()) };
        if !call.party(role).device.matches(&gone.device) || self.directory.is_present(&call, role).await {
            return Ok(());
        }
        match self.transition(&call.id, &Command::Leave { role, at }).await {
            Ok(_) if self.directory.is_present(&call, role).await => {
                // Refused where somebody else saw him first or the call ended meanwhile.
                let _ = self.transition(&call.id, &Command::Return { role }).await;
                Ok(())
            }
            Err(Failure::Unavailable) => Err(StoreError::Unavailable("an absence could not be written".into())),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Takes leave of every session and of the lease: a stopping node leaves nothing for others to sweep.
    pub(super) async fn leave(self: &Arc<Self>) {
        let sessions = self.local.all();
        stream::iter(sessions)
            .for_each_concurrent(AT_ONCE, |session| async move { self.disconnect(&session, Departure::Stopped).await })
            .await;
        self.timeline.flush().await;
        // Of a lease that expired others sweep what is left; without a lease nobody knows that it is.
        if self.registration.leaves_something() {
            tracing::warn!("some sessions could not be removed, the lease is left to expire");
        } else if let Err(error) = self.sessions.retire(&self.node.id).await {
            tracing::debug!(%error, "ending the lease failed, it expires by itself");
        }
    }

    /// Registers all sessions of this node, under the epoch of now. One that fails does not keep the others from it; as
    /// many as are on their way at once mean that the store is away. The first failure is returned in the end.
    pub(super) async fn register_all(self: &Arc<Self>) -> Result<(), StoreError> {
        let sessions = self.local.all();
        if !sessions.is_empty() {
            tracing::info!(sessions = sessions.len(), "registering all sessions again");
        }
        let total = sessions.len();
        let mut registered = stream::iter(sessions)
            .map(|session| async move { (session.id.clone(), self.register_again(&session).await) })
            .buffer_unordered(AT_ONCE);
        let (mut failed, mut first) = (0, None);
        while let Some((session, outcome)) = registered.next().await {
            let Err(error) = outcome else { continue };
            failed += 1;
            if first.is_none() {
                tracing::debug!(%session, %error, "registering a session again failed, to be repeated");
                first = Some(error);
            }
            if failed >= AT_ONCE {
                break;
            }
        }
        drop(registered);
        if let Some(error) = first {
            tracing::warn!(failed, total, "not all sessions could be registered again");
            return Err(error);
        }
        self.watch_all_again().await
    }

    /// Registers a session that is known here and tells it what it may have missed meanwhile.
    async fn register_again(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), StoreError> {
        let record = self.record_of(session);
        let registered = self.register(session).await?;
        // A session that left while it was registered must not stay.
        if !self.local.has(&session.user, &session.id) {
            self.sessions.unregister(&record).await?;
            return Ok(());
        }
        let desk = self.store.desk(&session.user).await?;
        self.evict_surplus(&session.id, &registered.sessions, desk.line.as_ref()).await;
        self.replay(session, &desk).await;
        if desk.order > 0 {
            session.joined(desk.order);
        }
        Ok(())
    }
}
