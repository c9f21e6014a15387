use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::RespVersion;
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};

/// Commands fail after this: a phone is told `unavailable` rather than left waiting.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// How a client of this project talks to Redis, for commands and for subscriptions alike.
pub fn builder(url: &str) -> Result<Builder, fred::error::Error> {
    let mut config = Config::from_url(url)?;
    config.version = RespVersion::RESP3;
    config.fail_fast = true;
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_exponential(0, 50, 2000, 2));
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = COMMAND_TIMEOUT;
        // The default of 32 loses pub/sub messages in any burst.
        performance.broadcast_channel_capacity = 8192;
    });
    builder.with_connection_config(|connection| {
        connection.connection_timeout = Duration::from_secs(2);
        connection.internal_command_timeout = Duration::from_secs(2);
        // A write of unknown outcome is read back, never sent again blindly.
        connection.max_command_attempts = 1;
        connection.max_command_buffer_len = 10_000;
        connection.unresponsive =
            UnresponsiveConfig { max_timeout: Some(Duration::from_secs(4)), interval: Duration::from_secs(1) };
        connection.tcp.nodelay = Some(true);
    });
    Ok(builder)
}

/// Connects a command client; reconnects by itself from then on.
pub async fn connect(url: &str) -> Result<Client, fred::error::Error> {
    let client = builder(url)?.build()?;
    client.init().await?;
    Ok(client)
}
