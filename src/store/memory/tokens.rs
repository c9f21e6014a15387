use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::call::TokenHash;
use crate::store::{KnownToken, StoreError, TokenStore};

/// Tokens kept before those that expired are dropped.
const TOKENS: usize = 100_000;

#[async_trait]
impl TokenStore for MemoryStore {
    async fn get(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        let now = self.clock.now();
        Ok(self.tokens.lock().get(token).filter(|(_, until)| *until > now).map(|(known, _)| known.clone()))
    }

    async fn put(&self, token: &TokenHash, known: &KnownToken, ttl: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tokens = self.tokens.lock();
        if tokens.len() >= TOKENS {
            tokens.retain(|_, (_, until)| *until > now);
        }
        tokens.insert(*token, (known.clone(), now + ttl));
        Ok(())
    }

    async fn touch(&self, touched: &[TokenHash], ttl: Duration) -> Result<(), StoreError> {
        let until = self.clock.now() + ttl;
        let mut tokens = self.tokens.lock();
        for token in touched {
            if let Some(known) = tokens.get_mut(token) {
                known.1 = until;
            }
        }
        Ok(())
    }

    async fn forget(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        Ok(self.tokens.lock().remove(token).map(|(known, _)| known))
    }
}
