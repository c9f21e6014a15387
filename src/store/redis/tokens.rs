use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use futures_util::future::try_join_all;

use super::calls::{json, parse};
use crate::call::TokenHash;
use crate::store::{KnownToken, StoreError, TokenStore};

/// Verified tokens by their hash, spread over all slots.
pub struct RedisTokens {
    client: Client,
    prefix: String,
}

impl RedisTokens {
    pub fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned() }
    }

    fn key(&self, token: &TokenHash) -> String {
        format!("{}:token:{token}", self.prefix)
    }
}

#[async_trait]
impl TokenStore for RedisTokens {
    async fn get(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        let text: Option<String> = self.client.get(self.key(token)).await?;
        text.map(|text| parse("token", &text)).transpose()
    }

    async fn put(&self, token: &TokenHash, known: &KnownToken, ttl: Duration) -> Result<(), StoreError> {
        let expiry = Some(Expiration::PX(millis(ttl)));
        Ok(self.client.set::<(), _, _>(self.key(token), json("token", known)?, expiry, None, false).await?)
    }

    async fn touch(&self, tokens: &[TokenHash], ttl: Duration) -> Result<(), StoreError> {
        for tokens in tokens.chunks(512) {
            try_join_all(tokens.iter().map(|token| self.client.pexpire::<(), _>(self.key(token), millis(ttl), None)))
                .await?;
        }
        Ok(())
    }

    async fn forget(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        let text: Option<String> = self.client.getdel(self.key(token)).await?;
        text.map(|text| parse("token", &text)).transpose()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
