//! One authenticated live socket on this node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::EventSender;
use super::connection::Connection;
use super::delivery_state::{DeliveryState, Held, Notified};
use super::messages::MessageDeliveryState;
use crate::call::{
    Actor, Call, CallId, Device, End, Notification, NotificationKind, Role, SealedToken, SessionId, Timestamp,
    TokenHash, UserId, held_until, notifications,
};
use crate::fault_injection::{self, Bug};
use crate::telemetry::metrics;

/// A phone that is told to ring so long after the end of the call rang for nobody.
const GHOST_AFTER: Duration = Duration::from_secs(2);

/// Who joins with a socket.
pub struct NewSession {
    pub id: SessionId,
    pub user: UserId,
    pub device: Device,
    pub acks: bool,
    pub token: Option<TokenHash>,
    pub sealed: Option<SealedToken>,
    pub connected_at: Timestamp,
}

/// One authenticated live socket on this node.
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub device: Device,
    /// This client acknowledges `call:incoming`.
    pub acks: bool,
    pub connected_at: Timestamp,
    token: Token,
    connection: Connection,
    delivered: Delivered,
}

/// The token a session came with; absent in development.
struct Token {
    hash: Option<TokenHash>,
    /// For callbacks in its user's name.
    sealed: Option<SealedToken>,
}

struct Delivered {
    calls: Mutex<DeliveryState>,
    messages: MessageDeliveryState,
    /// The newest order of the store when it had registered and read what its user missed; 0 until then. What ended
    /// after that is told to it as to anybody who was there, what ended before by replay, if at all.
    joined: AtomicU64,
}

impl Session {
    pub fn new(new_session: NewSession, sender: Box<dyn EventSender>) -> Self {
        let NewSession { id, user, device, acks, token, sealed, connected_at } = new_session;
        let connection = Connection::new(id.clone(), sender);
        Self {
            id,
            user,
            device,
            acks,
            connected_at,
            token: Token { hash: token, sealed },
            connection,
            delivered: Delivered {
                calls: Mutex::default(),
                messages: MessageDeliveryState::default(),
                joined: AtomicU64::new(0),
            },
        }
    }

    /// The sender of this session's commands.
    pub fn actor(&self) -> Actor {
        Actor {
            user: self.user.clone(),
            device: self.device.clone(),
            acks: self.acks,
            session: Some(self.id.clone()),
            token: self.token.sealed.clone(),
        }
    }

    /// The token it came with; absent in development.
    pub fn token(&self) -> Option<TokenHash> {
        self.token.hash
    }

    /// Notes what the store's newest order was when this session had registered; the first counts.
    pub fn joined(&self, order: u64) {
        let _ = self.delivered.joined.compare_exchange(0, order.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the store answered since it connected: else `session:ready` said nothing of its user's calls.
    pub fn has_joined(&self) -> bool {
        self.delivered.joined.load(Ordering::Relaxed) > 0
    }

    /// Whether the call ended after this session had joined. One that could not join yet was here if it connected
    /// before, by the store's time.
    pub fn was_here_at_the_end(&self, call: &Call) -> bool {
        match (self.delivered.joined.load(Ordering::Relaxed), call.end()) {
            (_, None) => true,
            (0, Some(end)) => end.at >= self.connected_at,
            (joined, Some(_)) => call.end_rank().is_some_and(|over| over > joined),
        }
    }

    /// Whether it came this soon after the end and could not be told what its user missed: the store was away.
    pub fn asked_in_vain(&self, end: &End, soon: Duration) -> bool {
        !self.has_joined() && self.connected_at.since(end.at) <= soon
    }

    /// Sends to its phone.
    pub fn sender(&self) -> &Connection {
        &self.connection
    }

    /// What the other side of its call sent.
    pub fn messages(&self) -> &MessageDeliveryState {
        &self.delivered.messages
    }

    /// Tells the session what it was not sent yet about the call as it stands; `wanted` narrows a replay.
    pub fn notify(&self, call: &Call, now: Timestamp, wanted: impl Fn(NotificationKind) -> bool) -> Notified {
        let mut notified = Notified::default();
        let Some(role) = call.role_of(&self.user) else { return notified };
        let mut state = self.delivered.calls.lock();
        let ahead = state.told_ahead(call);
        let Some((call_state, is_newest)) = state.turn_to(call) else { return notified };
        let wanted = |kind| {
            let is_new = is_newest || matches!(kind, NotificationKind::Cancelled | NotificationKind::Ended);
            wanted(kind) && is_new && !ahead.contains(&kind)
        };
        let grace = Duration::from_millis(call.timeouts.call_grace);
        let is_loud = call.request().is_some() && fault_injection::is_on(Bug::LoudRequest);
        let device = if is_loud { &call.party(role).device } else { &self.device };
        for notification in notifications(call, role, device, Some(&self.id)) {
            let kind = notification.kind();
            let late = kind == NotificationKind::Incoming && call.ring_until <= now
                || notification.is_stale(grace, now, self.connected_at);
            if call_state.knows(&notification) || !wanted(kind) || late {
                continue;
            }
            let is_lost = kind == NotificationKind::Incoming && fault_injection::strikes(Bug::SaidBeforeEmit, 10)
                || kind == NotificationKind::UpgradeResponse && fault_injection::strikes(Bug::LoseAnswer, 3);
            if is_lost {
                call_state.note(kind, notification.number());
                continue;
            }
            if call_state.was_sent(NotificationKind::Incoming)
                && call.end().is_some_and(|end| call_state.rung_at.since(end.at) > GHOST_AFTER)
            {
                metrics::ghost_ring();
            }
            if fault_injection::strikes(Bug::EmitTwice, 50) {
                self.connection.inject(call, &notification, now);
            }
            let number = notification.number();
            match held_until(call, role, self.acks, kind).filter(|at| *at > now) {
                Some(at) => notified.held.push(Held { notification, at }),
                None if self.sender().notify(call, &notification, now, false) => notified.sent.push(kind),
                // Not sent: a replay or the next look tells it.
                None => {
                    notified.deaf = self.connection.is_deaf();
                    return notified;
                }
            }
            call_state.note(kind, number);
            if kind == NotificationKind::Incoming {
                call_state.rung_at = now;
            }
            if kind == NotificationKind::Cancelled && fault_injection::is_on(Bug::LateIncoming) {
                self.connection.inject(call, &Notification::Incoming, now);
            }
        }
        if notified.sent.contains(&NotificationKind::Busy) {
            state.note_ahead(&call.id, NotificationKind::Busy);
        }
        notified
    }

    /// Notifies it that the callee of its own dial is busy, if a replay has not.
    pub fn notify_busy(&self, id: &CallId, wire_id: &str) {
        self.notify_ahead(id, NotificationKind::Busy, || self.sender().busy(wire_id));
    }

    /// Sends what is said of a call without its record, unless the session knows it: the record may say the same later.
    pub fn notify_ahead(&self, id: &CallId, kind: NotificationKind, send: impl FnOnce() -> bool) {
        let mut state = self.delivered.calls.lock();
        if !state.knows(id, kind) && send() {
            state.note_ahead(id, kind);
        }
    }

    /// What `session:ready` is about to say is over, by the newest order of the store, is not live to this session any more.
    pub fn greeted(&self, over: Vec<CallId>, order: u64) {
        self.delivered.calls.lock().greeted(over, order);
    }

    /// From now on nothing older than this is sent.
    pub fn turn_to(&self, call: &Call) {
        self.delivered.calls.lock().turn_to(call);
    }

    /// Sends what was held of a call that the session has to do with still.
    pub fn notify_held(&self, call: &Call, notification: &Notification, now: Timestamp) {
        let state = self.delivered.calls.lock();
        if state.is_of(&call.id) {
            self.sender().notify(call, notification, now, false);
        }
    }

    /// Says `call:accepted` once more, if it was the last this session heard.
    pub fn repeat_accepted(&self, call: &Call, now: Timestamp) {
        let call_state = &self.delivered.calls.lock().newest;
        if call_state.call.as_ref() == Some(&call.id)
            && call_state.was_sent(NotificationKind::Accepted)
            && !call_state.was_sent(NotificationKind::Ended)
            && call.role_of(&self.user) == Some(Role::Caller)
        {
            self.sender().notify(call, &Notification::Accepted, now, true);
        }
    }

    /// The session's newest call is this one, and it was here before the call ended.
    pub fn knows(&self, call: &CallId) -> bool {
        let call_state = &self.delivered.calls.lock().newest;
        call_state.met_live && call_state.call.as_ref() == Some(call)
    }

    /// Whether it was told of the call, or turned to it, while it was live; a newer one may have come since.
    pub fn met_live(&self, call: &CallId) -> bool {
        self.delivered.calls.lock().met_live(call)
    }

    pub fn was_told_accepted(&self, call: &CallId) -> bool {
        let call_state = &self.delivered.calls.lock().newest;
        call_state.call.as_ref() == Some(call) && call_state.was_sent(NotificationKind::Accepted)
    }
}
