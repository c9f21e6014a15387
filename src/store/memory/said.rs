use std::collections::{HashMap, VecDeque};

use crate::call::{CallId, Role, Timestamp};
use crate::store::{KeptMessage, LastKept, MESSAGE_BYTES_KEPT, MESSAGES_KEPT};

/// What the parties of live calls said.
pub(super) type Said = HashMap<CallId, SaidInCall>;

#[derive(Default)]
pub(super) struct SaidInCall {
    pub caller: Side,
    pub callee: Side,
    pub kept: VecDeque<(Role, KeptMessage)>,
}

/// What one party said.
#[derive(Default)]
pub(super) struct Side {
    pub last: u64,
    pub last_kept: u64,
    /// When its allowance is whole again.
    pub whole_at: Timestamp,
    /// The last ids, with the order of their messages and of what was kept before them.
    pub ids: VecDeque<(String, u64, u64)>,
}

impl SaidInCall {
    pub fn last_kept(&self) -> LastKept {
        LastKept { caller: self.caller.last_kept, callee: self.callee.last_kept }
    }

    pub fn keep(&mut self, by: Role, message: KeptMessage) {
        // As many bytes as an entry of the Redis store.
        let size = |kept: &KeptMessage| {
            kept.text.len() + kept.order.to_string().len() + kept.id.as_ref().map_or(0, String::len) + 4
        };
        self.kept.push_back((by, message));
        let bytes = |said: &Self| said.kept.iter().map(|(_, kept)| size(kept)).sum::<usize>();
        while self.kept.len() > MESSAGES_KEPT || bytes(self) > MESSAGE_BYTES_KEPT && self.kept.len() > 1 {
            self.kept.pop_front();
        }
    }
}
