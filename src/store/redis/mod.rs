//! The shared store. Everything a call script touches carries one hash tag, sessions spread over 64 shards.

mod address;
mod calls;
#[cfg(test)]
mod ceiling_contract;
mod changes;
mod connection;
mod counters;
mod created;
mod life;
#[cfg(test)]
mod lost_replies_contract;
mod messages;
mod outbox;
mod reading;
mod script;
#[cfg(test)]
mod script_contract;
mod sessions;
mod telling;
mod timeline;
mod tokens;
mod vacate;
mod vouch;

pub use address::check;
pub use calls::RedisCalls;
pub use connection::{builder, connect};
pub use outbox::RedisOutbox;
pub use sessions::RedisSessions;
pub use tokens::RedisTokens;

use fred::error::Error;

use super::StoreError;
use crate::telemetry::outage;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        outage::redis_failed(&error);
        StoreError::Unavailable(error.to_string())
    }
}
