//! The embedded store: one node, nothing survives it. The reference for what the Redis scripts do.

mod calls;
mod sessions;

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{KnownToken, Retention};
use crate::call::{Timestamp, TokenHash};
use crate::clock::Clock;
use calls::Calls;
pub(super) use calls::outcome_of;
use sessions::Sessions;

pub struct MemoryStore {
    clock: Clock,
    retention: Retention,
    calls: Mutex<Calls>,
    sessions: Mutex<Sessions>,
    tokens: Mutex<HashMap<TokenHash, (KnownToken, Timestamp)>>,
}

impl MemoryStore {
    pub fn new(clock: Clock, retention: Retention) -> Self {
        Self { clock, retention, calls: Mutex::default(), sessions: Mutex::default(), tokens: Mutex::default() }
    }
}
