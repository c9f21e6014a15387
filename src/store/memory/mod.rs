//! The embedded store: one node, nothing survives it. The reference for what the Redis scripts do.

mod calls;
mod outbox;
mod owed;
mod sessions;
mod vacate;
mod vouch;

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{KnownToken, OutboxBounds, Retention};
use crate::call::{Timestamp, TokenHash};
use crate::clock::Clock;
use calls::Calls;
pub(super) use calls::outcome_of;
use outbox::Letters;
use sessions::Sessions;

pub struct MemoryStore {
    clock: Clock,
    retention: Retention,
    calls: Mutex<Calls>,
    sessions: Mutex<Sessions>,
    tokens: Mutex<HashMap<TokenHash, (KnownToken, Timestamp)>>,
    /// Locked after `calls`, where both are.
    letters: Mutex<Letters>,
}

impl MemoryStore {
    pub fn new(clock: Clock, retention: Retention) -> Self {
        Self::bounded(clock, retention, OutboxBounds::default())
    }

    /// With other bounds for the outbox.
    pub fn bounded(clock: Clock, retention: Retention, bounds: OutboxBounds) -> Self {
        let letters = Mutex::new(Letters::bounded(bounds));
        let (calls, sessions, tokens) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { clock, retention, calls, sessions, tokens, letters }
    }
}
