use std::collections::BTreeMap;
use std::fmt;

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
    "PORT", "3001", "public port: Socket.IO, `/health`, `/ready`, `/api/`; 0 takes a free one";
    "LARAVEL_API_URL", "", "Laravel's address, with or without `/api/v1`; absent: local development mode";
    "LARAVEL_API_SECRET", "", "secret shared with Laravel, comma list of two while rotating; absent: `/api/` is off";
    "ALLOWED_ORIGINS", "*", "comma list of origins for CORS";
    "HOST", "0.0.0.0", "bind address; `127.0.0.1` in local development mode";
    "API_PORT", "", "port of their own for `/api/`, `/openapi.json` and `/docs`, which `PORT` answers with 404 then; absent: they are on `PORT`; 0 takes a free one";
    "ADMIN_PORT", "9001", "internal port: `/live`, `/ready`, `/metrics`; 0 takes a free one";
    "REDIS_URL", "", "`redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://`; absent: memory, one node";
    "REDIS_PREFIX", "signaling", "prefix of keys and channels";
    "NODE_ID", "", "unique per process start; default: host name and a random part";
    "NODE_ADDRESS", "", "how other nodes reach this one (`http://10.1.2.3:3001`); default: own address and `PORT`";
    "NODE_SECRET", "", "what requests between nodes prove themselves with; default: derived from `LARAVEL_API_SECRET`, else from `REDIS_URL`";
    "RING_TIMEOUT_SECS", "30", "how long a call rings, 5 to 180";
    "PING_INTERVAL_MS", "15000", "Engine.IO ping interval";
    "PING_TIMEOUT_MS", "10000", "Engine.IO ping timeout";
    "CALL_MAX_SECS", "14400", "upper bound of an active call";
    "MAX_SESSIONS_PER_DEVICE", "8", "sessions of one device of a user, 1 to 128; beyond it the oldest ends";
    "MAX_SESSIONS_PER_USER", "32", "sessions of a user over all devices and nodes, 1 to 128; beyond it the oldest ends, that of a party to a live call last";
    "MAX_SESSIONS", "50000", "transports of this node, whether they are sessions yet or not; beyond it handshakes get 503; 0: no limit (metric `signaling_limited_total{limit=\"sessions\"}`)";
    "MAX_CONNECTIONS", "0", "connections to the public port; beyond it they are closed at once; 0, and never more: what `RLIMIT_NOFILE` leaves beside a reserve (1,536; fewer where there are few) (`limit=\"connections\"`)";
    "MAX_CONNECTIONS_PER_ADDRESS", "8192", "of these from one client address, at most half of all; proxies in `TRUSTED_PROXIES` and other nodes are exempt; 0: no limit (`limit=\"connections_of_address\"`)";
    "HANDSHAKES_PER_SECOND", "5000", "new sockets a second on this node at most; below it they are let in as the node keeps up, within 250 ms, wait up to 10 s, and get 503 then; 0: no limit at all (`limit=\"handshakes\"`)";
    "HANDSHAKES_PER_ADDRESS_PER_SECOND", "2000", "new sockets a second from one client address, else 503; 0: no limit (`limit=\"address\"`)";
    "SESSION_REQUESTS_PER_ADDRESS_PER_SECOND", "2000", "polls, posts and upgrades of open sessions a second from one client address, else 503; 0: no limit (`limit=\"session_requests\"`)";
    "EVENTS_PER_MINUTE", "100", "call events a minute of one user, else ack `rate_limited`; of one websocket 256 frames, or packets of one polling session, are read at once and 400 a second after that; 0: no limit of either (`limit=\"events\"`; for hang-ups of one's own live call 10 a second, `limit=\"hang_ups\"`)";
    "MESSAGES_PER_MINUTE", "240", "messages between the parties of calls (`call:message`) a minute of one user on a node, and of one side of a call on all, apart from call events, else ack `rate_limited`; 0: no limit (`limit=\"messages\"`)";
    "RINGS_PER_CALLEE_PER_MINUTE", "6", "rings a minute of one callee by one caller, else ack `rate_limited`; 0: no limit (`limit=\"rings\"`)";
    "UNANSWERED_RINGS_PER_CALLEE", "3", "full rings (`RING_TIMEOUT_SECS`) of one caller that one callee may leave unanswered, then one in 10 minutes, else ack `rate_limited`; each costs what it rang, and an accept or a call back forgives all; 0: no limit (`limit=\"ring_time\"`)";
    "UNANSWERED_RINGS_PER_CALLER", "60", "the same of one caller at all callees together, then one a minute; 0: no limit (`limit=\"caller_ring_time\"`)";
    "PRESENCE_IDS_PER_MINUTE", "1000", "ids of users a minute that one user subscribes to or unsubscribes from, 500 at once in any case, else ack `rate_limited`; 0: no limit (`limit=\"presence_ids\"`)";
    "API_REQUESTS_PER_SECOND", "500", "requests a second to `/api/` and `/health` from one client address, else 429; 0: no limit (`limit=\"api\"`)";
    "TRUSTED_PROXIES", "", "networks whose `X-Forwarded-For` is believed, comma list";
    "OPEN_QUERIES", "private", "the two GET queries without secret: `private` (loopback and private peers, none where `TRUSTED_PROXIES` is set), `never`, `always`";
    "NODE_ENV", "", "`production` refuses to start where nobody verifies tokens; set it on every host that serves users";
    "AUTH", "laravel", "`laravel`, or `insecure`: accepts any token (development)";
    "AUTH_HOLD_SECS", "20", "how long a handshake waits for Laravel before its transport is closed";
    "AUTH_CACHE_SECS", "60", "how long a verified token is fresh";
    "AUTH_STALE_SECS", "900", "after the last session with a token was alive: accepted at once, checked in the background";
    "AUTH_CHECKS_PER_SECOND", "20", "background checks of tokens a second";
    "AUTH_NEW_TOKENS_PER_SECOND", "100", "requests a second from this node to Laravel for tokens that were never seen, shared fairly between client addresses (`signaling_token_checks_total{outcome=\"bounded\"}`); slowed while these fail";
    "INITIATE_CHECK", "off", "`off`, `observe` or `enforce`: whether an initiate is compared with Laravel";
    "VIDEO_SWITCH", "on", "`on` or `off`: whether an accepted call changes between audio and video (`call:upgrade`); `off` until all nodes know it";
    "VIDEO_ANSWER_SECS", "30", "how long a request for video waits for its answer";
    "LARAVEL_TIMEOUT_MS", "5000", "timeout of a request to Laravel";
    "VERDICT_TTL_SECS", "300", "how long an early command waits for its call";
    "ENDED_TTL_SECS", "600", "how long ended calls are kept";
    "CALLER_GRACE_SECS", "10", "time a ringing caller has to reconnect; 20 without `acks`";
    "CALL_GRACE_SECS", "60", "time a party to an accepted call has to reconnect";
    "LOST_CALL_SECS", "600", "when an accepted call is called lost of which both phones are away, neither with `acks`";
    "LARAVEL_CALLBACKS", "legacy", "`legacy`: a Laravel that knows no webhooks is told over its own REST API, in its users' names, and asked before a ring is given up; `off`";
    "WEBHOOK_URL", "", "where milestones of calls are told, signed; absent: nowhere";
    "WEBHOOK_SECRET", "", "`whsec_…` and the base64 of 24 to 64 bytes, comma list of two while rotating";
    "WEBHOOK_ALLOW_PRIVATE", "false", "whether `WEBHOOK_URL` may be a loopback or private address, and `http://`";
    "WEBHOOK_PRESENCE", "false", "whether `user.online` and `user.offline` are told too, as far as they can be";
    "INSPECTOR", "off", "`off` or `on`: whether `/inspector` of `ADMIN_PORT` shows nodes, live calls and why a phone did not ring; it names users; default in local development mode and with `--dev`: `on`";
    "DRAIN_DELAY_SECS", "5", "how long a node that stops is not ready before it closes transports: time for load balancers to notice; default in local development mode: 0";
    "DRAIN_SECS", "20", "window over which a node that stops closes its transports, parties of calls last; default in local development mode: 0";
    "LOG_FORMAT", "", "`json` or `text`; default: text on a terminal, else json";
    "WORKER_THREADS", "0", "threads that serve phones, 1 to 64; 0: one on up to two cores, where Redis and the kernel want the other, else one for each core";
    "LOG_LEVEL", "info", "log filter, as in `info` or `onlycare_signaling=debug`";
    "LOG_USERS", "plain", "`plain` or `hashed`: whether logs and traces name a user by id or by the first 16 digits of an HMAC of it";
    "LOG_USERS_KEY", "", "key of that HMAC, at least 16 characters, the same on every node; needed with `hashed`";
    "OTEL_EXPORTER_OTLP_ENDPOINT", "", "where traces of calls go, OTLP over HTTP (`http://collector:4318`; `/v1/traces` is added); absent: no traces";
    "OTEL_EXPORTER_OTLP_HEADERS", "", "headers for it, comma list of `name=value`, values percent-encoded; secret";
    "OTEL_SERVICE_NAME", "onlycare-signaling", "the service's name in traces";
    "OTEL_TRACES_SAMPLER_ARG", "1.0", "share of calls that is traced, 0 to 1, the same on every node";
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

/// A set variable that looks like one of ours and is none: a typing error, or an option of another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    /// The option that was meant, if one is near.
    pub near: Option<&'static str>,
}

impl Unknown {
    /// Whether it speaks of a backend, a store or a stage: nobody sets such a one who develops alone.
    pub(super) fn is_of_production(&self) -> bool {
        let upper = self.name.to_ascii_uppercase();
        let meant = self.near.unwrap_or(&upper);
        ["LARAVEL_", "REDIS_", "NODE_", "WEBHOOK_", "TRUSTED_"].iter().any(|family| meant.starts_with(family))
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no option", self.name)?;
        self.near.map_or(Ok(()), |near| write!(f, ", did you mean {near}?"))
    }
}

/// Set variables that look like ours but are none.
pub fn unknown_options(variables: &BTreeMap<String, String>) -> Vec<Unknown> {
    const FAMILIES: [&str; 11] = [
        "REDIS_", "LARAVEL_", "AUTH_", "CALL_", "CALLER_", "PING_", "RING_", "NODE_A", "WEBHOOK_", "LOG_USER", "OTEL_",
    ];
    let look = |name: &String| {
        let upper = name.to_ascii_uppercase().replace('-', "_");
        let base = upper.strip_suffix("_FILE").unwrap_or(&upper);
        let is_known = OPTIONS.iter().any(|option| option.name == base);
        if is_known && *name == upper {
            return None;
        }
        let near = OPTIONS.iter().map(|option| option.name).find(|known| is_near(base, known));
        let is_family = FAMILIES.iter().any(|family| upper.starts_with(family));
        (near.is_some() || is_family).then(|| Unknown { name: name.clone(), near })
    };
    variables.keys().filter(|name| !is_of_a_service(name)).filter_map(look).collect()
}

/// Whether Kubernetes, or Docker, sets a variable of this form for a service: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_HTTP`, `X_PORT`, `X_PORT_80_TCP`, `X_PORT_80_TCP_ADDR`.
fn is_of_a_service(name: &str) -> bool {
    let begins_with_a_number = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    ["_SERVICE_HOST", "_PORT"].iter().any(|end| name.ends_with(end))
        || name.contains("_SERVICE_PORT_")
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| begins_with_a_number(rest))
}

/// The same but for a letter in four, or for how the last word is shortened; of short names but for none, since other
/// programs have such too.
fn is_near(name: &str, known: &str) -> bool {
    let is_long = known.len() >= 8;
    name == known
        || (is_long && (distance(name, known) <= (known.len() / 4).min(3) || differs_in_an_abbreviation(name, known)))
}

/// `DRAIN_SECONDS` for `DRAIN_SECS`: the last word of one is that of the other with letters left out.
fn differs_in_an_abbreviation(one: &str, other: &str) -> bool {
    let (Some((first, one)), Some((same, other))) = (one.rsplit_once('_'), other.rsplit_once('_')) else {
        return false;
    };
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let mut letters = long.bytes();
    let is_left_over = |letter: u8| letters.any(|found| found == letter);
    first == same && short.len() >= 3 && short.as_bytes()[0] == long.as_bytes()[0] && short.bytes().all(is_left_over)
}

/// How many letters have to be put in, left out or exchanged (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], line + 1);
        for (column, b) in other.bytes().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(name: &str) -> Option<String> {
        let variables = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        unknown_options(&variables).first().map(ToString::to_string)
    }

    #[test]
    fn almost_known_names_are_told_what_was_meant() {
        for (name, meant) in [
            ("LARAVEL_API_URI", "LARAVEL_API_URL"),
            ("LARAVEL_APIURL", "LARAVEL_API_URL"),
            ("laravel_api_secret", "LARAVEL_API_SECRET"),
            ("LARAVEL_API_SECRETS_FILE", "LARAVEL_API_SECRET"),
            ("NODE-ENV", "NODE_ENV"),
            ("OPEN_QUERYS", "OPEN_QUERIES"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("MAX_SESSION", "MAX_SESSIONS"),
            ("Port", "PORT"),
            ("ADMIN_PORTS", "ADMIN_PORT"),
            ("OTEL_SERVICE_NAMES", "OTEL_SERVICE_NAME"),
            ("DRAIN_SECONDS", "DRAIN_SECS"),
            ("DRAIN_DELAY_SECONDS", "DRAIN_DELAY_SECS"),
            ("NODE_ENVIRONMENT", "NODE_ENV"),
            ("NODE_ADDR", "NODE_ADDRESS"),
        ] {
            let told = near(name).unwrap_or_default();
            assert!(told.contains(name) && told.ends_with(&format!("did you mean {meant}?")), "{name}: {told}");
        }
        assert_eq!(near("REDIS_CLUSTER_NODES"), Some("REDIS_CLUSTER_NODES is no option".into()));
    }

    #[test]
    fn other_programs_variables_are_theirs() {
        for name in ["PATH", "HOSTNAME", "POST", "LANG", "REDIS_SERVICE_HOST", "REDIS_PORT", "NODE_OPTIONS", "HOSTS"] {
            assert_eq!(near(name), None);
        }
        let service = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_PROTO"];
        for form in service {
            for of in ["REDIS", "NODE_API", "SIGNALING_PORT"] {
                assert_eq!(near(&format!("{of}_{form}")), None);
            }
        }
        for name in ["MAX_CONTEXT", "NODE_EXTRA_CA_CERTS", "NODE_INDEX", "DRAIN_SCRIPT", "LOG_FILE", "TRUSTED_HOSTS"] {
            assert_eq!(near(name), None);
        }
        for option in OPTIONS {
            assert_eq!((near(option.name), near(&format!("{}_FILE", option.name))), (None, None));
        }
    }
}
