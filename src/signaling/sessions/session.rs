//! One authenticated live socket on this node.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Voice;
use super::connection::Connection;
use super::messages::MessagesTold;
use super::told::DeliveryState;
use crate::call::{
    Actor, Call, CallId, Device, End, Role, Say, SayKind, SealedToken, SessionId, Timestamp, TokenHash, UserId, hears,
    held_until,
};
use crate::sabotage::{self, Bug};
use crate::telemetry::metrics;

/// A phone that is told to ring so long after the end of the call rang for nobody.
const GHOST_AFTER: Duration = Duration::from_secs(2);

/// Who joins with a socket.
pub struct Newcomer {
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
    told: Told,
}

/// The token a session came with; absent in development.
struct Token {
    hash: Option<TokenHash>,
    /// For callbacks in its user's name.
    sealed: Option<SealedToken>,
}

struct Told {
    calls: Mutex<DeliveryState>,
    messages: MessagesTold,
    /// The newest order of the store when it had registered and read what its user missed; 0 until then. What ended
    /// after that is told to it as to anybody who was there, what ended before by replay, if at all.
    joined: AtomicU64,
}

/// Something that [`Session::hear`] leaves to be said later.
pub struct Held {
    pub say: Say,
    pub at: Timestamp,
}

/// What [`Session::hear`] did.
#[derive(Default)]
pub struct Heard {
    pub said: Vec<SayKind>,
    pub held: Vec<Held>,
    pub deaf: bool,
}

impl Session {
    pub fn new(newcomer: Newcomer, voice: Box<dyn Voice>) -> Self {
        let Newcomer { id, user, device, acks, token, sealed, connected_at } = newcomer;
        let connection = Connection::new(id.clone(), voice);
        Self {
            id,
            user,
            device,
            acks,
            connected_at,
            token: Token { hash: token, sealed },
            connection,
            told: Told { calls: Mutex::default(), messages: MessagesTold::default(), joined: AtomicU64::new(0) },
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
        let _ = self.told.joined.compare_exchange(0, order.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the call ended after this session had joined. One that could not join yet was here if it connected
    /// before, by the store's time.
    pub fn was_here_at_the_end(&self, call: &Call) -> bool {
        match (self.told.joined.load(Ordering::Relaxed), call.end()) {
            (_, None) => true,
            (0, Some(end)) => end.at >= self.connected_at,
            (joined, Some(_)) => call.end_rank().is_some_and(|over| over > joined),
        }
    }

    /// Whether it came this soon after the end and could not be told what its user missed: the store was away.
    pub fn asked_in_vain(&self, end: &End, soon: Duration) -> bool {
        self.told.joined.load(Ordering::Relaxed) == 0 && self.connected_at.since(end.at) <= soon
    }

    /// Speaks to its phone.
    pub fn voice(&self) -> &Connection {
        &self.connection
    }

    /// What the other side of its call said.
    pub fn messages(&self) -> &MessagesTold {
        &self.told.messages
    }

    /// Tells the session what it has not heard yet of the call as it stands; `wanted` narrows a replay.
    pub fn hear(&self, call: &Call, now: Timestamp, wanted: impl Fn(SayKind) -> bool) -> Heard {
        let mut heard = Heard::default();
        let Some(role) = call.role_of(&self.user) else { return heard };
        let mut told = self.told.calls.lock();
        let knows_busy = told.busy.as_ref() == Some(&call.id);
        let Some((ear, is_newest)) = told.turn_to(call) else { return heard };
        let wanted = |kind| {
            let is_new = is_newest || matches!(kind, SayKind::Cancelled | SayKind::Ended);
            wanted(kind) && is_new && !(kind == SayKind::Busy && knows_busy)
        };
        let grace = Duration::from_millis(call.terms.call_grace);
        let is_loud = call.request().is_some() && sabotage::is_on(Bug::LoudRequest);
        let device = if is_loud { &call.party(role).device } else { &self.device };
        for say in hears(call, role, device, Some(&self.id)) {
            let kind = say.kind();
            let late = kind == SayKind::Incoming && call.ring_until <= now || say.is_stale(grace, now);
            if ear.knows(&say) || !wanted(kind) || late {
                continue;
            }
            let is_lost = kind == SayKind::Incoming && sabotage::strikes(Bug::SaidBeforeEmit, 10)
                || kind == SayKind::UpgradeResponse && sabotage::strikes(Bug::LoseAnswer, 3);
            if is_lost {
                ear.note(kind, say.number());
                continue;
            }
            if ear.has_heard(SayKind::Incoming) && call.end().is_some_and(|end| ear.rung_at.since(end.at) > GHOST_AFTER)
            {
                metrics::ghost_ring();
            }
            if sabotage::strikes(Bug::EmitTwice, 50) {
                self.connection.blurt(call, &say, now);
            }
            let number = say.number();
            match held_until(call, role, self.acks, kind).filter(|at| *at > now) {
                Some(at) => heard.held.push(Held { say, at }),
                None if self.voice().say(call, &say, now, false) => heard.said.push(kind),
                // Not said: a replay or the next look tells it.
                None => {
                    heard.deaf = self.connection.is_deaf();
                    return heard;
                }
            }
            ear.note(kind, number);
            if kind == SayKind::Incoming {
                ear.rung_at = now;
            }
            if kind == SayKind::Cancelled && sabotage::is_on(Bug::LateIncoming) {
                self.connection.blurt(call, &Say::Incoming, now);
            }
        }
        if heard.said.contains(&SayKind::Busy) {
            told.busy = Some(call.id.clone());
        }
        heard
    }

    /// Says that the callee of its own dial is busy, if a replay has not said so.
    pub fn say_busy(&self, id: &CallId, spelled: &str) {
        let mut told = self.told.calls.lock();
        if told.busy.as_ref() != Some(id) && self.voice().busy(spelled) {
            told.busy = Some(id.clone());
        }
    }

    /// From now on nothing older than this is said.
    pub fn turn_to(&self, call: &Call) {
        self.told.calls.lock().turn_to(call);
    }

    /// Says what was held of a call that the session has to do with still.
    pub fn say_held(&self, call: &Call, say: &Say, now: Timestamp) {
        let told = self.told.calls.lock();
        if told.is_of(&call.id) {
            self.voice().say(call, say, now, false);
        }
    }

    /// Says `call:accepted` once more, if it was the last this session heard.
    pub fn repeat_accepted(&self, call: &Call, now: Timestamp) {
        let ear = &self.told.calls.lock().newest;
        if ear.call.as_ref() == Some(&call.id)
            && ear.has_heard(SayKind::Accepted)
            && !ear.has_heard(SayKind::Ended)
            && call.role_of(&self.user) == Some(Role::Caller)
        {
            self.voice().say(call, &Say::Accepted, now, true);
        }
    }

    /// The session's newest call is this one, and it was here before the call ended.
    pub fn knows(&self, call: &CallId) -> bool {
        let ear = &self.told.calls.lock().newest;
        ear.met_live && ear.call.as_ref() == Some(call)
    }

    pub fn was_told_accepted(&self, call: &CallId) -> bool {
        let ear = &self.told.calls.lock().newest;
        ear.call.as_ref() == Some(call) && ear.has_heard(SayKind::Accepted)
    }
}
