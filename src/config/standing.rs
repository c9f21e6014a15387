//! What was found, in words for people: `--check-config` and the log at the start.

use std::net::SocketAddr;

use super::{Auth, Config, OpenQueries};

/// The mode, who verifies tokens, the store, Laravel, and what else is open; no secrets.
pub struct Standing {
    pub mode: &'static str,
    pub auth: &'static str,
    pub laravel: String,
    pub store: String,
    pub api: String,
    pub queries: &'static str,
    pub listens: String,
    pub limits: String,
}

impl Standing {
    /// A line each.
    pub fn lines(&self) -> [(&'static str, &str); 8] {
        [
            ("mode", self.mode),
            ("auth", self.auth),
            ("laravel", &self.laravel),
            ("store", &self.store),
            ("/api/", &self.api),
            ("queries", self.queries),
            ("listens", &self.listens),
            ("limits", &self.limits),
        ]
    }
}

impl Config {
    pub fn standing(&self) -> Standing {
        let (mode, auth) = match &self.auth {
            Auth::LocalDevelopment => ("LOCAL DEVELOPMENT, for this machine only", "ANY TOKEN IS ACCEPTED"),
            Auth::Insecure => ("INSECURE, for development", "ANY TOKEN IS ACCEPTED"),
            Auth::Dev => ("--dev, FOR TRYING OUT", "ANY TOKEN IS ACCEPTED"),
            Auth::Laravel { .. } => ("production", "Laravel verifies tokens"),
        };
        let laravel = match &self.auth {
            Auth::Laravel { url } => without_credentials(url),
            Auth::LocalDevelopment | Auth::Insecure | Auth::Dev => "none".into(),
        };
        let store = match &self.redis_url {
            Some(url) => without_credentials(url.expose()),
            None => "memory of this node, alone".into(),
        };
        let api = match (self.is_local(), self.api_secrets.len()) {
            (true, _) => "open without a secret".into(),
            (false, 0) => "off, LARAVEL_API_SECRET is not set".into(),
            (false, count) => format!("with X-Internal-Secret, {count} known"),
        };
        let queries = match self.open_queries {
            OpenQueries::Never => "with the secret only",
            OpenQueries::Private => "open to loopback and private peers",
            OpenQueries::Always => "OPEN TO EVERYBODY",
        };
        let (public, admin) =
            (SocketAddr::new(self.host, self.port), SocketAddr::new(self.admin_host, self.admin_port));
        let others = self.node_address.as_ref().map(|address| format!(", to other nodes {address}"));
        let api_port = self.api_port.map(|port| format!(", /api/ {}", SocketAddr::new(self.host, port)));
        let (api_port, others) = (api_port.unwrap_or_default(), others.unwrap_or_default());
        let listens = format!("{public}{api_port}, admin {admin}{others}");
        Standing { mode, auth, laravel, store, api, queries, listens, limits: self.limits_in_words() }
    }

    fn limits_in_words(&self) -> String {
        let (limits, rings) = (&self.limits, &self.retention);
        let all = [
            ("MAX_SESSIONS", limits.sessions as u64),
            ("HANDSHAKES_PER_SECOND", limits.handshakes_per_second.into()),
            ("HANDSHAKES_PER_ADDRESS_PER_SECOND", limits.handshakes_per_address.into()),
            ("EVENTS_PER_MINUTE", limits.events_per_minute.into()),
            ("RINGS_PER_CALLEE_PER_MINUTE", rings.rings_per_minute.into()),
            ("API_REQUESTS_PER_SECOND", limits.api_per_second.into()),
        ];
        let words = all.map(|(name, limit)| match limit {
            0 => format!("{name} none"),
            limit => format!("{name} {limit}"),
        });
        words.join(", ")
    }

    /// What is open and should be known, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.unknown.iter().map(ToString::to_string).collect();
        match self.auth {
            Auth::LocalDevelopment => lines.push(
                "LOCAL DEVELOPMENT MODE: ANY TOKEN IS ACCEPTED and /api/ is open, on this machine; set LARAVEL_API_URL to \
                 serve users, and start with --dev to try it out from outside of a container"
                    .into(),
            ),
            Auth::Insecure => lines.push("AUTH=insecure: ANY TOKEN IS ACCEPTED; this is for development".into()),
            Auth::Dev => lines.push(
                "--dev: ANY TOKEN IS ACCEPTED from anywhere, limits are off and nothing is kept: for trying out, NOT FOR \
                 PRODUCTION"
                    .into(),
            ),
            Auth::Laravel { .. } if self.redis_url.is_none() => lines.push(
                "REDIS_URL is not set: calls are in the memory of this node, end with it, and reach nobody on \
                 another; every node of a cluster needs the same one"
                    .into(),
            ),
            Auth::Laravel { .. } => {}
        }
        if self.api_secrets.len() > 1 {
            lines.push(
                "LARAVEL_API_SECRET is two secrets with a comma between: both are accepted while one is rotated".into(),
            );
        }
        if self.inspector && !self.admin_host.is_loopback() {
            lines.push("INSPECTOR=on: whoever reaches ADMIN_PORT sees who calls whom".into());
        }
        let has_api = !self.api_secrets.is_empty();
        match self.open_queries {
            OpenQueries::Always if has_api => {
                lines.push("OPEN_QUERIES=always: EVERYBODY may ask who is online without the secret".into());
            }
            OpenQueries::Private if has_api => lines.push(
                "OPEN_QUERIES=private: whoever comes from a loopback or private address may ask who is online WITHOUT \
                 THE SECRET; behind a load balancer set OPEN_QUERIES=never"
                    .into(),
            ),
            OpenQueries::Always | OpenQueries::Private | OpenQueries::Never => {}
        }
        lines
    }

    fn is_local(&self) -> bool {
        self.auth == Auth::LocalDevelopment
    }
}

/// Scheme and hosts of a URL, without user, password, path and query.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // A password may hold a slash: what comes before the last at sign is never shown.
    let hosts = rest.rsplit('@').next().unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{hosts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Config {
        let variables = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Config::from_variables(variables).unwrap()
    }

    fn told(pairs: &[(&str, &str)]) -> String {
        let config = read(pairs);
        let lines: Vec<String> =
            config.standing().lines().iter().map(|(name, found)| format!("{name}: {found}")).collect();
        [lines, config.warnings()].concat().join("\n")
    }

    #[test]
    fn an_open_node_says_so_loudly() {
        for open in [&[][..], &[("AUTH", "insecure")]] {
            let told = told(open);
            assert!(told.matches("ANY TOKEN IS ACCEPTED").count() >= 2, "{told}");
        }
        assert!(told(&[]).contains("--dev"), "a container that nobody reaches says what would help");
        let told = told(&[("LARAVEL_API_URL", "https://u:hush@l.test/api/v1"), ("NODE_ENV", "production")]);
        assert!(told.contains("laravel: https://l.test") && told.contains("mode: production"), "{told}");
        assert!(!told.contains("ANY TOKEN") && !told.contains("hush"), "{told}");
    }

    #[test]
    fn a_store_is_named_without_its_password() {
        for url in [
            "redis://u:hush%2Fhush@r:1/0",
            "redis-sentinel://:hush@a:1?sentinelServiceName=s&sentinelPassword=hush",
            "rediss://:hush@r",
        ] {
            let told = told(&[("LARAVEL_API_URL", "https://l.test"), ("REDIS_URL", url)]);
            assert!(told.contains("store: redis") && !told.contains("hush"), "{told}");
        }
        assert_eq!(without_credentials("redis://u:hush/hush@r:1/0"), "redis://r:1");
    }

    #[test]
    fn a_node_that_knows_no_other_says_so() {
        let with = |more: &[(&str, &str)]| {
            let config = read(&[&[("LARAVEL_API_URL", "https://l.test")][..], more].concat());
            config.warnings().iter().any(|line| line.starts_with("REDIS_URL is not set"))
        };
        assert!(with(&[]) && with(&[("REDIS_URL", " ")]));
        assert!(!with(&[("REDIS_URL", "redis://r")]));
        assert!(!read(&[]).warnings().join("\n").contains("REDIS_URL"), "nobody expects another one");
    }

    #[test]
    fn private_queries_need_a_node_without_proxies_and_are_said() {
        let with = |more: &[(&str, &str)]| {
            let base = [("LARAVEL_API_URL", "https://l.test"), ("LARAVEL_API_SECRET", "s")];
            let config = read(&[&base[..], more].concat());
            (config.open_queries, config.warnings().join("\n").contains("OPEN_QUERIES"))
        };
        assert_eq!(with(&[]), (OpenQueries::Private, true));
        assert_eq!(with(&[("TRUSTED_PROXIES", "10.0.0.0/8")]), (OpenQueries::Never, false));
        let both = [("TRUSTED_PROXIES", "10.0.0.0/8"), ("OPEN_QUERIES", "private")];
        assert_eq!(with(&both), (OpenQueries::Never, false));
        assert_eq!(with(&[("OPEN_QUERIES", "never")]), (OpenQueries::Never, false));
        assert_eq!(with(&[("OPEN_QUERIES", "always")]), (OpenQueries::Always, true));
    }
}
