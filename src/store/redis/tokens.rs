use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::{KeysInterface, SetsInterface};
use fred::types::Expiration;
use futures_util::future::{try_join, try_join_all};
use tokio::sync::Mutex;

use super::reading::{Key, json, parse_at};
use crate::call::{TokenHash, UserId};
use crate::store::{KnownToken, StoreError, TokenStore};

/// The list of a user's tokens outlives every session that came with one of them.
const LIST_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// More of one user are not kept: Laravel is asked again whose they are.
const TOKENS_OF_A_USER: usize = 64;
/// Tokens that are dropped together; each takes two commands.
const AT_ONCE: usize = 256;

/// Verified tokens by their hash, spread over all slots.
pub struct RedisTokens {
    client: Client,
    prefix: String,
    /// Long lists are shortened one at a time: the commands that drop their tokens share a connection with calls.
    dropping: Mutex<()>,
}

impl RedisTokens {
    pub fn new(client: Client, prefix: &str) -> Self {
        Self { client, prefix: prefix.to_owned(), dropping: Mutex::default() }
    }

    fn key(&self, token: &TokenHash) -> String {
        self.key_of(&token.to_string())
    }

    fn key_of(&self, token: &str) -> String {
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
        let list_it = || {
            let listed = self.client.sadd::<(), _, _>(list.as_str(), token.to_string());
            Box::pin(try_join(listed, self.client.pexpire::<(), _>(list.as_str(), millis(LIST_TTL), None)))
        };
        list_it().await?;
        self.client.set::<(), _, _>(self.key(token), json("token", known)?, expiry, None, false).await?;
        // Listed again: who trims the list drops a token of which nothing is known yet.
        let (_, listed) = try_join(list_it(), self.client.scard::<usize, _>(list.as_str())).await?;
        if listed > TOKENS_OF_A_USER
            && let Ok(_turn) = self.dropping.try_lock()
            && let Err(error) = self.trim(&list, token).await
        {
            // The next token of this user is another occasion.
            tracing::debug!(%error, "a user's older tokens could not be dropped");
        }
        Ok(())
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
        let mut turn = None;
        loop {
            let listed = self.some_listed(&list).await?;
            if listed.is_empty() {
                return Ok(());
            }
            self.drop_listed(&list, &listed).await?;
            if turn.is_none() && listed.len() >= AT_ONCE {
                turn = Some(self.dropping.lock().await);
            }
        }
    }
}

impl RedisTokens {
    async fn some_listed(&self, list: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.client.srandmember(list, Some(AT_ONCE)).await?)
    }

    /// Forgets tokens of a list: those of which nothing is known any more, and of the others all but half as many as may be,
    /// the first that Redis names, which are the oldest from version 7.2 on. A list of an earlier version may be long:
    /// then some of it go each time.
    async fn trim(&self, list: &str, newest: &TokenHash) -> Result<(), StoreError> {
        let mut listed = self.some_listed(list).await?;
        let newest = newest.to_string();
        listed.retain(|token| *token != newest);
        let are_known = listed.iter().map(|token| self.client.exists::<bool, _>(self.key_of(token)));
        let are_known = try_join_all(are_known).await?;
        let (mut known, mut dropped): (Vec<_>, Vec<_>) =
            listed.into_iter().zip(are_known).partition(|(_, known)| *known);
        dropped.extend(known.drain(..known.len().saturating_sub(TOKENS_OF_A_USER / 2)));
        let dropped: Vec<String> = dropped.into_iter().map(|(token, _)| token).collect();
        self.drop_listed(list, &dropped).await
    }

    async fn drop_listed(&self, list: &str, tokens: &[String]) -> Result<(), StoreError> {
        if tokens.is_empty() {
            return Ok(());
        }
        // One by one: they lie in different slots.
        let forget = || try_join_all(tokens.iter().map(|token| self.client.del::<(), _>(self.key_of(token))));
        forget().await?;
        // The list last: a failure before can be repeated.
        self.client.srem::<(), _, _>(list, tokens.to_vec()).await?;
        // What another node put meanwhile is listed by it once more, or forgotten here: nothing is known and not listed.
        forget().await?;
        Ok(())
    }
}

/// What is known of a token in a form that this version can't read is unknown: Laravel is asked.
fn known(token: &TokenHash, text: &str) -> Option<KnownToken> {
    parse_at("token", Key::Other(&token.to_string()[..8]), text).ok()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::call::Timestamp;
    use crate::store::contract::{test_server, user};
    use crate::store::redis::connect;

    #[tokio::test]
    async fn of_a_user_who_logs_in_again_and_again_some_tokens_are_kept() {
        let client = connect(&test_server::shared().url(), &TaskTracker::new()).await.expect("redis answers");
        let tokens = RedisTokens::new(client.clone(), &format!("t{:016x}", rand::random::<u64>()));
        let hash = |number: u32| TokenHash::from_digest(std::array::from_fn(|at| number.to_le_bytes()[at % 4]));
        let known = KnownToken { user: user("ana"), name: None, verified_at: Timestamp::from_millis(1) };
        let ttl = Duration::from_secs(60);
        let list = tokens.list_key(&known.user);
        // As an earlier version left it.
        let gone: Vec<String> = (10_000..11_000).map(|number| hash(number).to_string()).collect();
        client.sadd::<(), _, _>(list.as_str(), gone).await.unwrap();
        let known_of = async |range: std::ops::Range<u32>| {
            let known = range.map(|number| {
                let hash = hash(number);
                let tokens = &tokens;
                async move { tokens.get(&hash).await }
            });
            try_join_all(known).await.unwrap().into_iter().flatten().count()
        };
        for number in 0..300 {
            tokens.put(&hash(number), &known, ttl).await.unwrap();
            assert_eq!(tokens.get(&hash(number)).await.unwrap().as_ref(), Some(&known), "the newest is known");
        }
        let listed: usize = client.scard(list.as_str()).await.unwrap();
        let kept = known_of(0..300).await;
        assert!((TOKENS_OF_A_USER / 2..=TOKENS_OF_A_USER).contains(&listed) && kept == listed, "{listed} {kept}");
        // At once, from two nodes.
        let other = RedisTokens::new(client.clone(), &tokens.prefix);
        try_join_all((300..500).map(|number| {
            let hash = hash(number);
            let (tokens, known) = (if number % 2 == 0 { &tokens } else { &other }, &known);
            async move { tokens.put(&hash, known, ttl).await }
        }))
        .await
        .unwrap();
        tokens.put(&hash(500), &known, ttl).await.unwrap();
        let listed: usize = client.scard(list.as_str()).await.unwrap();
        assert!((TOKENS_OF_A_USER / 2..=TOKENS_OF_A_USER).contains(&listed), "{listed}");
        tokens.forget_user(&known.user).await.unwrap();
        assert_eq!((known_of(0..501).await, client.exists::<u32, _>(list.as_str()).await.unwrap()), (0, 0));
    }
}
