//! The embedded store: one node, nothing survives it. The reference for what the Redis scripts do.

mod calls;
mod counters;
mod messages;
mod outbox;
mod owed;
mod rings;
mod said;
mod sessions;
mod telling;
mod vacate;
mod vouch;

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{CallOutcome, KnownToken, OutboxBounds, Retention};
use crate::call::{Call, Timestamp, TokenHash};
use crate::clock::Clock;
use calls::Calls;
use counters::Minutes;
use outbox::MemoryOutbox;
use said::Said;
use sessions::Sessions;

pub struct MemoryStore {
    clock: Clock,
    retention: Retention,
    calls: Mutex<Calls>,
    sessions: Mutex<Sessions>,
    tokens: Mutex<HashMap<TokenHash, (KnownToken, Timestamp)>>,
    /// Locked after `calls`, where both are.
    outbox: Mutex<MemoryOutbox>,
    /// What was counted, by minute.
    minutes: Mutex<Minutes>,
    /// Locked after `calls`, where both are.
    said: Mutex<Said>,
}

impl MemoryStore {
    pub fn new(clock: Clock, retention: Retention) -> Self {
        Self::bounded(clock, retention, OutboxBounds::default())
    }

    /// With other bounds for the outbox.
    pub fn bounded(clock: Clock, retention: Retention, bounds: OutboxBounds) -> Self {
        let outbox = Mutex::new(MemoryOutbox::bounded(bounds));
        let (calls, sessions, tokens) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { clock, retention, calls, sessions, tokens, outbox, minutes: Mutex::default(), said: Mutex::default() }
    }
}

/// The entry of `session:ready` for a call that ended. None where only time ended a call that perhaps ended before: whoever
/// was in it was told another end.
pub(in crate::store) fn outcome_of(call: &Call) -> Option<CallOutcome> {
    let end = call.end().filter(|end| !call.unvouched || end.reason.is_said())?;
    Some(CallOutcome {
        call_id: call.id.clone(),
        wire_id: call.wire_id.clone(),
        reason: end.reason.name().to_owned(),
        ended_at: end.at,
    })
}
