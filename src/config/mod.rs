//! Every option: name, default, meaning. Read from the environment and from `.env`, checked all at once.

mod log_level;
mod node_address;
mod options;
mod places;
mod reader;
mod sources;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::call::NodeId;
use crate::signaling::Policy;
use crate::socket::InitiateCheck;
use crate::store::Retention;
use crate::telemetry::Users;
use crate::telemetry::log::LogFormat;
use crate::telemetry::trace;
use crate::webhook::EndpointSettings;
pub use options::{OPTIONS, Opt, Unknown, options_table};
use reader::Reader;
use sources::variables;
pub use standing::Standing;

/// A value that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenQueries {
    Private,
    Never,
    Always,
}

/// Who verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody, and the node is reachable from this machine only.
    LocalDevelopment,
    /// Nobody, as explicitly asked for.
    Insecure,
    /// Nobody, by `--dev`: for trying out, without the limits that hinder that.
    Dev,
    /// Laravel at this address.
    Laravel { url: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthTimes {
    pub hold: Duration,
    pub cache: Duration,
    pub stale: Duration,
    pub timeout: Duration,
    pub checks_per_second: u32,
    /// What Laravel is asked for tokens that were never seen.
    pub new_tokens_per_second: u32,
}

/// What is let in; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub sessions: usize,
    pub handshakes_per_second: u32,
    pub handshakes_per_address: u32,
    pub events_per_minute: u32,
    pub presence_ids_per_minute: u32,
    pub api_per_second: u32,
    /// Requests of sessions that exist, by client address.
    pub session_requests_per_second: u32,
    /// On the public port; 0: as many as descriptors allow.
    pub connections: usize,
    pub connections_per_address: usize,
}

/// How long a client may take to say what it wants. What waits for an answer, and a websocket, is under none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadingTimes {
    /// From the connection, or the first byte of a further request, to the end of its head.
    pub head: Duration,
    /// From an answer to the first byte of the next request.
    pub idle: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// The body may be slower than `bytes_per_second` for so long.
    pub grace: Duration,
    pub bytes_per_second: u32,
}

impl Default for ReadingTimes {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(20),
            grace: Duration::from_secs(5),
            bytes_per_second: 256,
        }
    }
}

/// How a node that stops lets its phones go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Time for load balancers to notice that the node is not ready.
    pub delay: Duration,
    /// Over which transports are closed.
    pub window: Duration,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub host: IpAddr,
    pub admin_host: IpAddr,
    pub port: u16,
    /// Of `/api/`, where it is not `port`.
    pub api_port: Option<u16>,
    pub admin_port: u16,
    pub auth: Auth,
    pub auth_times: AuthTimes,
    pub initiate_check: InitiateCheck,
    pub video_switch: bool,
    /// Any of them opens `/api/`; none: it is off.
    pub api_secrets: Vec<Secret>,
    /// Empty: any origin.
    pub allowed_origins: Vec<String>,
    /// `Private` only where no proxy is configured: one that does not name its client looks like a private peer.
    pub open_queries: OpenQueries,
    pub limits: Limits,
    pub reading: ReadingTimes,
    pub trusted_proxies: Vec<IpNet>,
    pub redis_url: Option<Secret>,
    pub redis_prefix: String,
    pub node_id: NodeId,
    pub node_address: Option<String>,
    pub node_secret: Option<Secret>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub drain: Drain,
    /// Whether the admin port shows calls and their users.
    pub inspector: bool,
    pub policy: Policy,
    pub retention: Retention,
    /// Where milestones of calls are told; none: nowhere.
    pub webhook: Option<EndpointSettings>,
    pub log_format: LogFormat,
    /// Threads that serve phones; 0: as many as fit the cores.
    pub worker_threads: usize,
    pub log_level: String,
    /// How logs and traces name users.
    pub log_users: Users,
    /// Where traces go; none: nowhere.
    pub traces: Option<trace::ExporterSettings>,
    /// Set variables that look like ours and are none.
    pub unknown: Vec<Unknown>,
    /// The options as read, secrets hidden: what `--print-config` prints.
    pub shown: BTreeMap<&'static str, String>,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("configuration is not usable:\n  {}", .errors.join("\n  "))]
pub struct ConfigError {
    pub errors: Vec<String>,
    /// As what the log would have been written.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the process's environment and `.env` in the working directory; the environment wins. `dev`: for trying out.
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub fn from_env(dev: bool) -> Result<Self, ConfigError> {
        let (variables, errors) = variables(Path::new(".env"), std::env::vars_os());
        Self::read(variables, errors, dev)
    }

    /// Where the admin port of a node with this environment answers on its own machine.
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub fn admin_address_from_env() -> Result<SocketAddr, ConfigError> {
        let (variables, errors) = variables(Path::new(".env"), std::env::vars_os());
        Self::admin_address(variables, errors)
    }

    /// Nothing else is looked at: a probe must not fail for what the node itself was not refused for.
    fn admin_address(variables: BTreeMap<String, String>, errors: Vec<String>) -> Result<SocketAddr, ConfigError> {
        let mut reader = Reader { variables, errors, dev: false, shown: BTreeMap::new() };
        let address = reader.admin_address();
        match reader.errors {
            errors if errors.is_empty() => Ok(address),
            errors => Err(ConfigError { errors, log_format: LogFormat::Auto }),
        }
    }

    pub fn from_variables(variables: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::read(variables, Vec::new(), false)
    }

    fn read(variables: BTreeMap<String, String>, errors: Vec<String>, dev: bool) -> Result<Self, ConfigError> {
        let mut reader = Reader { variables, errors, dev, shown: BTreeMap::new() };
        let config = reader.config();
        match reader.errors {
            errors if errors.is_empty() => Ok(config),
            errors => Err(ConfigError { errors, log_format: config.log_format }),
        }
    }

    /// Names that are nearly those of options: a node starts with them all the same, a check of the configuration
    /// fails.
    pub fn misspelled(&self) -> Option<ConfigError> {
        let errors: Vec<String> =
            self.unknown.iter().filter(|unknown| unknown.near.is_some()).map(ToString::to_string).collect();
        (!errors.is_empty()).then_some(ConfigError { errors, log_format: self.log_format })
    }

    /// What nodes prove to each other with, the first to sign; every node of a cluster has the same.
    pub fn node_keys(&self) -> Vec<Vec<u8>> {
        let shared: Vec<&Secret> = match &self.node_secret {
            Some(secret) => vec![secret],
            None if self.api_secrets.is_empty() => self.redis_url.iter().collect(),
            None => self.api_secrets.iter().collect(),
        };
        shared.iter().map(|secret| Sha256::digest(format!("node {}", secret.expose())).to_vec()).collect()
    }

    /// What tokens in call records are sealed with, the first to seal.
    pub fn sealing_secrets(&self) -> Vec<&[u8]> {
        let secrets: Vec<&Secret> = match self.api_secrets.is_empty() {
            true => self.redis_url.iter().collect(),
            false => self.api_secrets.iter().collect(),
        };
        secrets.iter().map(|secret| secret.expose().as_bytes()).collect()
    }

    /// True where somebody looks at single calls; `AUTH=insecure` is for load and for tests too, which a line a step would
    /// slow down.
    pub fn is_for_trying_out(&self) -> bool {
        match self.auth {
            Auth::LocalDevelopment | Auth::Dev => true,
            Auth::Insecure | Auth::Laravel { .. } => false,
        }
    }

    /// True where nobody verifies tokens and the test page is served.
    pub fn is_development(&self) -> bool {
        match self.auth {
            Auth::LocalDevelopment | Auth::Insecure | Auth::Dev => true,
            Auth::Laravel { .. } => false,
        }
    }
}
