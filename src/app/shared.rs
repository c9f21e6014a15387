//! What nodes of one cluster share: opened by the configuration.

use std::sync::Arc;

use fred::error::ErrorKind;
use tokio_util::task::TaskTracker;

use super::AppError;
use crate::bus::Bus;
use crate::bus::memory::MemoryBus;
use crate::bus::redis::RedisBus;
use crate::clock::Clock;
use crate::config::Config;
use crate::signaling::Waiting;
use crate::store::memory::MemoryStore;
use crate::store::redis::{RedisCalls, RedisOutbox, RedisSessions, RedisTokens, builder, connect};
use crate::store::{CallStore, Outbox, OutboxBounds, SessionStore, TokenStore};

/// A password that Redis refuses so often in a row is wrong; before, it may just be changed on both sides.
const PASSWORD_ATTEMPTS: u32 = 5;

/// What nodes of one cluster share; tests hand the same to several nodes.
#[derive(Clone)]
pub struct Shared {
    pub calls: Arc<dyn CallStore>,
    pub sessions: Arc<dyn SessionStore>,
    pub tokens: Arc<dyn TokenStore>,
    pub outbox: Arc<dyn Outbox>,
    pub bus: Arc<dyn Bus>,
}

impl Shared {
    /// Redis by the configuration, or memory for one node.
    pub async fn open(config: &Config, clock: &Clock, tasks: &TaskTracker) -> Result<Self, AppError> {
        let Some(url) = &config.redis_url else { return Ok(Self::memory(config, clock)) };
        let subscriptions = builder(url.expose()).map_err(AppError::Redis)?;
        let mut waiting = Waiting::new(clock);
        let client = reach(url.expose(), tasks, &mut waiting).await?;
        // Whoever asks who is online is in no call's way.
        let presence = reach(url.expose(), tasks, &mut waiting).await?;
        // Nor is any answer in the lease's way, however long it is.
        let lease = reach(url.expose(), tasks, &mut waiting).await?;
        waiting.over();
        Ok(Self {
            calls: Arc::new(RedisCalls::new(client.clone(), &config.redis_prefix, config.retention)),
            sessions: Arc::new(RedisSessions::new(client.clone(), presence, &config.redis_prefix).with_lease_on(lease)),
            tokens: Arc::new(RedisTokens::new(client.clone(), &config.redis_prefix)),
            outbox: Arc::new(RedisOutbox::new(client.clone(), &config.redis_prefix, OutboxBounds::default())),
            bus: Arc::new(RedisBus::new(client, subscriptions, &config.redis_prefix, tasks.clone())),
        })
    }

    pub fn memory(config: &Config, clock: &Clock) -> Self {
        let store = Arc::new(MemoryStore::new(clock.clone(), config.retention));
        Self {
            calls: store.clone(),
            sessions: store.clone(),
            tokens: store.clone(),
            outbox: store,
            bus: Arc::new(MemoryBus::default()),
        }
    }
}

/// A command client; waits for a server that is away.
async fn reach(url: &str, tasks: &TaskTracker, waiting: &mut Waiting<'_>) -> Result<fred::clients::Client, AppError> {
    let mut refused = 0;
    loop {
        match connect(url, tasks).await {
            Ok(client) => return Ok(client),
            Err(error) => {
                refused = if *error.kind() == ErrorKind::Auth { refused + 1 } else { 0 };
                if *error.kind() == ErrorKind::Config || refused >= PASSWORD_ATTEMPTS {
                    return Err(AppError::Redis(error));
                }
                waiting.after(&error).await;
            }
        }
    }
}
