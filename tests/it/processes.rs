//! Real processes: a node that is killed, a node whose clock is wrong.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::call::CallId;
use onlycare_signaling::clock::Clock;
use onlycare_signaling::store::redis::{RedisOutbox, connect};
use onlycare_signaling::store::{Outbox, OutboxBounds, OutboxMessage, Queue};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::harness::cluster::{SECRET, get, get_with, post};
use crate::harness::collector::Collector;
use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::{unique, unique_call};
use crate::harness::receiver::{Answer, Receiver, SIGNING_SECRET};
use crate::harness::redis::{self, shared};
use crate::harness::{Phone, Profile};

/// A node in a process of its own, killed when dropped.
pub struct Node {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    /// What it printed so far.
    log: Arc<Mutex<String>>,
}

impl Node {
    pub fn start(prefix: &str, variables: &[(&str, &str)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_onlycare-signaling")), prefix, variables)
    }

    /// A node that may have so many descriptors open.
    pub fn start_limited(prefix: &str, variables: &[(&str, &str)], descriptors: usize) -> Self {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_onlycare-signaling");
        command.args(["-c", &format!("ulimit -n {descriptors} && exec {program}")]);
        Self::run(command, prefix, variables)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// Its resident memory.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    }

    fn run(mut command: Command, prefix: &str, variables: &[(&str, &str)]) -> Self {
        command
            .current_dir(std::env::temp_dir())
            .env_clear()
            .envs([("AUTH", "insecure"), ("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0")])
            .envs([("REDIS_URL", shared().url().as_str()), ("REDIS_PREFIX", prefix), ("LOG_FORMAT", "json")])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut lines = output.lines();
        let log = Arc::new(Mutex::new(String::new()));
        let (public, admin) = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                log.lock().push_str(&line);
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                Some((line["public"].as_str()?.parse().ok()?, line["admin"].as_str()?.parse().ok()?))
            })
            .expect("it listens");
        let to_log = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                to_log.lock().push_str(&line);
            }
        });
        Self { child, public, admin, log }
    }

    /// `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        redis::signal(&self.child.id().to_string(), name);
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn prefix() -> String {
    format!("t{:016x}", rand::random::<u64>())
}

/// Two nodes, the caller on the first, the callee on the second; the first is killed while it rings.
async fn kill_the_callers_node(variables: &[(&str, &str)]) -> (Duration, serde_json::Value, Phone, Node) {
    let prefix = prefix();
    let mut first = Node::start(&prefix, variables);
    let second = Node::start(&prefix, variables);
    // A node judges leases only after its own held for one: as in any cluster that runs.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let ana = Phone::connect(first.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(second.public, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    first.kill();
    let started = Instant::now();
    let cancelled = bo.expect_within("call:cancelled", Duration::from_secs(40)).await;
    assert_eq!(cancelled["callId"], id.as_str());
    let took = started.elapsed();
    // Both lines are free: the callee rings a user whose line the dead call held, and is rung.
    let ana = Phone::connect(second.public, Profile::of(&ana.user)).await;
    let next = unique_call();
    bo.rings(&next, &ana).await;
    bo.cancel(&next).await;
    ana.expect("call:cancelled").await;
    (took, cancelled, bo, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_callers_ring_ends_at_its_deadline() {
    let (took, cancelled, bo, _node) = kill_the_callers_node(&[("RING_TIMEOUT_SECS", "5")]).await;
    assert_eq!(cancelled["reason"], "Timeout");
    assert!(took < Duration::from_secs(6), "the ring lasted {took:?}");
    bo.assert_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_callers_ring_ends_at_lease_and_grace() {
    let (took, cancelled, bo, _node) = kill_the_callers_node(&[("CALLER_GRACE_SECS", "2")]).await;
    assert_eq!(cancelled["reason"], "User disconnected");
    // The lease had between 7 and 10 s left.
    let bounds = Duration::from_millis(8500)..Duration::from_millis(13_000);
    assert!(bounds.contains(&took), "the ring lasted {took:?}");
    bo.assert_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_ahead_rings_as_long() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(std::path::Path::new(library).exists(), "libfaketime is not installed: run scripts/setup");
    let prefix = prefix();
    let ring = ("RING_TIMEOUT_SECS", "10");
    let ahead = Node::start(&prefix, &[ring, ("LD_PRELOAD", library), ("FAKETIME", "+20s")]);
    let right = Node::start(&prefix, &[ring]);
    for (caller, callee) in [(&ahead, &right), (&right, &ahead)] {
        let ana = Phone::connect(caller.public, Profile::of(&unique("ana"))).await;
        let bo = Phone::connect(callee.public, Profile::of(&unique("bo"))).await;
        let started = Instant::now();
        let incoming = ana.rings(&unique_call(), &bo).await;
        let left = incoming["expiresInMs"].as_u64().unwrap();
        assert!((9_000..=10_000).contains(&left), "{left} ms are left of 10 s");
        ana.expect("call:timeout").await;
        bo.expect("call:cancelled").await;
        let took = started.elapsed();
        assert!((9_500..=11_000).contains(&(took.as_millis() as u64)), "the ring lasted {took:?}");
    }
}

/// A node dies while Laravel is away: all of its phones come back on the other, within their five tries, and Laravel
/// is asked nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_without_laravel_burns_no_phone() {
    const PHONES: usize = 2000;
    let laravel = Laravel::start().await;
    let (prefix, url) = (prefix(), format!("http://{}", laravel.address));
    let variables = [
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", url.as_str()),
        ("HANDSHAKES_PER_SECOND", "500"),
        // On a busy machine all this takes longer than a minute, after which tokens are checked again.
        ("AUTH_CACHE_SECS", "600"),
    ];
    let mut first = Node::start(&prefix, &variables);
    let second = Node::start(&prefix, &variables);
    let users: Vec<String> = (0..PHONES).map(|_| unique("ana")).collect();
    let mut phones = Vec::new();
    for users in users.chunks(50) {
        let node = first.public;
        phones.extend(join_all(users.iter().map(|user| dial(node, user))).await);
    }
    assert_eq!(laravel.asked(), PHONES);
    laravel.mood(Mood::Broken);
    first.kill();
    let killed = Instant::now();
    let tries = join_all(phones.into_iter().zip(&users).map(|(phone, user)| {
        let node = second.public;
        async move {
            assert_eq!(phone.expect_fate().await, "closed");
            drop(phone);
            come_back(node, user).await
        }
    }))
    .await;
    let most = tries.iter().map(|(tries, _)| *tries).max().unwrap_or(0);
    println!("all of {PHONES} back after {:?}, at most {most} tries", killed.elapsed());
    assert!(most <= 5, "a phone needed {most} tries");
    // Where a busy machine kept a token from being shared or read in time, it was asked about again.
    assert!(laravel.asked() <= PHONES + PHONES / 20, "laravel was asked {} times", laravel.asked() - PHONES);
    assert!(tries.iter().all(|(_, phone)| phone.keep_connected()));
}

/// Connects as often as it takes; the first connects come faster than the node's limit lets them in.
async fn dial(node: SocketAddr, user: &str) -> Phone {
    loop {
        if let Some(phone) = Phone::try_connect(node, Profile::of(user)).await {
            return phone;
        }
        tokio::time::sleep(Duration::from_millis(100)).await; // the limit is per second
    }
}

/// Reconnects as the app's client does: tries 1 to 5 s apart, growing, with half of it random. Returns the tries.
async fn come_back(node: SocketAddr, user: &str) -> (u32, Phone) {
    for attempt in 1.. {
        let pause = (1000.0 * 2f64.powi(attempt as i32 - 1)).min(5000.0);
        tokio::time::sleep(Duration::from_millis((pause * rand::random_range(0.5..1.5)) as u64)).await; // the client's own
        if let Some(phone) = Phone::try_connect(node, Profile::of(user)).await {
            return (attempt, phone);
        }
    }
    unreachable!("the loop has no end");
}

/// Secrets and tokens are in no log, no metric and no error, however much goes wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_never_printed() {
    let secret = "internal-5eCr3t";
    let laravel = Laravel::start().await;
    let url = format!("http://{}", laravel.address);
    let (collector, receiver) = (Collector::start().await, Receiver::start().await);
    let (endpoint, hooks) = (collector.url(), receiver.url());
    let variables = [
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", url.as_str()),
        ("LARAVEL_API_SECRET", secret),
        ("LOG_LEVEL", "trace"),
        ("LOG_USERS", "hashed"),
        ("LOG_USERS_KEY", "key-of-users-5eCr3t"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20otel-5eCr3t"),
        ("NODE_SECRET", "node-5eCr3t"),
        ("WEBHOOK_URL", hooks.as_str()),
        ("WEBHOOK_SECRET", SIGNING_SECRET),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("DRAIN_DELAY_SECS", "0"),
        ("DRAIN_SECS", "0"),
        ("AUTH_CACHE_SECS", "0"),
        ("AUTH_HOLD_SECS", "1"),
        ("LARAVEL_TIMEOUT_MS", "200"),
        ("INITIATE_CHECK", "observe"),
    ];
    let prefix = prefix();
    let mut node = Node::start(&prefix, &variables);
    let other = Node::start(&prefix, &variables);
    let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(other.public, Profile::of(&unique("bo"))).await;
    let (id, agora) = (unique_call(), "agora-5eCr3t");
    let mut initiate = crate::harness::phone::initiate(&id, &bo.user);
    initiate["agoraToken"] = agora.into();
    ana.ask("call:initiate", initiate).await;
    bo.expect("call:incoming").await;
    bo.accept(&id).await;
    ana.ask(
        "call:message",
        json!({"callId": id, "data": {"sdp": "sdp-5eCr3t"}, "keep": true, "messageId": "m-5eCr3t"}),
    )
    .await;
    bo.expect("call:message").await;
    bo.end(&id).await;
    receiver.expect(&id, "call.ended").await;
    let mut said = String::new();
    for given in [None, Some("wrong-5eCr3t"), Some(secret)] {
        for path in ["call-accepted", "call-cancelled", "call-rejected", "call-ended"] {
            let body = json!({"callId": {"agoraToken": agora}});
            let (_, answer) =
                crate::harness::cluster::post(node.public, &format!("/api/emit/{path}"), given, body).await;
            said.push_str(&answer.to_string());
        }
    }
    said.push_str(&ana.ask_raw(&format!("[\"call:accept\",{{\"callId\":\"{agora} x\"}}]"), "accept").await.to_string());
    for mood in [Mood::Slow, Mood::Broken, Mood::Html, Mood::Redirect, Mood::Well] {
        laravel.mood(mood);
        let phone = Phone::open(node.public, Profile::of(&unique("cleo"))).await;
        drop(phone);
        let forged = Profile { token: "forged-5eCr3t".into(), ..Profile::of(&unique("eve")) };
        said.push_str(&Phone::open(node.public, forged).await.expect_fate().await);
    }
    said.push_str(&crate::harness::cluster::get(node.admin, "/metrics").await.1.to_string());
    node.signal("TERM");
    assert!(node.child.wait().expect("it ends").success());
    collector.until("the other's", |spans| spans.iter().any(|span| span.name == "call")).await;
    assert_eq!(collector.authorization().as_deref(), Some("Bearer otel-5eCr3t"));
    assert!(collector.spans_of(&id).iter().any(|span| span.name == "deliver"), "traces are read");
    // Where users may stand: neither log nor trace is such a place.
    let told = [node.log.lock().clone(), other.log.lock().clone(), collector.text()].concat();
    assert!(!told.contains("USR_"), "a user was named: {}", around(&told, "USR_"));
    said.push_str(&told);
    assert!(said.contains("signaling_token_checks_total") && said.contains("laravel"), "the log is read: {said}");
    for hidden in ["5eCr3t", "token-of-", "whsec_", SIGNING_SECRET.trim_start_matches("whsec_")] {
        assert!(!said.contains(hidden), "{hidden} was printed: {}", around(&said, hidden));
    }
}

/// The node that made a call is killed: what another does for it is in the same trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_survives_a_killed_node() {
    let collector = Collector::start().await;
    let (prefix, endpoint) = (prefix(), collector.url());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("RING_TIMEOUT_SECS", "5")];
    let mut first = Node::start(&prefix, &variables);
    let second = Node::start(&prefix, &variables);
    let ana = Phone::connect(first.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(second.public, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    collector.until("its first spans", |spans| spans.iter().any(|span| span.name == "call:initiate")).await;
    first.kill();
    bo.expect_within("call:cancelled", Duration::from_secs(20)).await;
    collector.until("its end", |spans| spans.iter().any(|span| span.name == "call")).await;
    let spans = collector.spans_of(&id);
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    let (initiate, deadline, call) = (of("call:initiate"), of("deadline"), of("call"));
    assert_ne!(initiate.node, deadline.node);
    assert_eq!((&initiate.parent, &deadline.parent), (&call.id, &call.id));
    assert!(spans.iter().all(|span| span.trace == call.trace), "{spans:#?}");
}

/// Lines about a call carry its ids, from whatever depth they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_carry_the_ids_of_their_call() {
    let collector = Collector::start().await;
    let (endpoint, pause) = (collector.url(), ("SABOTAGE", "pause_after_swap=1"));
    let node = Node::start(&prefix(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("NODE_ID", "n-1"), pause]);
    let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
    let id = unique_call();
    ana.call(&id, &unique("bo")).await;
    ana.cancel(&id).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    let line = loop {
        let log = node.log.lock().clone();
        if let Some(line) = log.split_inclusive('}').find(|line| line.contains("failpoint")) {
            break serde_json::from_str::<serde_json::Value>(line).expect("a flat line of JSON");
        }
        assert!(Instant::now() < deadline, "{log}");
        tokio::task::yield_now().await;
    };
    assert_eq!((&line["node"], &line["call"]), (&json!("n-1"), &json!(id.trim_start_matches("CALL_"))), "{line}");
    assert_eq!((&line["user"], line["session"].as_str().map(str::len)), (&json!(ana.user), Some(32)), "{line}");
    collector.until("its spans", |spans| spans.iter().any(|span| span.name == "call")).await;
    let span = collector.spans_of(&id).into_iter().find(|span| line["span_id"] == span.id.as_str()).expect("its span");
    assert_eq!(line["trace_id"], span.trace.as_str());
}

fn around<'a>(text: &'a str, needle: &str) -> &'a str {
    let at = text.find(needle).unwrap_or(0);
    text.get(at.saturating_sub(200)..(at + 100).min(text.len())).unwrap_or_default()
}

/// SIGTERM: sessions are taken leave of, phones are let go to come back by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_leaves_no_session_behind() {
    let prefix = prefix();
    let mut first = Node::start(&prefix, &[("DRAIN_DELAY_SECS", "0"), ("DRAIN_SECS", "1")]);
    let second = Node::start(&prefix, &[]);
    let ana = Phone::connect(first.public, Profile::of(&unique("ana"))).await;
    first.signal("TERM");
    assert_eq!(ana.expect_fate().await, "closed");
    assert!(first.child.wait().expect("it ends").success());
    let (_, online) = crate::harness::cluster::get(second.public, "/health").await;
    assert_eq!(online["connectedUsers"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_a_drain_at_once() {
    let mut node = Node::start(&prefix(), &[("DRAIN_DELAY_SECS", "60")]);
    let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
    node.signal("TERM");
    let ready = async || crate::harness::cluster::get(node.admin, "/ready").await.0;
    while ready().await == 200 {}
    assert!(ana.keep_connected(), "the drain waits for load balancers");
    node.signal("TERM");
    assert_eq!(ana.expect_fate().await, "closed");
    assert!(!node.child.wait().expect("it ends").success());
}

/// A killed node's webhooks are delivered by another: none is lost, each call in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_webhooks_are_delivered_by_another() {
    let receiver = Receiver::start().await;
    let prefix = prefix();
    let url = receiver.url();
    let hooks = [("WEBHOOK_URL", url.as_str()), ("WEBHOOK_SECRET", SIGNING_SECRET), ("WEBHOOK_ALLOW_PRIVATE", "true")];
    let mut first = Node::start(&prefix, &hooks);
    receiver.answer(Answer::Slowly(Duration::from_millis(400)));
    let ana = Phone::connect(first.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(first.public, Profile::of(&unique("bo"))).await;
    let mut calls = Vec::new();
    for _ in 0..6 {
        let id = unique_call();
        ana.rings(&id, &bo).await;
        bo.accept(&id).await;
        ana.end(&id).await;
        bo.expect("call:ended").await;
        calls.push(id);
    }
    // In the middle of its batch: most are on their way or wait behind them.
    receiver.until("the first", |receiver| (!receiver.hooks().is_empty()).then_some(())).await;
    first.kill();
    let delivered = receiver.hooks().len();
    assert!(delivered < 4 * calls.len(), "{delivered}");
    receiver.answer(Answer::Well);
    let _second = Node::start(&prefix, &hooks);
    for id in &calls {
        receiver.within(Duration::from_secs(40), id, |receiver| (receiver.taken(id).len() == 4).then_some(())).await;
        assert!(receiver.taken(id).iter().map(|hook| hook.seq()).is_sorted(), "{id}");
    }
}

/// How fast a backlog drains, and in what memory: docs/webhooks.md has the figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_webhooks_drain() {
    const MESSAGES: usize = 10_000;
    let receiver = Receiver::start().await;
    let prefix = prefix();
    let client = connect(&shared().url(), &TaskTracker::new()).await.expect("redis answers");
    let outbox = RedisOutbox::new(client, &prefix, OutboxBounds::default());
    let now = Clock::system().now();
    let messages: Vec<OutboxMessage> = (0..MESSAGES)
        .map(|number| {
            let (call, seq) = (number / 4, number % 4 + 1);
            let data = serde_json::json!({"callId": format!("d{call}"), "seq": seq, "filler": "x".repeat(400)});
            OutboxMessage {
                id: format!("d{call}.{seq}"),
                queue: Queue::Events,
                call: CallId::parse(&format!("d{call}")).ok(),
                at: now,
                due: now,
                until: None,
                body: serde_json::json!({"type": "call.initiated", "data": data}).to_string(),
            }
        })
        .collect();
    for some in messages.chunks(500) {
        outbox.append(some).await.expect("redis answers");
    }
    let url = receiver.url();
    let hooks = [("WEBHOOK_URL", url.as_str()), ("WEBHOOK_SECRET", SIGNING_SECRET), ("WEBHOOK_ALLOW_PRIVATE", "true")];
    let started = Instant::now();
    let node = Node::start(&prefix, &hooks);
    let all = |receiver: &Receiver| (receiver.count() >= MESSAGES).then_some(());
    receiver.within(Duration::from_secs(120), "all of them", all).await;
    let took = started.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id())).expect("its status");
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{MESSAGES} webhooks in {took:?}, {:.0} a second, {memory}", MESSAGES as f64 / took.as_secs_f64());
    let mut last: std::collections::HashMap<String, u64> = std::collections::HashMap::new();
    for hook in receiver.hooks() {
        let before = last.insert(hook.call().to_owned(), hook.seq()).unwrap_or(0);
        assert!(before < hook.seq(), "{} after {before}", hook.id);
    }
    assert_eq!(receiver.count(), MESSAGES, "none twice");
}

/// The likeliest mistake of the first day says what to do, once a minute however often it is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_is_named_in_the_log() {
    let node = Node::start(&prefix(), &[("LARAVEL_API_SECRET", "right"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    let forwarded = ("x-forwarded-for", "203.0.113.7");
    assert_eq!(get_with(node.public, "/api/connected-users", forwarded).await.0, 401);
    for _ in 0..5 {
        let body = json!({"callId": "1", "receiverId": "USR_1"});
        assert_eq!(post(node.public, "/api/emit/call-cancelled", Some("wrong"), body).await.0, 401);
    }
    let hint = "Laravel's WEBSOCKET_SECRET differs from LARAVEL_API_SECRET";
    let deadline = Instant::now() + Duration::from_secs(5);
    while !node.log.lock().contains(hint) {
        assert!(Instant::now() < deadline, "{}", node.log.lock());
        tokio::task::yield_now().await;
    }
    assert_eq!(node.log.lock().matches(hint).count(), 1);
    // Who sent it: Laravel itself, and somebody behind the proxy.
    let log = node.log();
    for (hint, sender) in [(hint, "127.0.0.1"), ("a query came without the secret", "203.0.113.7")] {
        let line = log.split("{\"timestamp\"").find(|line| line.contains(hint));
        assert!(line.is_some_and(|line| line.contains(&format!("\"client\":\"{sender}\""))), "{sender}: {log}");
    }
    let (_, metrics) = get(node.admin, "/metrics").await;
    assert!(metrics.as_str().unwrap().contains("signaling_secrets_refused_total 6"), "counted");
}

/// A node is paused between its swap and its words. When it goes on, what it decided is long over: nobody hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_paused_node_decided_late_is_not_spoken() {
    let prefix = prefix();
    let paused = Node::start(&prefix, &[("SABOTAGE", "pause_after_swap=1000")]);
    let awake = Node::start(&prefix, &[]);
    let bo = Phone::connect(paused.public, Profile::of(&unique("bo"))).await;
    let ana = Phone::connect(awake.public, Profile::of(&unique("ana"))).await;
    let (id, next) = (unique_call(), unique_call());
    ana.rings(&id, &bo).await;
    let failpoints = async |count| {
        while paused.log.lock().matches("failpoint reached").count() < count {
            tokio::time::sleep(Duration::from_millis(5)).await; // another process has no event to wait for
        }
    };
    failpoints(1).await; // Bo's phone confirmed the ring
    bo.emit("call:accept", json!({"callId": id}));
    failpoints(2).await;
    paused.signal("STOP");
    let stopped = Instant::now();
    // The other node was told of the accept by its write; Ana hangs up and is rung by somebody else.
    ana.expect("call:accepted").await;
    assert_eq!(ana.end(&id).await["success"], true);
    let cleo = Phone::connect(awake.public, Profile::of(&unique("cleo"))).await;
    cleo.rings(&next, &ana).await;
    tokio::time::sleep(Duration::from_secs(40).saturating_sub(stopped.elapsed())).await; // the pause itself
    paused.signal("CONT");
    // The node is back when it answers; what it had to say it has said by then, or within the pause of the failpoint.
    assert_eq!(crate::harness::cluster::get(paused.admin, "/live").await.0, 200);
    bo.expect("call:ended").await;
    ana.expect("call:cancelled").await;
    cleo.expect("call:timeout").await;
    assert_eq!(ana.heard(), [], "ana heard of a call that was over");
    assert_eq!(bo.heard(), [], "bo heard of a call that was over");
}

/// What was dialled while a node stood still lay in its buffers: its caller may have dialled anew elsewhere since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dialled_into_a_paused_node_does_not_ring() {
    let prefix = prefix();
    let (paused, awake) = (Node::start(&prefix, &[]), Node::start(&prefix, &[]));
    let bo = Phone::connect(awake.public, Profile::of(&unique("bo"))).await;
    let mut acks = Vec::new();
    // A machine that stands still itself may read it when the node has caught up long since.
    while acks.len() < 3 && acks.last() != Some(&json!("unavailable")) {
        let (ana, id) = (Phone::connect(paused.public, Profile::of(&unique("ana"))).await, unique_call());
        paused.signal("STOP");
        let going_on = async {
            tokio::time::sleep(Duration::from_secs(3)).await; // the pause itself
            paused.signal("CONT");
        };
        let ack = tokio::join!(ana.call(&id, &bo.user), going_on).0;
        if ack["code"] != "unavailable" {
            // It was on its way already; told as soon as the store answers.
            bo.expect("call:incoming").await;
            ana.cancel(&id).await;
            bo.expect("call:cancelled").await;
        }
        acks.push(ack["code"].clone());
    }
    assert_eq!(acks.last(), Some(&json!("unavailable")), "{acks:?}");
    bo.assert_nothing_more().await;
    // Once it has caught up it rings as ever.
    let (ana, next) = (Phone::connect(paused.public, Profile::of(&unique("ana"))).await, unique_call());
    while ana.call(&next, &bo.user).await["success"] != true {
        tokio::time::sleep(Duration::from_millis(100)).await; // another process has no event to wait for
    }
    bo.expect("call:incoming").await;
    assert_eq!(ana.cancel(&next).await["success"], true);
}

fn legacy(laravel: &Laravel) -> Vec<(&'static str, String)> {
    vec![
        ("AUTH", "laravel".into()),
        ("LARAVEL_API_URL", format!("http://{}", laravel.address)),
        ("LARAVEL_API_SECRET", "between-laravel-and-us".into()),
        ("RING_TIMEOUT_SECS", "5".into()),
    ]
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The node that asks Laravel ahead of the ring deadline dies before it is answered. Another asks, and the paid call
/// is not cut, nor is the deadline of the other lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_question_is_asked_by_another() {
    let laravel = Laravel::start().await;
    let (prefix, variables) = (prefix(), legacy(&laravel));
    let mut first = Node::start(&prefix, &borrowed(&variables));
    let second = Node::start(&prefix, &borrowed(&variables));
    let mut callers = Vec::new();
    for status in ["ONGOING", "CONNECTING"] {
        let caller = Phone::connect(first.public, Profile::deployed(&unique("ana"))).await;
        // Accepted over REST only, or not at all: the callee has no socket.
        let (id, callee) = (unique_call(), unique("bo"));
        caller.call(&id, &callee).await;
        laravel.row(&id, json!({"status": status, "caller_id": caller.user, "receiver_id": callee}));
        callers.push((caller.user.clone(), id, caller));
    }
    let rang = Instant::now();
    laravel.pause(Duration::from_secs(30));
    for (_, id, _) in &callers {
        laravel.expect_questions(id, 1).await;
    }
    first.kill();
    laravel.pause(Duration::ZERO);
    let (ana, cleo) = (&callers[0], &callers[1]);
    let ana_again = Phone::connect(second.public, Profile::deployed(&ana.0)).await;
    let cleo_again = Phone::connect(second.public, Profile::deployed(&cleo.0)).await;
    assert_eq!(ana_again.expect("call:accepted").await["callId"], ana.1.as_str());
    assert_eq!(cleo_again.expect("call:timeout").await["callId"], cleo.1.as_str());
    assert!(rang.elapsed() < Duration::from_secs(12), "five seconds after the first question: {:?}", rang.elapsed());
    assert_eq!(laravel.expect_post(&cleo.1, "cancel").await.body["reason"], "No answer");
    let asked = [laravel.askers(&ana.1).len(), laravel.askers(&cleo.1).len()];
    assert_eq!(asked, [2, 3], "and whose it is, before the cancel");
    assert!(laravel.posts(&ana.1).is_empty(), "{:?}", laravel.posts(&ana.1));
    assert_eq!(ana_again.end(&ana.1).await["success"], true, "it went on");
}

/// What a node that died had to tell Laravel is told by another, which opens the token that the first one sealed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_nodes_callback_is_made_by_another() {
    let laravel = Laravel::start().await;
    let (prefix, variables) = (prefix(), legacy(&laravel));
    let mut first = Node::start(&prefix, &borrowed(&variables));
    let _second = Node::start(&prefix, &borrowed(&variables));
    let ana = Phone::connect(first.public, Profile::deployed(&unique("ana"))).await;
    let id = unique_call();
    ana.call(&id, &unique("bo")).await;
    assert_eq!(ana.cancel(&id).await["success"], true);
    first.kill();
    assert!(laravel.posts(&id).is_empty(), "due in two seconds");
    let post = laravel.expect_post(&id, "cancel").await;
    assert_eq!(post.token, format!("token-of-{}", ana.user));
}

/// A node is rolled while the receiver leaves its requests unanswered: the next one sends them at once, and does not
/// wait for leases of 8 and 20 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_nodes_webhooks_wait_for_no_lease() {
    let receiver = Receiver::start().await;
    let prefix = prefix();
    let url = receiver.url();
    let hooks = [
        ("WEBHOOK_URL", url.as_str()),
        ("WEBHOOK_SECRET", SIGNING_SECRET),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("DRAIN_DELAY_SECS", "0"),
        ("DRAIN_SECS", "1"),
    ];
    let mut first = Node::start(&prefix, &hooks);
    receiver.answer(Answer::Silence);
    let ana = Phone::connect(first.public, Profile::of(&unique("ana"))).await;
    let id = unique_call();
    ana.call(&id, &unique("bo")).await;
    let asked = |receiver: &Receiver| (receiver.count() == 2).then_some(());
    receiver.until("a record and a push", asked).await;
    let claimed = Instant::now();
    receiver.answer(Answer::Well);
    let _second = Node::start(&prefix, &hooks);
    first.signal("TERM");
    assert!(first.child.wait().expect("it ends").success());
    receiver.expect(&id, "call.push_required").await;
    receiver.expect(&id, "call.initiated").await;
    let took = claimed.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
}

/// A file that is there and can't be read was taken for none: the node accepted any token and said that it was ready.
#[test]
fn a_configuration_that_cannot_be_read_lets_nobody_in() {
    let folder = std::env::temp_dir().join(unique("dotenv"));
    std::fs::create_dir(&folder).expect("a folder");
    let check = |dotenv: &[u8], variables: &[(&str, &str)]| {
        std::fs::write(folder.join(".env"), dotenv).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_onlycare-signaling"));
        command.current_dir(&folder).env_clear().envs(variables.iter().copied());
        let output = command.arg("--check-config").output().expect("it starts");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(!said.contains("hush"), "{said}");
        (output.status.success(), said)
    };
    let good = b"LARAVEL_API_URL=https://l.test\nLARAVEL_API_SECRET=hush\n";
    for (broken, told) in [
        (&b"\nLARAVEL_API_URL=https://l.test # caf\xe9\n"[..], ".env: line 2"),
        (b"LARAVEL_API_URL https://hush.test", ".env: line 1"),
        (b"LARAVEL_API_URL=\"https://hush.test", ".env: line 1"),
        (b"LARAVEL_API_URI=https://hush.test", "did you mean LARAVEL_API_URL?"),
        (b"NODE_ENV=production # here\n", "NODE_ENV"),
        (b"node_env=production\n", "did you mean NODE_ENV?"),
    ] {
        let (usable, said) = check(broken, &[]);
        assert!(!usable && said.contains(told), "{said}");
    }
    let secret = folder.join("secret");
    std::fs::write(&secret, "\n").expect("a file");
    let secret = secret.to_string_lossy().into_owned();
    for path in [secret.as_str(), "", "/no/such/file", "/"] {
        let (usable, said) = check(b"LARAVEL_API_URL=https://l.test\n", &[("LARAVEL_API_SECRET_FILE", path)]);
        assert!(!usable && said.contains("LARAVEL_API_SECRET_FILE"), "{said}");
    }
    let (usable, said) = check(good, &[("LARAVEL_API_URL", "")]);
    assert!(usable && said.contains("https://l.test") && !said.contains("ANY TOKEN"), "{said}");
    let (usable, said) = check(b"", &[]);
    assert!(usable && said.contains("ANY TOKEN IS ACCEPTED"), "{said}");
    std::fs::remove_dir_all(&folder).expect("it goes");
}

/// A client of Laravel's has gone when a node that stood still comes to read what it said: it is obeyed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_to_a_node_that_stood_still_is_obeyed() {
    let node = Node::start(&prefix(), &[("LARAVEL_API_SECRET", SECRET)]);
    let phone = async |name| Phone::connect(node.public, Profile::of(&unique(name))).await;
    let (ana, bo, id) = (phone("ana").await, phone("bo").await, unique_call());
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    node.signal("STOP");
    for _ in 0..5 {
        let body = json!({"callId": id, "endedBy": ana.user}).to_string();
        let head = format!("POST /api/emit/call-ended HTTP/1.1\r\nhost: n\r\nx-internal-secret: {SECRET}");
        let mut client = std::net::TcpStream::connect(node.public).expect("a connection");
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        std::io::Write::write_all(&mut client, request.as_bytes()).expect("the kernel takes it");
    }
    node.signal("CONT");
    assert_eq!(bo.expect("call:ended").await["callId"], id.as_str());
}

/// A ring and its cancellation lay in the buffers of a node that stood still: nobody there rings for what is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_rings_nobody_for_what_is_over() {
    let prefix = prefix();
    let (still, awake) = (Node::start(&prefix, &[]), Node::start(&prefix, &[]));
    let (bo, id) = (unique("bo"), unique_call());
    let there = Phone::connect(still.public, Profile::of(&bo).device("there")).await;
    let here = Phone::connect(awake.public, Profile::of(&bo).device("here")).await;
    let ana = Phone::connect(awake.public, Profile::of(&unique("ana"))).await;
    still.signal("STOP");
    ana.rings(&id, &here).await;
    assert_eq!(ana.cancel(&id).await["success"], true);
    here.expect("call:cancelled").await;
    tokio::time::sleep(Duration::from_millis(2500)).await; // it stands still
    still.signal("CONT");
    there.expect("call:cancelled").await;
    assert!(there.heard().iter().all(|heard| heard.event != "call:incoming"), "{:?}", there.heard());
}
