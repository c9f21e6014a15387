//! Every option: name, default, meaning. Read from the environment and from `.env`, checked all at once.

mod node_address;
mod options;
mod reader;
mod sources;
mod standing;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
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
use crate::webhook::EndpointTerms;
pub use options::{OPTIONS, Opt, Unknown, options_table};
use reader::Reader;
use sources::variables;

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
    pub port: u16,
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
    pub policy: Policy,
    pub retention: Retention,
    /// Where milestones of calls are told; none: nowhere.
    pub webhook: Option<EndpointTerms>,
    pub log_format: LogFormat,
    /// Threads that serve phones; 0: as many as fit the cores.
    pub worker_threads: usize,
    pub log_level: String,
    /// How logs and traces name users.
    pub log_users: Users,
    /// Where traces go; none: nowhere.
    pub traces: Option<trace::Terms>,
    /// Set variables that look like ours and are none.
    pub unknown: Vec<Unknown>,
    /// The options as read, secrets hidden: what `--print-config` prints.
    pub shown: BTreeMap<&'static str, String>,
}

/// Everything that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("configuration is not usable:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads the process's environment and `.env` in the working directory; the environment wins.
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        let (variables, errors) = variables(Path::new(".env"), std::env::vars_os());
        Self::read(variables, errors)
    }

    pub fn from_variables(variables: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::read(variables, Vec::new())
    }

    fn read(variables: BTreeMap<String, String>, errors: Vec<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { variables, errors, shown: BTreeMap::new() };
        let config = reader.config();
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigError(reader.errors)) }
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

    /// True where nobody verifies tokens and the test page is served.
    pub fn is_development(&self) -> bool {
        matches!(self.auth, Auth::LocalDevelopment | Auth::Insecure)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn nothing_configured_is_local_development_on_loopback() {
        let config = read(&[]).unwrap();
        assert_eq!(config.auth, Auth::LocalDevelopment);
        assert!(config.host.is_loopback());
        assert_eq!((config.port, config.admin_port), (3001, 9001));
    }

    #[test]
    fn a_lost_laravel_url_does_not_open_a_production_host() {
        for (name, value) in [
            ("LARAVEL_API_SECRET", "s"),
            ("REDIS_URL", "redis://r"),
            ("ALLOWED_ORIGINS", "https://a"),
            ("NODE_ADDRESS", "http://n"),
            ("NODE_SECRET", "s"),
            ("TRUSTED_PROXIES", "10.0.0.0/8"),
            ("WEBHOOK_URL", "https://w"),
            ("NODE_ENV", "production"),
            ("NODE_ENV", "Production"),
            ("NODE_ENV", "prod"),
            ("NODE_ENV", "staging"),
            ("LARAVEL_API_URI", "https://l"),
            ("LARAVEL_URL", "https://l"),
            ("laravel_api_url", "https://l"),
            ("REDIS_URI", "redis://r"),
            ("NODE_ENVS", "production"),
            ("HOST", "0.0.0.0"),
        ] {
            assert!(read(&[(name, value)]).unwrap_err().to_string().contains(name), "{name}");
        }
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let error = read(&[("RING_TIMEOUT_SECS", "4"), ("PORT", "x"), ("AUTH", "maybe")]).unwrap_err();
        assert_eq!(error.0.len(), 3, "{error}");
    }

    #[test]
    fn laravel_url_in_every_spelling() {
        for url in ["https://l.test", "https://l.test/", "https://l.test/api/v1", "https://l.test/api/v1/"] {
            let config = read(&[("LARAVEL_API_URL", url)]).unwrap();
            assert_eq!(config.auth, Auth::Laravel { url: "https://l.test".into() });
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let config = read(&[("AUTH", "insecure"), ("LARAVEL_API_SECRET", "hush,hush2")]).unwrap();
        assert_eq!(config.api_secrets.len(), 2);
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn webhooks_need_a_secret_and_a_public_address() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let with = |url: &str, secret: &str, private: &str| {
            let names = ["AUTH", "WEBHOOK_URL", "WEBHOOK_SECRET", "WEBHOOK_ALLOW_PRIVATE"];
            let values = ["insecure", url, secret, private];
            read(&names.into_iter().zip(values).collect::<Vec<_>>())
        };
        assert!(read(&[]).unwrap().webhook.is_none());
        let config = with("https://l.test/hooks", secret, "").unwrap();
        assert!(config.policy.webhooks && !format!("{config:?}").contains("MfKQ"));
        assert_eq!(
            with("https://l.test", &format!("{secret},{secret}"), "").unwrap().webhook.unwrap().secrets.len(),
            2
        );
        let refused = |url: &str, secret: &str| with(url, secret, "").unwrap_err().to_string();
        assert!(refused("https://l.test", "").contains("WEBHOOK_SECRET"));
        assert!(refused("https://l.test", "whsec_AA").contains("WEBHOOK_SECRET"));
        assert!(refused("", secret).contains("WEBHOOK_URL"));
        assert!(refused("http://l.test", secret).contains("WEBHOOK_ALLOW_PRIVATE"));
        assert!(refused("https://[::1]/", secret).contains("private"));
        assert!(refused("https://169.254.169.254/", secret).contains("private"));
        with("http://127.0.0.1:8000/hooks", secret, "true").unwrap();
    }

    #[test]
    fn hashed_users_need_a_key() {
        let with = |key: &str| read(&[("LOG_USERS", "hashed"), ("LOG_USERS_KEY", key)]);
        assert!(with("").unwrap_err().to_string().contains("LOG_USERS_KEY"));
        assert!(with("too-short").unwrap_err().to_string().contains("LOG_USERS_KEY"));
        let config = with("long-enough-to-be-one").unwrap();
        assert!(!format!("{config:?}").contains("long-enough"));
        assert_eq!(config.shown["LOG_USERS_KEY"], "***");
    }

    #[test]
    fn traces_are_off_until_they_have_an_address() {
        let with = |endpoint: &str, headers: &str, ratio: &str| {
            let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_TRACES_SAMPLER_ARG"];
            read(&names.into_iter().zip([endpoint, headers, ratio]).collect::<Vec<_>>())
        };
        assert!(read(&[]).unwrap().traces.is_none());
        assert!(with("", "a=b", "").unwrap().traces.is_none());
        let config = with("https://c.test:4318/", "authorization=Basic%20aHVzaA==, x-scope=1", "0.25").unwrap();
        assert!(!format!("{config:?}").contains("aHVzaA") && config.shown["OTEL_EXPORTER_OTLP_HEADERS"] == "***");
        let terms = config.traces.unwrap();
        assert_eq!(terms.ratio, 0.25);
        assert_eq!(terms.headers[0], ("authorization".into(), "Basic aHVzaA==".into()));
        assert_eq!(terms.headers[1], ("x-scope".into(), "1".into()));
        for (endpoint, headers, ratio) in [
            ("collector:4318", "", ""),
            ("https://user:hush@c.test", "", ""),
            ("https://c.test", "hush", ""),
            ("https://c.test", "a=hush%0Ahush", ""),
            ("https://c.test", "", "1.5"),
            ("https://c.test", "", "NaN"),
        ] {
            let error = with(endpoint, headers, ratio).unwrap_err().to_string();
            assert!(error.contains("OTEL_") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn every_option_is_read() {
        let config = read(&[]).unwrap();
        let read: BTreeSet<&str> = config.shown.keys().copied().collect();
        let listed: BTreeSet<&str> = OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(read, listed);
    }
}
