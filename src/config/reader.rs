//! From text to values; what is wrong is collected.

mod access;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::log_level::log_level;
use super::node_address::node_address;
use super::options::{OPTIONS, unknown_options};
use super::places;
use super::sources::from_file;
use super::{Auth, AuthTimes, Config, Drain, Limits, ReadingTimes, Secret};
use crate::call::NodeId;
use crate::signaling::Policy;
use crate::socket::InitiateCheck;
use crate::store::{Retention, RingBudget};
use crate::telemetry::Users;
use crate::telemetry::log::LogFormat;
use crate::telemetry::trace;
use crate::webhook::{EndpointSettings, SigningSecret};

/// Shorter keys could be found by trying.
const USERS_KEY: usize = 16;
/// Reads options and collects what is wrong with them.
pub(super) struct Reader {
    pub variables: BTreeMap<String, String>,
    pub errors: Vec<String>,
    /// Started with `--dev`.
    pub dev: bool,
    pub shown: BTreeMap<&'static str, String>,
}

impl Reader {
    pub fn config(&mut self) -> Config {
        let unknown = unknown_options(&self.variables);
        let auth = self.auth();
        self.unless_set(&auth);
        self.refuse_memory_among_nodes(&auth);
        let (host, admin_host) = self.hosts(&auth);
        let (port, admin_port): (u16, u16) = (self.number("PORT", 0..=65_535), self.number("ADMIN_PORT", 0..=65_535));
        let api_port = self.text("API_PORT").is_some().then(|| self.number("API_PORT", 0..=65_535));
        self.refuse_a_shared_port(&[("PORT", Some(port)), ("API_PORT", api_port), ("ADMIN_PORT", Some(admin_port))]);
        let trusted_proxies = self.networks("TRUSTED_PROXIES");
        let redis_url = self.text("REDIS_URL");
        if let Some(url) = &redis_url {
            let usable = places::redis(url);
            self.checked(usable);
        }
        let redis_url = redis_url.map(Secret::new);
        let (ended, early_command) =
            (self.seconds("ENDED_TTL_SECS", 60..=86_400), self.seconds("VERDICT_TTL_SECS", 10..=3600));
        let mut policy = self.policy();
        let webhook = self.webhook();
        policy.webhooks = webhook.is_some();
        policy.presence_webhooks =
            self.one_of("WEBHOOK_PRESENCE", &[("false", false), ("true", true)]) && policy.webhooks;
        policy.callbacks = self.one_of("LARAVEL_CALLBACKS", &[("legacy", true), ("off", false)]);
        policy.callbacks &= matches!(auth, Auth::Laravel { .. });
        Config {
            host,
            admin_host,
            port,
            api_port,
            admin_port,
            auth,
            auth_times: AuthTimes {
                hold: self.seconds("AUTH_HOLD_SECS", 1..=40),
                cache: self.seconds("AUTH_CACHE_SECS", 0..=3600),
                stale: self.seconds("AUTH_STALE_SECS", 60..=86_400),
                checks_per_second: self.number("AUTH_CHECKS_PER_SECOND", 1..=10_000),
                new_tokens_per_second: self.number("AUTH_NEW_TOKENS_PER_SECOND", 1..=10_000),
                timeout: Duration::from_millis(self.number("LARAVEL_TIMEOUT_MS", 100..=60_000)),
            },
            initiate_check: self.one_of(
                "INITIATE_CHECK",
                &[
                    ("off", InitiateCheck::Off),
                    ("observe", InitiateCheck::Observe),
                    ("enforce", InitiateCheck::Enforce),
                ],
            ),
            video_switch: self.is_on("VIDEO_SWITCH"),
            api_secrets: self.api_secrets(),
            allowed_origins: self.origins(),
            open_queries: self.open_queries(&trusted_proxies),
            limits: Limits {
                sessions: self.number("MAX_SESSIONS", 0..=10_000_000),
                handshakes_per_second: self.number("HANDSHAKES_PER_SECOND", 0..=1_000_000),
                handshakes_per_address: self.number("HANDSHAKES_PER_ADDRESS_PER_SECOND", 0..=1_000_000),
                events_per_minute: self.number("EVENTS_PER_MINUTE", 0..=1_000_000),
                presence_ids_per_minute: self.number("PRESENCE_IDS_PER_MINUTE", 0..=1_000_000),
                api_per_second: self.number("API_REQUESTS_PER_SECOND", 0..=1_000_000),
                session_requests_per_second: self.number("SESSION_REQUESTS_PER_ADDRESS_PER_SECOND", 0..=1_000_000),
                connections: self.number("MAX_CONNECTIONS", 0..=10_000_000),
                connections_per_address: self.number("MAX_CONNECTIONS_PER_ADDRESS", 0..=10_000_000),
            },
            reading: ReadingTimes::default(),
            trusted_proxies,
            redis_url,
            redis_prefix: self.text("REDIS_PREFIX").unwrap_or_default(),
            node_id: self.node_id(),
            node_address: self.text("NODE_ADDRESS").and_then(|text| self.checked(node_address(&text))),
            node_secret: self.secret("NODE_SECRET").map(Secret::new),
            ping_interval: Duration::from_millis(self.number("PING_INTERVAL_MS", 1000..=60_000)),
            ping_timeout: Duration::from_millis(self.number("PING_TIMEOUT_MS", 1000..=60_000)),
            drain: Drain {
                delay: self.seconds("DRAIN_DELAY_SECS", 0..=600),
                window: self.seconds("DRAIN_SECS", 0..=3600),
            },
            inspector: self.is_on("INSPECTOR"),
            retention: Retention {
                live: policy.call_max + Duration::from_secs(3600),
                ended,
                early_command,
                messages_per_minute: self.number("MESSAGES_PER_MINUTE", 0..=1_000_000),
                rings_per_minute: self.number("RINGS_PER_CALLEE_PER_MINUTE", 0..=1000),
                ring_budget: RingBudget {
                    full_ring: policy.ring_timeout,
                    per_callee: self.number("UNANSWERED_RINGS_PER_CALLEE", 0..=1000),
                    per_caller: self.number("UNANSWERED_RINGS_PER_CALLER", 0..=10_000),
                },
            },
            policy,
            webhook,
            log_format: match self.text("LOG_FORMAT").as_deref() {
                None => LogFormat::Auto,
                Some("json") => LogFormat::Json,
                Some("text") => LogFormat::Text,
                Some(other) => {
                    self.errors.push(format!("LOG_FORMAT is {other:?}, allowed are json, text"));
                    LogFormat::Auto
                }
            },
            worker_threads: self.number("WORKER_THREADS", 0..=64),
            log_level: self.log_level(),
            log_users: self.log_users(),
            traces: self.traces(),
            unknown,
            shown: std::mem::take(&mut self.shown),
        }
    }

    fn log_level(&mut self) -> String {
        let text = self.text("LOG_LEVEL").unwrap_or_default();
        let read = log_level(&text);
        self.checked(read).unwrap_or_default()
    }

    fn checked<T>(&mut self, value: Result<T, String>) -> Option<T> {
        value.map_err(|error| self.errors.push(error)).ok()
    }

    fn policy(&mut self) -> Policy {
        let caller_grace = self.seconds("CALLER_GRACE_SECS", 1..=120);
        let explicit = self.is_set("CALLER_GRACE_SECS");
        Policy {
            ring_timeout: self.seconds("RING_TIMEOUT_SECS", 5..=180),
            caller_grace,
            caller_grace_without_acks: if explicit { caller_grace } else { Duration::from_secs(20) },
            call_grace: self.seconds("CALL_GRACE_SECS", 1..=3600),
            call_max: self.seconds("CALL_MAX_SECS", 60..=86_400),
            lost_call: self.seconds("LOST_CALL_SECS", 1..=3600),
            max_sessions_per_device: self.number("MAX_SESSIONS_PER_DEVICE", 1..=128),
            max_sessions_per_user: self.number("MAX_SESSIONS_PER_USER", 1..=128),
            video_answer: self.seconds("VIDEO_ANSWER_SECS", 1..=300),
            accept_hold: Duration::from_secs(8),
            accept_repeat: Duration::from_secs(2),
            lease: Duration::from_secs(10),
            lease_renewal: Duration::from_secs(3),
            late_decision: Duration::from_secs(2),
            heal_ringing: Duration::from_secs(2),
            heal_active: Duration::from_secs(10),
            webhooks: false,
            presence_webhooks: false,
            callbacks: false,
        }
    }

    fn webhook(&mut self) -> Option<EndpointSettings> {
        let url = self.text("WEBHOOK_URL");
        self.shown.insert("WEBHOOK_URL", places::without_path(url.as_deref().unwrap_or_default()));
        let list = self.secret("WEBHOOK_SECRET").unwrap_or_default();
        let allow_private = self.one_of("WEBHOOK_ALLOW_PRIVATE", &[("false", false), ("true", true)]);
        let mut secrets = Vec::new();
        for item in items(&list) {
            match SigningSecret::parse(item) {
                Ok(secret) => secrets.push(secret),
                Err(error) => self.errors.push(format!("WEBHOOK_SECRET {error}")),
            }
        }
        if url.is_some() == list.is_empty() {
            self.errors.push("WEBHOOK_URL and WEBHOOK_SECRET need each other".into());
        }
        let settings = EndpointSettings { url: url?, secrets, allow_private };
        if let Err(error) = settings.check() {
            self.errors.push(error.to_string());
        }
        Some(settings)
    }

    fn log_users(&mut self) -> Users {
        let hashed = self.one_of("LOG_USERS", &[("plain", false), ("hashed", true)]);
        let key = self.secret("LOG_USERS_KEY").unwrap_or_default();
        if hashed && key.len() < USERS_KEY {
            self.errors
                .push(format!("LOG_USERS is hashed, which needs a LOG_USERS_KEY of at least {USERS_KEY} characters"));
        }
        if hashed { Users::Hashed(key.into_bytes()) } else { Users::Plain }
    }

    fn traces(&mut self) -> Option<trace::ExporterSettings> {
        let endpoint = self.text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let headers = self.secret("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let service = self.text("OTEL_SERVICE_NAME").unwrap_or_default();
        let ratio = self.text("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default();
        let ratio = ratio.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
            self.errors.push(format!("OTEL_TRACES_SAMPLER_ARG is {ratio:?}, allowed are 0 to 1"));
            1.0
        });
        // One without a name or with broken escapes is found by the check.
        let header = |item: &str| {
            let (name, value) = item.split_once('=').unwrap_or_default();
            (name.trim().to_owned(), unescaped(value.trim()).unwrap_or_else(|| "\n".into()))
        };
        let settings = trace::ExporterSettings {
            endpoint: endpoint?,
            headers: items(&headers).map(header).collect(),
            service,
            ratio,
        };
        if let Err(error) = settings.check() {
            self.errors.push(error.to_string());
        }
        Some(settings)
    }

    /// The value. An empty one counts as none, and so does what Kubernetes and Docker say of a service called `api`, or `admin`.
    fn given(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.trim();
        let is_a_link = name.ends_with("_PORT") && value.starts_with("tcp://");
        (!value.is_empty() && !is_a_link).then_some(value)
    }

    /// The value, or the content of the file that `<NAME>_FILE` names.
    fn raw(&mut self, name: &str) -> Option<String> {
        let value = self.given(name).map(str::to_owned);
        let Some(path) = self.variables.get(&format!("{name}_FILE")) else { return value };
        if value.is_some() {
            self.errors.push(format!("{name} and {name}_FILE are both set"));
        }
        from_file(path).map_err(|why| self.errors.push(format!("{name}_FILE {why}"))).ok()
    }

    /// Whether the option has a value of its own.
    fn is_set(&self, name: &str) -> bool {
        self.given(name).is_some() || self.variables.contains_key(&format!("{name}_FILE"))
    }

    fn secret(&mut self, name: &'static str) -> Option<String> {
        let value = self.raw(name);
        self.shown.insert(name, if value.is_some() { "***".into() } else { String::new() });
        value
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.raw(name).or_else(|| Some(default_of(name).to_owned()).filter(|text| !text.is_empty()));
        self.shown.insert(name, places::without_secrets(value.as_deref().unwrap_or_default()));
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

    /// An `on` without quotes is `true` to YAML.
    fn is_on(&mut self, name: &'static str) -> bool {
        self.one_of(name, &[("on", true), ("off", false), ("true", true), ("false", false)])
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

pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The text with `%41` for `A`; absent where an escape is broken.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
