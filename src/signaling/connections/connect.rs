//! Phones come and go.

use std::sync::Arc;
use std::time::Duration;

use super::{Absences, Registrar, Replay};
use crate::call::Actor;
use crate::signaling::cluster::{LATE_WRITES, Registration};
use crate::signaling::node::NodeContext;
use crate::signaling::presence::Presence;
use crate::signaling::sessions::{LocalSessions, Ready, ReadyCall, Session};
use crate::store::{CallStore, ReconnectSnapshot, SessionRecord, StoreError};
use crate::telemetry::metrics::{self, Departure};

/// How old an outcome may be to be listed for who connects.
const OUTCOMES_FOR: Duration = Duration::from_secs(600);

/// Takes sockets in and lets them go.
pub struct Connections {
    pub node: Arc<NodeContext>,
    pub calls: Arc<dyn CallStore>,
    pub local: Arc<LocalSessions>,
    pub registration: Arc<Registration>,
    pub registrar: Arc<Registrar>,
    pub replay: Arc<Replay>,
    pub presence: Arc<Presence>,
    pub absences: Arc<Absences>,
}

impl Connections {
    /// Makes a socket that was authenticated part of the cluster: registers it first, then tells what it missed.
    /// While the store fails the session lives on this node alone and is registered when the store is back.
    pub async fn connect(&self, session: &Arc<Session>) {
        self.local.add(Arc::clone(session));
        metrics::sessions(self.local.len());
        let snapshot = match self.join(session).await {
            Ok(snapshot) => {
                if let Some(snapshot) = &snapshot {
                    session.joined(snapshot.order);
                }
                snapshot.unwrap_or_default()
            }
            Err(error) => {
                tracing::debug!(session = %session.id, %error, "registering a session failed, to be repeated");
                self.registration.has_trouble();
                self.registration.register_again();
                // What bounds a user in the store is unknown: his sessions here are bounded all the same.
                let here = self.local.of(&session.user);
                let here: Vec<_> = here.iter().map(|other| self.registrar.record_of(other)).collect();
                self.registrar.evict_surplus(&session.id, &here, None).await;
                ReconnectSnapshot::default()
            }
        };
        let now = self.node.now();
        let recent = snapshot.outcomes.iter().filter(|outcome| now.since(outcome.ended_at) <= OUTCOMES_FOR);
        // An id may be another call's since, which is live.
        let live = snapshot.line.as_ref().map(|call| &call.id);
        let over = recent.clone().map(|outcome| &outcome.call_id).filter(|id| Some(*id) != live);
        session.greeted(over.cloned().collect(), snapshot.order);
        session.sender().ready(&Ready {
            session_id: session.id.to_string(),
            server_time: now,
            call: snapshot.line.as_ref().and_then(|call| ReadyCall::of(call, &session.user, now)),
            ended: recent.cloned().collect(),
        });
        session.messages().greeted();
        self.replay.replay(session, &snapshot).await;
        self.replay.delivery.greeted(session);
        if let Some(call) = snapshot.line
            && let Err(error) = self.absences.come_back(session, &call).await
        {
            tracing::debug!(session = %session.id, %error, "ending an absence failed, to be repeated");
            self.registration.has_trouble();
            self.registration.register_again();
        }
    }

    /// What its user missed; absent where it may not stay.
    async fn join(&self, session: &Arc<Session>) -> Result<Option<ReconnectSnapshot>, StoreError> {
        let registered = self.registrar.register(session).await?;
        if !registered.written {
            return Ok(None);
        }
        self.presence.came(&session.user, &registered).await;
        // After a loss the store may know less of its call than other nodes are about to put back.
        self.replay.identity.all_restored().await?;
        let snapshot = self.calls.reconnect_snapshot(&session.user).await?;
        self.registrar.evict_surplus(&session.id, &registered.sessions, snapshot.line.as_ref()).await;
        Ok(Some(snapshot))
    }

    /// A socket is gone: removes this session and no other, and starts the grace of a party that has none left.
    pub async fn disconnect(&self, session: &Arc<Session>, found: Departure) {
        let _leaving = self.registration.leaving(&session.user);
        if !self.local.remove(session) {
            return;
        }
        metrics::departed(session.sender().departure(found));
        metrics::sessions(self.local.len());
        let (record, left_at) = (self.registrar.record_of(session), self.node.now());
        let left = self.absences.leave(&record, left_at).await;
        if let Err(error) = &left {
            tracing::debug!(session = %session.id, %error, "removing a session failed, to be repeated");
        }
        // A registration that failed may run after its removal: it is removed once more.
        if !matches!(left, Ok(true)) || self.registration.had_trouble_within(LATE_WRITES) {
            self.registration.remove_later(record, left_at);
        }
        self.presence.unsubscribe_all_of(session).await;
    }

    /// What was said by a session is written. If it has left, that was judged before its user was in this call: begins the
    /// absence of who dialled or accepted.
    pub async fn said(&self, by: &Actor) {
        let Some(id) = by.session.as_ref().filter(|id| !self.local.has(&by.user, id)) else { return };
        let now = self.node.now();
        let gone = SessionRecord {
            id: id.clone(),
            user: by.user.clone(),
            node: self.node.id.clone(),
            epoch: self.registration.epoch(),
            device: by.device.clone(),
            acks: by.acks,
            connected_at: now,
        };
        if self.absences.begin_in_call(&gone, None).await.is_err() {
            self.registration.remove_later(gone, now);
        }
    }
}
