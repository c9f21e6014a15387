//! Every option: name, default, meaning. Read from the environment and from `.env`, checked all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::call::NodeId;
use crate::signaling::Policy;
use crate::store::Retention;

/// An option as the documents list it.
pub struct Opt {
    pub name: &'static str,
    pub default: &'static str,
    pub meaning: &'static str,
}

macro_rules! options {
    ($($name:literal, $default:literal, $meaning:literal;)*) => {
        /// All options, in the order of the documents.
        pub const OPTIONS: &[Opt] = &[$(Opt { name: $name, default: $default, meaning: $meaning },)*];
    };
}

options! {
    "PORT", "3001", "public port: Socket.IO, `/health`, `/api/`; 0 takes a free one";
    "LARAVEL_API_URL", "", "Laravel's address, with or without `/api/v1`; absent: local development mode";
    "LARAVEL_API_SECRET", "", "secret shared with Laravel, comma list of two while rotating; absent: `/api/` is off";
    "ALLOWED_ORIGINS", "*", "comma list of origins for CORS";
    "HOST", "0.0.0.0", "bind address; `127.0.0.1` in local development mode";
    "ADMIN_PORT", "9001", "internal port: `/live`, `/ready`, `/metrics`; 0 takes a free one";
    "REDIS_URL", "", "`redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://`; absent: memory, one node";
    "REDIS_PREFIX", "signaling", "prefix of keys and channels";
    "NODE_ID", "", "unique per process start; default: host name and a random part";
    "NODE_ADDRESS", "", "how other nodes reach this one; default: own address and `PORT`";
    "RING_TIMEOUT_SECS", "30", "how long a call rings, 5 to 180";
    "PING_INTERVAL_MS", "15000", "Engine.IO ping interval";
    "PING_TIMEOUT_MS", "10000", "Engine.IO ping timeout";
    "CALL_MAX_SECS", "14400", "upper bound of an active call";
    "MAX_SESSIONS_PER_USER", "8", "sessions of one device of a user; beyond it the oldest ends";
    "TRUSTED_PROXIES", "", "networks whose `X-Forwarded-For` is believed, comma list";
    "OPEN_QUERIES", "private", "the two GET queries without secret: `private` (loopback and private peers), `never`, `always`";
    "AUTH", "laravel", "`laravel`, or `insecure`: accepts any token (development)";
    "AUTH_HOLD_SECS", "20", "how long a handshake waits for Laravel before its transport is closed";
    "AUTH_CACHE_SECS", "60", "how long a verified token is fresh";
    "LARAVEL_TIMEOUT_MS", "5000", "timeout of a request to Laravel";
    "VERDICT_TTL_SECS", "300", "how long a verdict waits for its call";
    "ENDED_TTL_SECS", "600", "how long ended calls are kept";
    "CALLER_GRACE_SECS", "10", "time a ringing caller has to reconnect; 20 without `acks`";
    "CALL_GRACE_SECS", "60", "time a party to an accepted call has to reconnect";
    "LOG_FORMAT", "", "`json` or `text`; default: text on a terminal, else json";
    "LOG_LEVEL", "info", "log filter, as in `info` or `onlycare_signaling=debug`";
}

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
pub enum LogFormat {
    Auto,
    Json,
    Text,
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
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub host: IpAddr,
    pub port: u16,
    pub admin_port: u16,
    pub auth: Auth,
    pub auth_times: AuthTimes,
    /// Any of them opens `/api/`; none: it is off.
    pub api_secrets: Vec<Secret>,
    /// Empty: any origin.
    pub allowed_origins: Vec<String>,
    pub open_queries: OpenQueries,
    pub trusted_proxies: Vec<IpNet>,
    pub redis_url: Option<Secret>,
    pub redis_prefix: String,
    pub node_id: NodeId,
    pub node_address: Option<String>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub policy: Policy,
    pub retention: Retention,
    pub log_format: LogFormat,
    pub log_level: String,
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
        let mut variables = match std::fs::read_to_string(Path::new(".env")) {
            Ok(text) => parse_dotenv(&text),
            Err(_) => BTreeMap::new(),
        };
        variables.extend(std::env::vars());
        Self::from_variables(variables)
    }

    pub fn from_variables(variables: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { variables, errors: Vec::new(), shown: BTreeMap::new() };
        let config = reader.config();
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigError(reader.errors)) }
    }

    /// True where nobody verifies tokens and the test page is served.
    pub fn is_development(&self) -> bool {
        matches!(self.auth, Auth::LocalDevelopment | Auth::Insecure)
    }
}

struct Reader {
    variables: BTreeMap<String, String>,
    errors: Vec<String>,
    shown: BTreeMap<&'static str, String>,
}

impl Reader {
    fn config(&mut self) -> Config {
        let auth = self.auth();
        let local = auth == Auth::LocalDevelopment;
        let host_default = if local { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let host = self.parsed("HOST").unwrap_or(host_default);
        self.shown.insert("HOST", host.to_string());
        if local && !host.is_loopback() {
            self.errors.push(format!(
                "HOST is {host} but nobody verifies tokens: set LARAVEL_API_URL, or AUTH=insecure for development"
            ));
        }
        let redis_url = self.secret("REDIS_URL").map(Secret::new);
        let (ended, verdict) =
            (self.seconds("ENDED_TTL_SECS", 60..=86_400), self.seconds("VERDICT_TTL_SECS", 10..=3600));
        let policy = self.policy();
        Config {
            host,
            port: self.number("PORT", 0..=65_535),
            admin_port: self.number("ADMIN_PORT", 0..=65_535),
            auth,
            auth_times: AuthTimes {
                hold: self.seconds("AUTH_HOLD_SECS", 1..=40),
                cache: self.seconds("AUTH_CACHE_SECS", 0..=3600),
                timeout: Duration::from_millis(self.number("LARAVEL_TIMEOUT_MS", 100..=60_000)),
            },
            api_secrets: self
                .secret("LARAVEL_API_SECRET")
                .map(|list| items(&list).map(Secret::new).collect())
                .unwrap_or_default(),
            allowed_origins: self
                .text("ALLOWED_ORIGINS")
                .map(|list| items(&list).filter(|origin| *origin != "*").map(str::to_owned).collect())
                .unwrap_or_default(),
            open_queries: self.one_of(
                "OPEN_QUERIES",
                &[("private", OpenQueries::Private), ("never", OpenQueries::Never), ("always", OpenQueries::Always)],
            ),
            trusted_proxies: self.networks("TRUSTED_PROXIES"),
            redis_url,
            redis_prefix: self.text("REDIS_PREFIX").unwrap_or_default(),
            node_id: self.node_id(),
            node_address: self.text("NODE_ADDRESS"),
            ping_interval: Duration::from_millis(self.number("PING_INTERVAL_MS", 1000..=60_000)),
            ping_timeout: Duration::from_millis(self.number("PING_TIMEOUT_MS", 1000..=60_000)),
            retention: Retention { live: policy.call_max + Duration::from_secs(3600), ended, verdict },
            policy,
            log_format: match self.text("LOG_FORMAT").as_deref() {
                None => LogFormat::Auto,
                Some("json") => LogFormat::Json,
                Some("text") => LogFormat::Text,
                Some(other) => {
                    self.errors.push(format!("LOG_FORMAT is {other:?}, allowed are json, text"));
                    LogFormat::Auto
                }
            },
            log_level: self.text("LOG_LEVEL").unwrap_or_default(),
            shown: std::mem::take(&mut self.shown),
        }
    }

    fn policy(&mut self) -> Policy {
        let caller_grace = self.seconds("CALLER_GRACE_SECS", 1..=120);
        let explicit = self.variables.contains_key("CALLER_GRACE_SECS");
        Policy {
            ring_timeout: self.seconds("RING_TIMEOUT_SECS", 5..=180),
            caller_grace,
            caller_grace_without_acks: if explicit { caller_grace } else { Duration::from_secs(20) },
            call_grace: self.seconds("CALL_GRACE_SECS", 1..=3600),
            call_max: self.seconds("CALL_MAX_SECS", 60..=86_400),
            max_sessions_per_user: self.number("MAX_SESSIONS_PER_USER", 1..=1000),
            accept_hold: Duration::from_secs(8),
            accept_repeat: Duration::from_secs(2),
            lease: Duration::from_secs(10),
            lease_renewal: Duration::from_secs(3),
            late_decision: Duration::from_secs(2),
            heal_ringing: Duration::from_secs(2),
            heal_active: Duration::from_secs(10),
        }
    }

    fn auth(&mut self) -> Auth {
        let url = self.text("LARAVEL_API_URL");
        let insecure = self.one_of("AUTH", &[("laravel", false), ("insecure", true)]);
        match (insecure, url) {
            (true, _) => Auth::Insecure,
            (false, Some(url)) => {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    self.errors.push("LARAVEL_API_URL must begin with http:// or https://".into());
                }
                Auth::Laravel { url: url.trim_end_matches('/').trim_end_matches("/api/v1").to_owned() }
            }
            (false, None) => {
                // A lost LARAVEL_API_URL must not open a production host.
                for name in ["LARAVEL_API_SECRET", "REDIS_URL", "ALLOWED_ORIGINS", "NODE_ADDRESS", "WEBHOOK_URL"] {
                    if self.raw(name).is_some() {
                        self.errors.push(format!(
                            "{name} is set but LARAVEL_API_URL is not: set it, or AUTH=insecure for development"
                        ));
                    }
                }
                if self.raw("NODE_ENV").as_deref() == Some("production") {
                    self.errors.push("NODE_ENV is production but LARAVEL_API_URL is not set".into());
                }
                Auth::LocalDevelopment
            }
        }
    }

    /// The value, or the content of the file that `<NAME>_FILE` names. An empty value counts as none.
    fn raw(&mut self, name: &str) -> Option<String> {
        let value = self.variables.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let Some(path) = self.variables.get(&format!("{name}_FILE")).filter(|path| !path.is_empty()) else {
            return value;
        };
        if value.is_some() {
            self.errors.push(format!("{name} and {name}_FILE are both set"));
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Err(error) => {
                self.errors.push(format!("{name}_FILE can't be read: {error}"));
                None
            }
        }
    }

    fn secret(&mut self, name: &'static str) -> Option<String> {
        let value = self.raw(name);
        self.shown.insert(name, if value.is_some() { "***".into() } else { String::new() });
        value
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.raw(name).or_else(|| Some(default_of(name).to_owned()).filter(|text| !text.is_empty()));
        self.shown.insert(name, value.clone().unwrap_or_default());
        value
    }

    fn parsed<T: FromStr>(&mut self, name: &'static str) -> Option<T> {
        let text = self.raw(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.errors.push(format!("{name} is {text:?}, which can't be read"));
        }
        parsed
    }

    fn number<T>(&mut self, name: &'static str, range: RangeInclusive<u64>) -> T
    where
        T: TryFrom<u64> + Default,
    {
        let text = self.text(name).unwrap_or_default();
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => T::try_from(number).unwrap_or_default(),
            Ok(_) | Err(_) => {
                self.errors.push(format!("{name} is {text:?}, allowed are {} to {}", range.start(), range.end()));
                T::default()
            }
        }
    }

    fn seconds(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, range))
    }

    fn one_of<T: Copy>(&mut self, name: &'static str, values: &[(&str, T)]) -> T {
        let text = self.text(name).unwrap_or_default();
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == text) {
            return *value;
        }
        let allowed: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
        self.errors.push(format!("{name} is {text:?}, allowed are {}", allowed.join(", ")));
        values[0].1
    }

    fn networks(&mut self, name: &'static str) -> Vec<IpNet> {
        let list = self.text(name).unwrap_or_default();
        let mut networks = Vec::new();
        for item in items(&list) {
            match item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => self.errors.push(format!("{name}: {item:?} is no network")),
            }
        }
        networks
    }

    fn node_id(&mut self) -> NodeId {
        let id = self.raw("NODE_ID").unwrap_or_else(|| {
            let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            let host: String = host.trim().chars().filter(char::is_ascii_alphanumeric).take(32).collect();
            format!("{}-{:08x}", if host.is_empty() { "node" } else { &host }, rand::random::<u32>())
        });
        self.shown.insert("NODE_ID", id.clone());
        NodeId::parse(&id).unwrap_or_else(|error| {
            self.errors.push(format!("NODE_ID {error}"));
            NodeId::parse("invalid").unwrap_or_else(|_| unreachable!("the text is valid"))
        })
    }
}

fn default_of(name: &str) -> &'static str {
    OPTIONS.iter().find(|option| option.name == name).map_or("", |option| option.default)
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// `NAME=value` lines; quotes around a value are dropped, comments and other lines ignored.
fn parse_dotenv(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("export ").unwrap_or(line.trim()).split_once('='))
        .filter(|(name, _)| !name.trim_start().starts_with('#'))
        .map(|(name, value)| {
            let value = value.trim();
            let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
            (name.trim().to_owned(), quoted.unwrap_or(value).to_owned())
        })
        .collect()
}

/// The options as a Markdown table, for `docs/configuration.md`.
pub fn options_table() -> String {
    let mut table = String::from("| name | default | meaning |\n| --- | --- | --- |\n");
    for option in OPTIONS {
        let default = if option.default.is_empty() { "–".into() } else { format!("`{}`", option.default) };
        table.push_str(&format!("| `{}` | {default} | {} |\n", option.name, option.meaning));
    }
    table
}

/// Set variables that look like ours but are none: a typing error, or an option of another version.
pub fn unknown_options(variables: &BTreeMap<String, String>) -> BTreeSet<String> {
    const FAMILIES: [&str; 9] =
        ["REDIS_", "LARAVEL_", "AUTH_", "CALL_", "CALLER_", "PING_", "RING_", "NODE_A", "WEBHOOK_"];
    variables
        .keys()
        .filter(|name| FAMILIES.iter().any(|family| name.starts_with(family)))
        .filter(|name| {
            let base = name.strip_suffix("_FILE").unwrap_or(name);
            !OPTIONS.iter().any(|option| option.name == base)
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
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
            ("WEBHOOK_URL", "https://w"),
            ("NODE_ENV", "production"),
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
    fn every_option_is_read() {
        let config = read(&[]).unwrap();
        let read: BTreeSet<&str> = config.shown.keys().copied().collect();
        let listed: BTreeSet<&str> = OPTIONS.iter().map(|option| option.name).collect();
        assert_eq!(read, listed);
    }

    #[test]
    fn dotenv_is_read_like_the_deployed_server_reads_it() {
        let read = parse_dotenv("# c\nPORT=3002\nexport AUTH=\"insecure\"\nLARAVEL_API_SECRET='a=b'\n");
        assert_eq!(read["PORT"], "3002");
        assert_eq!(read["AUTH"], "insecure");
        assert_eq!(read["LARAVEL_API_SECRET"], "a=b");
    }
}
