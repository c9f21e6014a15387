use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use onlycare_signaling::app::{App, Shared};
use onlycare_signaling::call::{Call, CallId, Timestamp, UserId};
use onlycare_signaling::clock::Clock;
use onlycare_signaling::config::Config;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::phone::{Phone, Profile};
use super::redis;

pub const SECRET: &str = "between-laravel-and-us";
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Memory,
    Redis,
}

/// Nodes in this process that form one cluster.
pub struct Cluster {
    pub nodes: Vec<App>,
    pub shared: Shared,
    pub clock: Clock,
}

/// A configuration for tests; `pairs` win.
pub fn config(pairs: &[(&str, &str)]) -> Config {
    let base = [
        ("AUTH", "insecure"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("HOST", "127.0.0.1"),
        ("LARAVEL_API_SECRET", SECRET),
        ("EVENTS_PER_MINUTE", "0"),
        ("MESSAGES_PER_MINUTE", "0"),
        ("PRESENCE_IDS_PER_MINUTE", "0"),
        ("RINGS_PER_CALLEE_PER_MINUTE", "0"),
        ("UNANSWERED_RINGS_PER_CALLEE", "0"),
        ("UNANSWERED_RINGS_PER_CALLER", "0"),
        ("HANDSHAKES_PER_SECOND", "0"),
        ("HANDSHAKES_PER_ADDRESS_PER_SECOND", "0"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
        ("SESSION_REQUESTS_PER_ADDRESS_PER_SECOND", "0"),
        ("API_REQUESTS_PER_SECOND", "0"),
    ];
    let variables: BTreeMap<String, String> =
        base.iter().chain(pairs).map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Config::from_variables(variables).expect("a usable configuration")
}

impl Cluster {
    pub async fn start(backend: Backend, nodes: usize) -> Self {
        Self::tuned(backend, nodes, |_| {}).await
    }

    /// Starts nodes whose configuration `tune` changed.
    pub async fn tuned(backend: Backend, nodes: usize, tune: impl Fn(&mut Config)) -> Self {
        let url = match backend {
            Backend::Memory => None,
            Backend::Redis => Some(redis::shared().url()),
        };
        let urls: Vec<_> = (0..nodes).map(|_| url.clone()).collect();
        Self::build(&urls, Clock::system(), tune).await
    }

    /// One node for each address of a Redis, which may be the same or proxies before it.
    pub async fn on(urls: &[String]) -> Self {
        Self::on_tuned(urls, |_| {}).await
    }

    pub async fn on_tuned(urls: &[String], tune: impl Fn(&mut Config)) -> Self {
        let urls: Vec<_> = urls.iter().cloned().map(Some).collect();
        Self::build(&urls, Clock::system(), tune).await
    }

    /// Nodes on memory whose time stands still until it is moved.
    pub async fn manual(nodes: usize) -> Self {
        Self::manual_tuned(nodes, |_| {}).await
    }

    pub async fn manual_tuned(nodes: usize, tune: impl Fn(&mut Config)) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        Self::build(&vec![None; nodes], clock, tune).await
    }

    /// Nodes on one memory whose clocks are apart: each is this many seconds ahead of the first.
    pub async fn with_clocks(ahead: &[u64]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let shared = Shared::memory(&config(&[]), &clock);
        let mut nodes = Vec::new();
        for ahead in ahead {
            let own = Clock::manual(Timestamp::from_millis(1_800_000_000_000 + ahead * 1000));
            let config = config(&[("REDIS_PREFIX", "clocks")]);
            nodes.push(App::start_with(config, own, shared.clone(), TaskTracker::new()).await.expect("a node"));
        }
        Self { nodes, shared, clock }
    }

    async fn build(urls: &[Option<String>], clock: Clock, tune: impl Fn(&mut Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let prefix = format!("t{:016x}", rand::random::<u64>());
        let mut started = Vec::new();
        let mut common: Option<Shared> = None;
        for url in urls {
            let mut pairs = vec![("REDIS_PREFIX", prefix.as_str())];
            if let Some(url) = url {
                pairs.push(("REDIS_URL", url));
            }
            let mut config = config(&pairs);
            tune(&mut config);
            let tasks = TaskTracker::new();
            let shared = match (&common, url) {
                (Some(shared), None) => shared.clone(),
                // A node waits for its store for as long as that takes.
                _ => {
                    let opened = tokio::time::timeout(PATIENCE, Shared::open(&config, &clock, &tasks)).await;
                    opened.expect("the store is there").expect("a store")
                }
            };
            common.get_or_insert_with(|| shared.clone());
            started.push(App::start_with(config, clock.clone(), shared, tasks).await.expect("a node"));
        }
        Self { nodes: started, shared: common.expect("at least one node"), clock }
    }

    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].public
    }

    pub async fn phone(&self, node: usize, user: &str) -> Phone {
        Phone::connect(self.address(node), Profile::of(user)).await
    }

    pub async fn phone_with(&self, node: usize, profile: Profile) -> Phone {
        Phone::connect(self.address(node), profile).await
    }

    pub async fn post(&self, node: usize, path: &str, body: Value) -> (u16, Value) {
        post(self.address(node), path, Some(SECRET), body).await
    }

    pub async fn get(&self, node: usize, path: &str) -> (u16, Value) {
        get(self.address(node), path).await
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The stored call's state by its wire name, and the reason where it ended.
    pub async fn state(&self, call: &str) -> (&'static str, Option<&'static str>) {
        let id = CallId::parse(call).expect("a call id");
        let call = self.shared.calls.load(&id).await.expect("the store answers").expect("the call is stored");
        (call.state.name(), call.end().map(|end| end.reason.name()))
    }

    /// Waits until no session of this user is stored. A node stores the absence that follows from a lost one first: who
    /// advances the clock, dials or copies the store in between does so with a user who is still there.
    pub async fn has_left(&self, user: &str) {
        let user = UserId::parse(user).expect("a user id");
        super::until("the user has left", Duration::from_secs(15), async || {
            self.shared.sessions.sessions(&user).await.is_ok_and(|sessions| sessions.is_empty())
        })
        .await;
    }

    /// Waits until whom this stored call notes as absent has left.
    pub async fn absentees_have_left(&self, call: &Call) {
        for party in [&call.caller, &call.callee].into_iter().filter(|party| party.absent_since.is_some()) {
            self.has_left(party.user.as_str()).await;
        }
    }

    /// Waits until a line is free: a hang-up may be acknowledged a moment before.
    pub async fn assert_free(&self, users: &[&str]) {
        for user in users {
            let line =
                self.shared.calls.line(&UserId::parse(user).expect("a user id")).await.expect("the store answers");
            assert!(line.is_none(), "{user} is still on a line: {line:?}");
        }
    }

    /// No live call, line or deadline is left; then stops all nodes and asserts that no session is left.
    pub async fn close(self) {
        assert_eq!(self.shared.calls.live_calls().await.expect("the store answers"), 0, "live calls are left");
        let shared = self.shared.clone();
        for node in self.nodes {
            node.stop().await;
        }
        let online = shared.sessions.online_users().await.expect("the store answers");
        assert!(online.is_empty(), "sessions are left: {online:?}");
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}

pub async fn post(address: SocketAddr, path: &str, secret: Option<&str>, body: Value) -> (u16, Value) {
    post_bytes(address, path, secret, body.to_string().into_bytes()).await
}

pub async fn post_bytes(address: SocketAddr, path: &str, secret: Option<&str>, body: Vec<u8>) -> (u16, Value) {
    let mut request = client().post(format!("http://{address}{path}")).body(body);
    if let Some(secret) = secret {
        request = request.header("x-internal-secret", secret);
    }
    read(request.send().await.expect("an answer")).await
}

pub async fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    read(client().get(format!("http://{address}{path}")).send().await.expect("an answer")).await
}

pub async fn get_with(address: SocketAddr, path: &str, header: (&str, &str)) -> (u16, Value) {
    let request = client().get(format!("http://{address}{path}")).header(header.0, header.1);
    read(request.send().await.expect("an answer")).await
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
    (status, body)
}
