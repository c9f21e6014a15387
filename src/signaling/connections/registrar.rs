//! How many sessions a user may have: beyond it the oldest end, wherever they are.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::bus::Body;
use crate::call::{Call, Device, SessionId, UserId};
use crate::signaling::cluster::{Members, Messenger, Registration};
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::{LocalSessions, Session};
use crate::store::{CallStore, Registered, SessionRecord, SessionStore, StoreError};
use crate::telemetry::metrics::{self, Departure};

const EVICTION_LIFE: Duration = Duration::from_secs(10);
/// How often room is made for one session while others of its user take it.
const ATTEMPTS: u32 = 4;

/// What a user may have.
struct Bounds {
    per_device: usize,
    per_user: usize,
}

/// Registers sessions, within the bounds of a user.
pub struct Registrar {
    pub node: Arc<NodeContext>,
    pub sessions: Arc<dyn SessionStore>,
    pub calls: Arc<dyn CallStore>,
    pub local: Arc<LocalSessions>,
    pub members: Arc<Members>,
    pub registration: Arc<Registration>,
    pub messenger: Arc<Messenger>,
}

impl Registrar {
    pub fn record_of(&self, session: &Session) -> SessionRecord {
        SessionRecord {
            id: session.id.clone(),
            user: session.user.clone(),
            node: self.node.id.clone(),
            epoch: self.registration.epoch_to_write(),
            device: session.device.clone(),
            acks: session.acks,
            connected_at: session.connected_at,
        }
    }

    /// Registers a session. One that left meanwhile does not stay: its removal may have come before this, and is repeated.
    pub async fn register(&self, session: &Arc<Session>) -> Result<Registered, StoreError> {
        let record = self.record_of(session);
        let registered = self.register_within_bounds(session, &record).await;
        if self.local.has(&session.user, &session.id) {
            return registered;
        }
        if registered.is_err() || self.sessions.unregister(&record).await.is_err() {
            self.registration.remove_later(record, self.node.now());
        }
        registered.map(|registered| Registered { written: false, ..registered })
    }

    /// Where the store keeps no more of its user, the surplus is removed there at once, not when it has left; if others
    /// come faster than that, the transport is closed, and the phone comes back.
    async fn register_within_bounds(
        &self,
        session: &Arc<Session>,
        record: &SessionRecord,
    ) -> Result<Registered, StoreError> {
        let mut registered = self.sessions.register(record).await?;
        for _ in 0..ATTEMPTS {
            if registered.written {
                return Ok(registered);
            }
            let line = self.calls.line(&session.user).await?;
            let surplus = self.evict_surplus(&session.id, &registered.sessions, line.as_ref()).await;
            if surplus.is_empty() {
                break;
            }
            try_join_all(surplus.iter().map(|other| self.sessions.unregister(other))).await?;
            registered = self.sessions.register(record).await?;
        }
        if !registered.written {
            metrics::session_evicted();
            session.sender().release(Departure::Evicted);
        }
        Ok(registered)
    }

    /// Ends what is too much of a user who has just registered a session, and returns it.
    pub async fn evict_surplus(
        &self,
        newest: &SessionId,
        of_user: &[SessionRecord],
        line: Option<&Call>,
    ) -> Vec<SessionRecord> {
        let bounds = Bounds {
            per_device: self.node.policy.max_sessions_per_device,
            per_user: self.node.policy.max_sessions_per_user,
        };
        if of_user.len() <= bounds.per_device.min(bounds.per_user) {
            return vec![];
        }
        let alive = of_user.iter().filter(|session| self.members.may_live(session)).cloned().collect();
        let surplus = surplus(alive, newest, line, &bounds);
        for other in &surplus {
            if other.node != self.node.id {
                let body = Body::Evict { user: other.user.clone(), session: other.id.clone() };
                self.messenger.post(other.node.clone(), self.node.now() + EVICTION_LIFE, body).await;
            } else if self.local.has(&other.user, &other.id) {
                self.evict_here(&other.user, &other.id);
            } else {
                // A ghost of this node's own past.
                let _ = self.sessions.unregister(other).await;
            }
        }
        surplus
    }

    /// Ends a session of this node with a disconnect packet, once.
    pub fn evict_here(&self, user: &UserId, session: &SessionId) {
        for session in self.local.of(user).iter().filter(|local| local.id == *session) {
            if session.sender().dismiss(Departure::Evicted) {
                metrics::session_evicted();
            }
        }
    }
}

/// The sessions that are too many, the oldest of each device and then of all: those of the device that is in a live call
/// only where no other is left, and never the newest. Every node that sees the same sessions chooses the same.
fn surplus(
    mut sessions: Vec<SessionRecord>,
    newest: &SessionId,
    line: Option<&Call>,
    bounds: &Bounds,
) -> Vec<SessionRecord> {
    let in_call = |session: &SessionRecord| {
        let party = line.and_then(|call| call.role_of(&session.user).map(|role| call.party(role)));
        party.is_some_and(|party| party.device.matches(&session.device))
    };
    sessions
        .sort_by_cached_key(|session| Reverse((session.id == *newest, session.connected_at, session.id.to_string())));
    let mut of_devices: HashMap<Device, usize> = HashMap::new();
    let (mut kept, mut surplus): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|session| {
        let count = of_devices.entry(session.device.clone()).or_default();
        *count += 1;
        *count <= bounds.per_device
    });
    // The sort is stable: the newest first among those of each kind.
    kept.sort_by_key(|session| session.id != *newest && !in_call(session));
    surplus.extend(kept.into_iter().skip(bounds.per_user));
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{call, session};

    const BOUNDS: Bounds = Bounds { per_device: 3, per_user: 5 };

    fn of(id: u128, device: &str, at: u64) -> SessionRecord {
        let connected_at = crate::call::Timestamp::from_millis(at);
        SessionRecord { device: Device::Named(device.into()), connected_at, ..session(id, "ana", "n1", 1) }
    }

    fn chosen(sessions: &[SessionRecord], newest: &SessionRecord, line: Option<&Call>) -> Vec<u64> {
        let mut at: Vec<u64> = surplus(sessions.to_vec(), &newest.id, line, &BOUNDS)
            .iter()
            .map(|session| session.connected_at.as_millis())
            .collect();
        at.sort_unstable();
        at
    }

    #[test]
    fn the_oldest_go_those_of_a_party_last_the_newest_never() {
        let sessions: Vec<_> = (0..9).map(|n| of(n.into(), &format!("d{n}"), n)).collect();
        let newest = sessions.last().unwrap();
        assert_eq!(chosen(&sessions[..5], &sessions[4], None), [0; 0]);
        assert_eq!(chosen(&sessions, newest, None), [0, 1, 2, 3]);
        let mut line = call("1", "ana", "bo", crate::call::Timestamp::from_millis(0));
        line.caller.device = Device::Named("d0".into());
        assert_eq!(chosen(&sessions, newest, Some(&line)), [1, 2, 3, 4], "the party's stays");
        assert_eq!(chosen(&sessions, &sessions[0], None), [1, 2, 3, 4], "and so does the one that has just come");
    }

    #[test]
    fn a_device_has_a_bound_of_its_own() {
        let mut sessions: Vec<_> = (0..4).map(|n| of(n.into(), "phone", n)).collect();
        sessions.push(of(9, "tablet", 0));
        assert_eq!(chosen(&sessions, &sessions[3], None), [0]);
        sessions.extend((10..12u64).map(|n| of(n.into(), "desk", n)));
        assert_eq!(chosen(&sessions, &sessions[3], None), [0, 0], "one of the phone's, then the oldest of all");
    }
}
