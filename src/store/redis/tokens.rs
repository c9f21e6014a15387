use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::{KeysInterface, SetsInterface};
use fred::types::Expiration;
use futures_util::future::try_join_all;

use super::reading::{Key, json, parse_at};
use crate::call::{TokenHash, UserId};
use crate::store::{KnownToken, StoreError, TokenStore};

/// The list of a user's tokens outlives every session that came with one of them.
const LIST_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

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

    fn list_key(&self, user: &UserId) -> String {
        format!("{}:tokens:{user}", self.prefix)
    }
}

#[async_trait]
impl TokenStore for RedisTokens {
    async fn get(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError> {
        let text: Option<String> = self.client.get(self.key(token)).await?;
        Ok(text.and_then(|text| known(token, &text)))
    }

    async fn put(&self, token: &TokenHash, known: &KnownToken, ttl: Duration) -> Result<(), StoreError> {
        let expiry = Some(Expiration::PX(millis(ttl)));
        // Listed first: what is kept can be found.
        let list = self.list_key(&known.user);
        self.client.sadd::<(), _, _>(list.as_str(), token.to_string()).await?;
        self.client.pexpire::<(), _>(list, millis(LIST_TTL), None).await?;
        Ok(self.client.set::<(), _, _>(self.key(token), json("token", known)?, expiry, None, false).await?)
    }

    async fn touch(&self, tokens: &[TokenHash], ttl: Duration) -> Result<(), StoreError> {
        for tokens in tokens.chunks(512) {
            try_join_all(tokens.iter().map(|token| self.client.pexpire::<(), _>(self.key(token), millis(ttl), None)))
                .await?;
        }
        Ok(())
    }

    async fn forget(&self, token: &TokenHash) -> Result<(), StoreError> {
        Ok(self.client.del::<(), _>(self.key(token)).await?)
    }

    async fn forget_user(&self, user: &UserId) -> Result<(), StoreError> {
        let list = self.list_key(user);
        let tokens: Vec<String> = self.client.smembers(list.as_str()).await?;
        // One by one: they lie in different slots.
        try_join_all(tokens.iter().map(|token| self.client.del::<(), _>(format!("{}:token:{token}", self.prefix))))
            .await?;
        // The list last: a failure before can be repeated.
        Ok(self.client.del::<(), _>(list).await?)
    }
}

/// What is known of a token in a form that this version can't read is unknown: Laravel is asked.
fn known(token: &TokenHash, text: &str) -> Option<KnownToken> {
    parse_at("token", Key::Other(&token.to_string()[..8]), text).ok()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
