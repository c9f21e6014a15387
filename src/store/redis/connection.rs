use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::Builder;
use fred::types::RespVersion;
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ReconnectError, ReconnectPolicy, ServerConfig, UnresponsiveConfig,
};
use tokio_util::task::TaskTracker;

use crate::telemetry::outage;

/// Commands fail after this: a phone is told `unavailable` rather than left waiting.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Redirections of one command in a cluster.
const REDIRECTIONS: u32 = 5;
/// Before a client whose connections ended for good is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How a client of this project talks to Redis, for commands and for subscriptions alike.
pub fn builder(url: &str) -> Result<Builder, fred::error::Error> {
    let mut config = Config::from_url(url)?;
    config.version = RespVersion::RESP3;
    config.username = config.username.as_deref().map(inline);
    config.password = config.password.as_deref().map(inline);
    config.fail_fast = true;
    if let ServerConfig::Clustered { policy, .. } = &mut config.server {
        // Else only the servers named in the address are asked where the cluster went.
        *policy = ClusterDiscoveryPolicy::UseCache;
    }
    // A write of unknown outcome is read back, never sent again blindly. But each redirection in a cluster counts as an
    // attempt, and a client that runs out of them while slots move ends for good; what is sent again there after all is
    // recognised by its version or nonce.
    let attempts = if config.server.is_clustered() { 2 * REDIRECTIONS } else { 1 };
    let with_sentinel = config.server.is_sentinel();
    let mut builder = Builder::from_config(config);
    // At once, or commands would wait for a store that may be another without anybody knowing that it is away; and soon
    // after each other, since a loss is judged only when all nodes are back.
    builder.set_policy(ReconnectPolicy::new_exponential(0, 1, 500, 2));
    builder.with_performance_config(|performance| {
        performance.default_command_timeout = COMMAND_TIMEOUT;
        // The default of 32 loses pub/sub messages in any burst.
        performance.broadcast_channel_capacity = 8192;
    });
    builder.with_connection_config(|connection| {
        connection.connection_timeout = Duration::from_secs(2);
        connection.internal_command_timeout = Duration::from_secs(2);
        connection.max_command_attempts = attempts;
        connection.max_redirections = REDIRECTIONS;
        connection.max_command_buffer_len = 10_000;
        connection.unresponsive =
            UnresponsiveConfig { max_timeout: Some(Duration::from_secs(4)), interval: Duration::from_secs(1) };
        connection.tcp.nodelay = Some(true);
        if with_sentinel {
            // A primary that stood still while another was chosen refuses writes, and connections to it stay: only the
            // Sentinel knows where to go.
            connection.reconnect_errors.extend([ReconnectError::NoReplicas, ReconnectError::MasterDown]);
        }
    });
    Ok(builder)
}

/// As a word of an inline command: that is how the library greets a server, and a blank or a quote in a password would end
/// the word (`unbalanced quotes in request`).
fn inline(word: &str) -> String {
    if word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte)) {
        return word.to_owned();
    }
    let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{escaped}\"")
}

/// Connects a command client; reconnects by itself from then on.
pub async fn connect(url: &str, tasks: &TaskTracker) -> Result<Client, fred::error::Error> {
    let client = builder(url)?.build()?;
    let mut running = client.init().await?;
    let restarted = client.clone();
    // Some errors end the library's task, and every command after that would wait for its timeout.
    tasks.spawn(async move {
        loop {
            match running.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    outage::redis_failed(&error);
                    tracing::debug!(%error, "the connection to redis ended, starting it again");
                }
                Err(error) => tracing::error!(%error, "the task of the connection to redis died, starting it again"),
            }
            running = loop {
                tokio::time::sleep(RESTART_PAUSE).await;
                match restarted.init().await {
                    Ok(running) => break running,
                    Err(error) => tracing::debug!(%error, "connecting to redis failed, trying again"),
                }
            };
        }
    });
    Ok(client)
}
