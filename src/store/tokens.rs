//! Tokens that the backend accepted, by their hashes.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::call::{Timestamp, TokenHash, UserId};

/// A token that Laravel accepted, kept under its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownToken {
    pub user: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub verified_at: Timestamp,
}

/// The verified tokens that all nodes share.
#[async_trait]
pub trait TokenStore: Send + Sync {
    async fn get(&self, token: &TokenHash) -> Result<Option<KnownToken>, StoreError>;

    async fn put(&self, token: &TokenHash, known: &KnownToken, ttl: Duration) -> Result<(), StoreError>;

    /// Prolongs what is known of these tokens; unknown ones stay unknown.
    async fn touch(&self, tokens: &[TokenHash], ttl: Duration) -> Result<(), StoreError>;

    async fn forget(&self, token: &TokenHash) -> Result<(), StoreError>;

    /// Forgets every token of a user.
    async fn forget_user(&self, user: &UserId) -> Result<(), StoreError>;
}
