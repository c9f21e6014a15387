//! Who is let in: who verifies tokens, the secrets, origins, and what a node for trying out does without.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::super::options::{Unknown, unknown_options};
use super::super::{Auth, OpenQueries, Secret, places};
use super::{Reader, items};

/// What two generated secrets with a comma between have at least, and the parts of one that holds a comma hardly do.
const ROTATED_SECRET: usize = 16;
/// Whoever sets one of these does not develop.
const PRODUCTION: [&str; 7] = [
    "LARAVEL_API_SECRET",
    "REDIS_URL",
    "ALLOWED_ORIGINS",
    "NODE_ADDRESS",
    "NODE_SECRET",
    "TRUSTED_PROXIES",
    "WEBHOOK_URL",
];

/// What a node that is started with `--dev` would be mistaken with.
const NOT_WITH_DEV: [&str; 5] = ["LARAVEL_API_URL", "REDIS_URL", "NODE_ADDRESS", "NODE_SECRET", "TRUSTED_PROXIES"];
/// Words of `NODE_ENV` that a developer sets.
const STAGES_OF_DEVELOPERS: [&str; 5] = ["", "development", "dev", "test", "local"];
/// What other values than those for production a node for trying out has, unless they are set.
const FOR_TRYING_OUT: [(&str, &str); 8] = [
    ("INSPECTOR", "on"),
    ("DRAIN_DELAY_SECS", "0"),
    ("DRAIN_SECS", "0"),
    ("EVENTS_PER_MINUTE", "0"),
    ("PRESENCE_IDS_PER_MINUTE", "0"),
    ("RINGS_PER_CALLEE_PER_MINUTE", "0"),
    ("UNANSWERED_RINGS_PER_CALLEE", "0"),
    ("UNANSWERED_RINGS_PER_CALLER", "0"),
];

impl Reader {
    /// A comma in a secret would make two of it, each easier to guess than the whole, and Laravel would send the whole.
    pub(super) fn api_secrets(&mut self) -> Vec<Secret> {
        const NAME: &str = "LARAVEL_API_SECRET";
        let list = self.secret(NAME).unwrap_or_default();
        if list.contains(|c: char| c.is_control()) {
            self.errors.push(format!("{NAME} holds a character that no header can carry"));
        }
        let parts: Vec<&str> = list.split(',').map(str::trim).collect();
        if parts.len() > 1 && (parts.len() > 2 || parts.iter().any(|part| part.len() < ROTATED_SECRET)) {
            self.errors.push(format!(
                "{NAME} has a comma, which stands between the new and the old one while a secret is rotated: it may be \
                 two, each of at least {ROTATED_SECRET} characters; a single one must have none"
            ));
        }
        items(&list).map(Secret::new).collect()
    }

    pub(super) fn origins(&mut self) -> Vec<String> {
        let list = self.text("ALLOWED_ORIGINS").unwrap_or_default();
        places::origins(&list).unwrap_or_else(|errors| {
            self.errors.extend(errors);
            Vec::new()
        })
    }

    pub(super) fn open_queries(&mut self, proxies: &[IpNet]) -> OpenQueries {
        let choices =
            [("private", OpenQueries::Private), ("never", OpenQueries::Never), ("always", OpenQueries::Always)];
        match self.one_of("OPEN_QUERIES", &choices) {
            OpenQueries::Private if !proxies.is_empty() => OpenQueries::Never,
            open => open,
        }
    }

    /// Where the node binds, and where its admin port. With `--dev` whoever tries it out has to see the public port from
    /// outside of a container, and nobody the other one.
    pub(super) fn hosts(&mut self, auth: &Auth) -> (IpAddr, IpAddr) {
        let (here, anywhere) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let host = self.parsed("HOST").unwrap_or(if *auth == Auth::LocalDevelopment { here } else { anywhere });
        self.shown.insert("HOST", host.to_string());
        if *auth == Auth::LocalDevelopment && !host.is_loopback() {
            self.errors.push(format!(
                "HOST is {host} but nobody verifies tokens: set LARAVEL_API_URL, or AUTH=insecure for development"
            ));
        }
        (host, if *auth == Auth::Dev { here } else { host })
    }

    pub(super) fn refuse_a_shared_port(&mut self, ports: &[(&str, Option<u16>)]) {
        let taken = ports.iter().filter_map(|(name, port)| Some((name, port.filter(|port| *port > 0)?)));
        for (place, (name, port)) in taken.clone().enumerate() {
            for (other, _) in taken.clone().skip(place + 1).filter(|(_, other)| *other == port) {
                self.errors.push(format!("{name} and {other} are both {port}: they can't share one"));
            }
        }
    }

    pub fn admin_address(&mut self) -> SocketAddr {
        let host = self.parsed("HOST").filter(|host: &IpAddr| !host.is_unspecified());
        let port: u16 = self.number("ADMIN_PORT", 1..=65_535);
        SocketAddr::new(host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)
    }

    /// Other defaults, where somebody tries the server out.
    pub(super) fn unless_set(&mut self, auth: &Auth) {
        let defaults: &[_] = match auth {
            Auth::LocalDevelopment => &[&FOR_TRYING_OUT[..]],
            Auth::Dev => &[&FOR_TRYING_OUT[..], &[("LOG_FORMAT", "text")]],
            Auth::Insecure | Auth::Laravel { .. } => &[],
        };
        for (name, value) in defaults.iter().copied().flatten() {
            if !self.is_set(name) {
                self.variables.insert((*name).into(), (*value).into());
            }
        }
    }

    pub(super) fn auth(&mut self) -> Auth {
        let url = self.text("LARAVEL_API_URL");
        let insecure = self.one_of("AUTH", &[("laravel", false), ("insecure", true)]);
        let stage = self.text("NODE_ENV").unwrap_or_default().to_ascii_lowercase();
        if self.dev {
            self.refuse_dev(&stage);
            return Auth::Dev;
        }
        match (insecure, url) {
            (true, _) => {
                if ["production", "prod", "live"].contains(&stage.as_str()) {
                    self.errors.push(format!("AUTH is insecure but NODE_ENV is {stage}"));
                }
                Auth::Insecure
            }
            (false, Some(url)) => {
                let url = places::laravel(&url);
                Auth::Laravel { url: self.checked(url).unwrap_or_default() }
            }
            (false, None) => {
                self.refuse_development(&stage);
                Auth::LocalDevelopment
            }
        }
    }

    /// Nodes find each other in Redis: what is set for other nodes says that there are some.
    pub(super) fn refuse_memory_among_nodes(&mut self, auth: &Auth) {
        if !matches!(auth, Auth::Laravel { .. }) || self.is_set("REDIS_URL") {
            return;
        }
        for name in ["NODE_ADDRESS", "NODE_SECRET"] {
            if self.is_set(name) {
                self.errors.push(format!(
                    "{name} is set, which is for other nodes, but REDIS_URL is not: without it none knows of another"
                ));
            }
        }
    }

    /// `--dev` must not open a host that serves users.
    fn refuse_dev(&mut self, stage: &str) {
        for name in NOT_WITH_DEV {
            if self.is_set(name) {
                self.errors
                    .push(format!("{name} is set, and --dev accepts any token: it is for trying out, without {name}"));
            }
        }
        if !STAGES_OF_DEVELOPERS.contains(&stage) {
            self.errors.push(format!("--dev accepts any token but NODE_ENV is {stage}"));
        }
    }

    /// A lost LARAVEL_API_URL must not open a production host.
    fn refuse_development(&mut self, stage: &str) {
        for name in PRODUCTION {
            if self.is_set(name) {
                self.errors.push(format!(
                    "{name} is set but LARAVEL_API_URL is not: set it, or AUTH=insecure for development"
                ));
            }
        }
        for unknown in unknown_options(&self.variables).into_iter().filter(Unknown::is_of_production) {
            self.errors.push(format!("without LARAVEL_API_URL any token would be accepted, and {unknown}"));
        }
        if !STAGES_OF_DEVELOPERS.contains(&stage) {
            self.errors.push(format!("NODE_ENV is {stage} but LARAVEL_API_URL is not set"));
        }
    }
}
