use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::voice::{Speech, Spoken, Voice};
use crate::call::{
    Actor, Call, CallId, Device, End, Role, Say, SayKind, SealedToken, SessionId, Timestamp, TokenHash, UserId, hears,
    held_until,
};
use crate::sabotage::{self, Bug};
use crate::telemetry::metrics::{self, Departure};

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
    /// The token it came with; absent in development.
    pub token: Option<TokenHash>,
    /// The same token, for callbacks in its user's name.
    sealed: Option<SealedToken>,
    pub(super) voice: Box<dyn Voice>,
    ears: Mutex<Ears>,
    /// The newest order of the store when it had registered and read what its user missed; 0 until then. What ended
    /// after that is told to it as to anybody who was there, what ended before by replay, if at all.
    joined: AtomicU64,
    /// Why this side ended it.
    ended: OnceLock<Departure>,
}

/// The last a session was told: what is older, repeated or of an older call is not said; but for the end of the call it
/// was in when it heard of a newer one.
#[derive(Default)]
struct Ears {
    newest: Ear,
    before: Option<Ear>,
    /// The last call of which it was told that its callee is busy, with the answer to its own dial or by replay.
    busy: Option<CallId>,
}

/// What a session was told of one call.
#[derive(Default)]
struct Ear {
    call: Option<CallId>,
    /// The place of that call in the order of all.
    rank: u64,
    version: u64,
    /// It was here while the call was live.
    met_live: bool,
    /// It knows that the call is over.
    is_over: bool,
    /// When it was told to ring.
    rung_at: Timestamp,
    /// One bit for each [`SayKind`].
    said: u8,
}

/// Something that [`Session::hear`] leaves to be said later.
pub(super) struct Held {
    pub say: Say,
    pub at: Timestamp,
}

/// What [`Session::hear`] did.
#[derive(Default)]
pub(super) struct Heard {
    pub said: Vec<SayKind>,
    pub held: Vec<Held>,
    pub deaf: bool,
}

impl Session {
    pub fn new(newcomer: Newcomer, voice: Box<dyn Voice>) -> Self {
        let Newcomer { id, user, device, acks, token, sealed, connected_at } = newcomer;
        Self {
            id,
            user,
            device,
            acks,
            token,
            sealed,
            connected_at,
            voice,
            ears: Mutex::default(),
            joined: AtomicU64::new(0),
            ended: OnceLock::new(),
        }
    }

    /// The sender of this session's commands.
    pub fn actor(&self) -> Actor {
        Actor {
            user: self.user.clone(),
            device: self.device.clone(),
            acks: self.acks,
            session: Some(self.id.clone()),
            token: self.sealed.clone(),
        }
    }

    /// Notes what the store's newest order was when this session had registered; the first counts.
    pub(super) fn joined(&self, order: u64) {
        let _ = self.joined.compare_exchange(0, order.max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the call ended after this session had joined. One that could not join yet was here if it connected
    /// before, by the store's time.
    pub(super) fn was_here_at_the_end(&self, call: &Call) -> bool {
        match (self.joined.load(Ordering::Relaxed), call.end()) {
            (_, None) => true,
            (0, Some(end)) => end.at >= self.connected_at,
            (joined, Some(_)) => call.end_rank().is_some_and(|over| over > joined),
        }
    }

    /// Whether it came this soon after the end and could not be told what its user missed: the store was away.
    pub(super) fn asked_in_vain(&self, end: &End, soon: Duration) -> bool {
        self.joined.load(Ordering::Relaxed) == 0 && self.connected_at.since(end.at) <= soon
    }

    pub fn voice(&self) -> Speech<'_> {
        Speech(self)
    }

    /// Notes what became of an event, an acknowledgement among them; true where it was queued.
    pub fn judge(&self, spoken: Spoken) -> bool {
        if spoken == Spoken::Full {
            if self.ended.set(Departure::Deaf).is_ok() {
                metrics::deaf_session();
                tracing::warn!(session = %self.id, "the phone no longer reads, its queue is full: closing its transport");
            }
            self.voice.abandon();
        }
        spoken == Spoken::Queued
    }

    /// Ends the session with a disconnect packet: the phone will not come back by itself. False where it was ending.
    pub(super) fn dismiss(&self, cause: Departure) -> bool {
        let first = self.ended.set(cause).is_ok();
        self.judge(self.voice.disconnect());
        first
    }

    /// Closes the session's transport: the phone comes back by itself.
    pub fn release(&self, cause: Departure) {
        self.ended.get_or_init(|| cause);
        self.voice.close();
    }

    /// Why it left, where its socket was found to have ended as `found`.
    pub(super) fn departure(&self, found: Departure) -> Departure {
        self.ended.get().copied().unwrap_or(found)
    }

    /// Tells the session what it has not heard yet of the call as it stands; `wanted` narrows a replay.
    pub(super) fn hear(&self, call: &Call, now: Timestamp, wanted: impl Fn(SayKind) -> bool) -> Heard {
        let mut heard = Heard::default();
        let Some(role) = call.role_of(&self.user) else { return heard };
        let mut ears = self.ears.lock();
        let knows_busy = ears.busy.as_ref() == Some(&call.id);
        let Some((ear, is_newest)) = ears.turn_to(call) else { return heard };
        let wanted = |kind| {
            let is_new = is_newest || matches!(kind, SayKind::Cancelled | SayKind::Ended);
            wanted(kind) && is_new && !(kind == SayKind::Busy && knows_busy)
        };
        for say in hears(call, role, &self.device, Some(&self.id)) {
            let kind = say.kind();
            if ear.has_heard(kind) || !wanted(kind) || (kind == SayKind::Incoming && call.ring_until <= now) {
                continue;
            }
            if kind == SayKind::Incoming && sabotage::strikes(Bug::SaidBeforeEmit, 10) {
                ear.said |= 1 << kind as u8;
                continue;
            }
            if ear.has_heard(SayKind::Incoming) && call.end().is_some_and(|end| ear.rung_at.since(end.at) > GHOST_AFTER)
            {
                metrics::ghost_ring();
            }
            if sabotage::strikes(Bug::EmitTwice, 50) {
                self.voice.say(call, &say, now, false);
            }
            match held_until(call, role, self.acks, kind).filter(|at| *at > now) {
                Some(at) => heard.held.push(Held { say, at }),
                None if self.voice().say(call, &say, now, false) => heard.said.push(kind),
                // Not said: a replay or the next look tells it.
                None => {
                    heard.deaf = self.ended.get() == Some(&Departure::Deaf);
                    return heard;
                }
            }
            ear.said |= 1 << kind as u8;
            if kind == SayKind::Incoming {
                ear.rung_at = now;
            }
            if kind == SayKind::Cancelled && sabotage::is_on(Bug::LateIncoming) {
                self.voice.say(call, &Say::Incoming, now, false);
            }
        }
        if heard.said.contains(&SayKind::Busy) {
            ears.busy = Some(call.id.clone());
        }
        heard
    }

    /// Says that the callee of its own dial is busy, if a replay has not said so.
    pub fn say_busy(&self, id: &CallId, spelled: &str) {
        let mut ears = self.ears.lock();
        if ears.busy.as_ref() != Some(id) && self.voice().busy(spelled) {
            ears.busy = Some(id.clone());
        }
    }

    /// From now on nothing older than this is said.
    pub(super) fn turn_to(&self, call: &Call) {
        self.ears.lock().turn_to(call);
    }

    /// Says what was held of the session's newest call, or of the one before it.
    pub(super) fn say_held(&self, call: &Call, say: &Say, now: Timestamp) {
        let ears = self.ears.lock();
        if [Some(&ears.newest), ears.before.as_ref()]
            .into_iter()
            .flatten()
            .any(|ear| ear.call.as_ref() == Some(&call.id))
        {
            self.voice().say(call, say, now, false);
        }
    }

    /// Says `call:accepted` once more, if it was the last this session heard.
    pub(super) fn repeat_accepted(&self, call: &Call, now: Timestamp) {
        let ear = &self.ears.lock().newest;
        if ear.call.as_ref() == Some(&call.id)
            && ear.has_heard(SayKind::Accepted)
            && !ear.has_heard(SayKind::Ended)
            && call.role_of(&self.user) == Some(Role::Caller)
        {
            self.voice().say(call, &Say::Accepted, now, true);
        }
    }

    /// The session's newest call is this one, and it was here before the call ended.
    pub(super) fn knows(&self, call: &CallId) -> bool {
        let ear = &self.ears.lock().newest;
        ear.met_live && ear.call.as_ref() == Some(call)
    }

    pub(super) fn was_told_accepted(&self, call: &CallId) -> bool {
        let ear = &self.ears.lock().newest;
        ear.call.as_ref() == Some(call) && ear.has_heard(SayKind::Accepted)
    }
}

impl Ear {
    fn has_heard(&self, kind: SayKind) -> bool {
        self.said & (1 << kind as u8) != 0
    }

    /// An id may have been another call's, which its owner took it back from.
    fn is_of(&self, call: &Call) -> bool {
        self.call.as_ref() == Some(&call.id) && self.rank == call.rank()
    }

    /// False where more was told already.
    fn advance_to(&mut self, call: &Call) -> bool {
        if call.version.counter < self.version {
            return false;
        }
        self.version = call.version.counter;
        self.met_live |= call.is_live();
        self.is_over |= !call.is_live();
        true
    }
}

impl Ears {
    /// What was told of this call, and whether it is the newest; absent where it, or this version of it, is too old.
    fn turn_to(&mut self, call: &Call) -> Option<(&mut Ear, bool)> {
        if self.before.as_ref().is_some_and(|before| before.is_of(call)) {
            return self.before.as_mut().and_then(|before| before.advance_to(call).then_some((before, false)));
        }
        if !self.newest.is_of(call) {
            if self.newest.call.is_some() && call.rank() < self.newest.rank {
                metrics::older_call_dropped();
                return None;
            }
            let newest = Ear { call: Some(call.id.clone()), rank: call.rank(), ..Ear::default() };
            let old = std::mem::replace(&mut self.newest, newest);
            if old.met_live && !old.is_over {
                self.before = Some(old);
            }
        }
        self.newest.advance_to(call).then_some((&mut self.newest, true))
    }
}

/// The sessions of this node by user.
#[derive(Default)]
pub(super) struct Floor {
    sessions: RwLock<HashMap<UserId, Vec<Arc<Session>>>>,
    count: AtomicUsize,
}

impl Floor {
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
