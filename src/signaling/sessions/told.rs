//! What a session was told of its calls.

use std::collections::BTreeMap;

use crate::call::{Call, CallId, Say, SayKind, Timestamp};
use crate::telemetry::metrics;

/// The last a session was told: what is older, repeated or of an older call is not said; but for the end of the call it
/// was in when it heard of a newer one.
#[derive(Default)]
pub struct DeliveryState {
    pub newest: CallTold,
    pub before: Option<CallTold>,
    /// The last call of which it was told that its callee is busy, with the answer to its own dial or by replay.
    pub busy: Option<CallId>,
}

/// What a session was told of one call.
#[derive(Default)]
pub struct CallTold {
    pub call: Option<CallId>,
    /// The place of that call in the order of all.
    rank: u64,
    version: u64,
    /// It was here while the call was live.
    pub met_live: bool,
    /// It knows that the call is over.
    is_over: bool,
    /// When it was told to ring.
    pub rung_at: Timestamp,
    /// One bit for each [`SayKind`].
    said: u16,
    /// The last numbers of what a call may have several of: request, response, change.
    numbers: BTreeMap<SayKind, u64>,
}

impl CallTold {
    pub fn has_heard(&self, kind: SayKind) -> bool {
        self.said & (1 << kind as u16) != 0
    }

    /// Whether this was said already, or of several of its kind a later one.
    pub fn knows(&self, say: &Say) -> bool {
        match say.number() {
            Some(number) => self.numbers.get(&say.kind()).is_some_and(|last| *last >= number),
            None => self.has_heard(say.kind()),
        }
    }

    /// It is said, or will be.
    pub fn note(&mut self, kind: SayKind, number: Option<u64>) {
        self.said |= 1 << kind as u16;
        if let Some(number) = number {
            self.numbers.insert(kind, number);
        }
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

impl DeliveryState {
    /// What was told of this call, and whether it is the newest; absent where it, or this version of it, is too old.
    pub fn turn_to(&mut self, call: &Call) -> Option<(&mut CallTold, bool)> {
        if self.before.as_ref().is_some_and(|before| before.is_of(call)) {
            return self.before.as_mut().and_then(|before| before.advance_to(call).then_some((before, false)));
        }
        if !self.newest.is_of(call) {
            if self.newest.call.is_some() && call.rank() < self.newest.rank {
                metrics::older_call_dropped();
                return None;
            }
            let newest = CallTold { call: Some(call.id.clone()), rank: call.rank(), ..CallTold::default() };
            let old = std::mem::replace(&mut self.newest, newest);
            if old.met_live && !old.is_over {
                self.before = Some(old);
            }
        }
        self.newest.advance_to(call).then_some((&mut self.newest, true))
    }
}
