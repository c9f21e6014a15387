use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::call::TokenHash;

/// Tokens that wait for their check; beyond it the oldest is not checked (its next handshake asks again).
const WAITING_LIMIT: usize = 100_000;

/// The tokens that were accepted unchecked, each once, in order.
#[derive(Default)]
pub(super) struct Checks(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    order: VecDeque<TokenHash>,
    tokens: HashMap<TokenHash, String>,
}

impl Checks {
    pub fn add(&self, hash: TokenHash, token: &str) {
        let mut waiting = self.0.lock();
        if waiting.tokens.insert(hash, token.to_owned()).is_some() {
            return;
        }
        waiting.order.push_back(hash);
        if waiting.order.len() > WAITING_LIMIT
            && let Some(oldest) = waiting.order.pop_front()
        {
            waiting.tokens.remove(&oldest);
        }
    }

    pub fn take(&self) -> Option<(TokenHash, String)> {
        let mut waiting = self.0.lock();
        let hash = waiting.order.pop_front()?;
        let token = waiting.tokens.remove(&hash)?;
        Some((hash, token))
    }

    pub fn len(&self) -> usize {
        self.0.lock().order.len()
    }
}
