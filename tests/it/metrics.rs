//! What nodes count: each in a process of its own, since metrics are the process's.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use futures_util::{SinkExt, StreamExt};
use onlycare_signaling::clock::Clock;
use onlycare_signaling::store::redis::{RedisOutbox, connect};
use onlycare_signaling::store::{Outbox, OutboxBounds, OutboxMessage, Queue};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::TaskTracker;

use crate::harness::cluster::{get, get_with, post};
use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::{unique, unique_call};
use crate::harness::redis::shared;
use crate::harness::{Phone, Profile};
use crate::processes::{Node, prefix};

const SECRET: &str = "s";
const HANDSHAKES: &str = "signaling_handshakes_total";
const DISCONNECTS: &str = "signaling_disconnects_total";
const ERRORS: &str = "signaling_event_errors_total";
const REQUESTS: &str = "signaling_http_requests_total";

/// The metrics of a node at a moment.
struct Metrics(String);

impl Metrics {
    async fn of(node: &Node) -> Self {
        Self(get(node.admin, "/metrics").await.1.as_str().expect("a text").to_owned())
    }

    /// A series, named as it is exposed.
    fn value(&self, series: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not there: {}", self.0)).parse().expect("a number")
    }

    /// All series of a counter that are not 0, by their labels.
    fn counted(&self, name: &str) -> Vec<(&str, f64)> {
        let series = self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
        let mut counted: Vec<_> = series.map(|(labels, value)| (labels, value.parse().expect("a number"))).collect();
        counted.retain(|(_, value)| *value != 0.0);
        counted.sort_by_key(|(labels, _)| *labels);
        counted
    }

    fn sum(&self, name: &str) -> f64 {
        self.counted(name).iter().map(|(_, value)| value).sum()
    }
}

/// Waits until a series has a value.
async fn reaches(node: &Node, series: &str, value: f64) -> Metrics {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let metrics = Metrics::of(node).await;
        if metrics.value(series) == value {
            return metrics;
        }
        assert!(Instant::now() < deadline, "{series} is {} and not {value}", metrics.value(series));
        tokio::time::sleep(Duration::from_millis(20)).await; // another process has no event to wait for
    }
}

async fn phone(node: &Node, name: &str) -> Phone {
    Phone::connect(node.public, Profile::of(&unique(name))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_is_counted_by_its_cause() {
    let variables = [
        ("LARAVEL_API_SECRET", SECRET),
        ("MAX_SESSIONS_PER_DEVICE", "1"),
        ("PING_INTERVAL_MS", "5000"),
        ("PING_TIMEOUT_MS", "1000"),
        ("DRAIN_DELAY_SECS", "0"),
        ("DRAIN_SECS", "4"),
    ];
    let node = Node::start(&prefix(), &variables);
    let metrics = Metrics::of(&node).await;
    assert_eq!((metrics.sum(DISCONNECTS), metrics.sum(HANDSHAKES)), (0.0, 0.0));
    let cause = |cause: &str| format!("{DISCONNECTS}{{cause=\"{cause}\"}}");

    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", node.public);
    let (mut silent, _) = tokio_tungstenite::connect_async(url).await.expect("a websocket");
    let auth = json!({"token": "t", "userId": unique("silent")});
    silent.send(Message::text(format!("40{auth}"))).await.expect("it is open");

    for (name, last_word) in [("left", "41"), ("closed", "1"), ("protocol", "nonsense")] {
        let phone = phone(&node, name).await;
        phone.send_raw(last_word.into());
        reaches(&node, &cause(name), 1.0).await;
    }
    phone(&node, "lost").await.vanish();
    reaches(&node, &cause("lost"), 1.0).await;

    let first = phone(&node, "bo").await;
    let second = Phone::connect(node.public, Profile::of(&first.user)).await;
    assert_eq!(first.expect_fate().await, "disconnect");
    reaches(&node, &cause("evicted"), 1.0).await;

    let path = format!("/api/users/{}/disconnect", second.user);
    assert_eq!(post(node.public, &path, Some(SECRET), json!({})).await.1["disconnected"], 1);
    reaches(&node, &cause("sent_away"), 1.0).await;

    while silent.next().await.is_some_and(|message| message.is_ok()) {}
    let metrics = reaches(&node, &cause("silent"), 1.0).await;
    assert_eq!(metrics.sum(DISCONNECTS), 7.0, "{:?}", metrics.counted(DISCONNECTS));
    assert_eq!(metrics.counted(HANDSHAKES), [("outcome=\"accepted\"", 7.0)]);
    assert_eq!(metrics.value("signaling_sessions"), 0.0);

    let mut many = Vec::new();
    for _ in 0..10 {
        many.push(phone(&node, "ana").await);
    }
    node.signal("TERM");
    select_all(many.iter().map(|phone| Box::pin(phone.expect_fate()))).await;
    // One phone after the other goes: between two of them all agree.
    loop {
        let metrics = Metrics::of(&node).await;
        let drained = metrics.value(&cause("drained"));
        assert!((1.0..10.0).contains(&drained), "{drained}: {:?}", metrics.counted(DISCONNECTS));
        let agree = metrics.value("signaling_sessions_drained_total") == drained
            && metrics.sum(DISCONNECTS) == 7.0 + drained
            && metrics.value("signaling_sessions") == 10.0 - drained;
        if agree {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_the_template_of_their_route() {
    let node = Node::start(&prefix(), &[("LARAVEL_API_SECRET", SECRET), ("OPEN_QUERIES", "always")]);
    let (user, call) = (unique("ana"), unique_call());
    for _ in 0..2 {
        assert_eq!(get(node.public, &format!("/api/users/{user}/online")).await.0, 200);
    }
    let secret = ("x-internal-secret", SECRET);
    assert_eq!(get_with(node.public, &format!("/api/calls/{call}"), secret).await.0, 404);
    assert_eq!(get(node.public, &format!("/api/calls/{call}")).await.0, 401);
    assert_eq!(get(node.public, "/api/emit/call-ended").await.0, 405);
    assert_eq!(get(node.public, &format!("/users/{user}")).await.0, 404);
    assert_eq!(get(node.public, "/health").await.0, 200);
    let metrics = Metrics::of(&node).await;
    let counted = metrics.counted(REQUESTS);
    let series = |route: &str, status: &str| format!("route=\"{route}\",status=\"{status}\"");
    let expected = [
        (series("/api/calls/{callId}", "4xx"), 2.0),
        (series("/api/emit/call-ended", "4xx"), 1.0),
        (series("/api/users/{userId}/online", "2xx"), 2.0),
        (series("/health", "2xx"), 1.0),
        (series("unknown", "4xx"), 1.0),
    ];
    assert_eq!(counted, expected.each_ref().map(|(labels, count)| (labels.as_str(), *count)));
    assert_eq!(metrics.value("signaling_http_request_seconds_count{route=\"/api/users/{userId}/online\"}"), 2.0);
    assert!(metrics.0.contains(&series("/api/users/{userId}/emit", "5xx")), "what was never asked for is there");
    for id in [user, call] {
        assert!(!metrics.0.contains(&id), "{id} is in a label");
    }
}

/// All phones behind a proxy that TRUSTED_PROXIES does not name are one address: nothing said so until a limit refused them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_was_forgotten_shows() {
    const UNLISTED: &str = "signaling_forwarders_unlisted_total";
    let (prefix, forwarded) = (prefix(), ("x-forwarded-for", "203.0.113.7"));
    let named = Node::start(&prefix, &[("TRUSTED_PROXIES", "127.0.0.1")]);
    let [own, other] = [(); 2].map(|()| Node::start(&prefix, &[]));
    for node in [&named, &own] {
        assert_eq!(get(node.public, "/health").await.0, 200);
        assert_eq!(get_with(node.public, "/health", forwarded).await.0, 200);
        assert_eq!(get_with(node.public, "/health", ("forwarded", "for=203.0.113.7")).await.0, 200);
    }
    assert_eq!((Metrics::of(&named).await.value(UNLISTED), Metrics::of(&own).await.value(UNLISTED)), (0.0, 2.0));
    // What another node passes on was noticed there.
    let path = "/socket.io/?EIO=4&transport=polling";
    let (_, opened) = get_with(own.public, path, forwarded).await;
    let sid = opened.as_str().and_then(|packet| packet.split('"').nth(3)).expect("a session id").to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let said = client.post(format!("http://{}{path}&sid={sid}", other.public)).header(forwarded.0, forwarded.1);
    assert_eq!(said.body("40{}").send().await.unwrap().status().as_u16(), 200);
    assert_eq!((Metrics::of(&own).await.value(UNLISTED), Metrics::of(&other).await.value(UNLISTED)), (3.0, 1.0));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !own.log().contains("TRUSTED_PROXIES does not name") {
        assert!(Instant::now() < deadline, "{}", own.log());
        tokio::task::yield_now().await;
    }
    assert_eq!(own.log().matches("TRUSTED_PROXIES does not name").count(), 1);
    assert!(!named.log().contains("TRUSTED_PROXIES does not name"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_events_and_accepted_calls_are_counted() {
    let node = Node::start(&prefix(), &[("EVENTS_PER_MINUTE", "0")]);
    let (ana, bo) = (phone(&node, "ana").await, phone(&node, "bo").await);
    let (id, early) = (unique_call(), unique_call());
    ana.rings(&id, &bo).await;
    // Without an acknowledgement too, as the deployed app sends it.
    ana.emit("call:accept", json!({"callId": id}));
    ana.emit("call:accept", json!("nonsense"));
    bo.accept(&id).await;
    ana.end(&id).await;
    assert_eq!(bo.accept(&id).await["code"], "invalid_state");
    assert_eq!(bo.accept(&early).await["code"], "call_not_found");
    ana.call(&early, &bo.user).await;
    ana.expect("call:accepted").await;
    ana.end(&early).await;
    let metrics = Metrics::of(&node).await;
    let code = |code: &str| metrics.value(&format!("{ERRORS}{{code=\"{code}\"}}"));
    for (name, count) in [
        ("not_a_participant", 1.0),
        ("invalid_payload", 1.0),
        ("invalid_state", 1.0),
        ("call_not_found", 1.0),
        ("unavailable", 0.0),
        ("rate_limited", 0.0),
    ] {
        assert_eq!(code(name), count, "{name}");
    }
    // The early command that waited for its call counts as well.
    assert_eq!(metrics.value("signaling_calls_initiated_total"), 2.0);
    assert_eq!(metrics.value("signaling_calls_accepted_total"), 2.0);
    assert_eq!(metrics.value("signaling_calls_ended_total{reason=\"hung_up\"}"), 2.0);
    assert_eq!(metrics.value("signaling_calls_ended_total{reason=\"lost\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_laravel_shows_in_new_tokens_route_and_handshakes() {
    let laravel = Laravel::start().await;
    laravel.mood(Mood::Broken);
    let url = format!("http://{}", laravel.address);
    let variables = [
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", url.as_str()),
        ("LARAVEL_API_SECRET", SECRET),
        ("AUTH_HOLD_SECS", "1"),
        ("MAX_SESSIONS", "5"),
    ];
    let node = Node::start(&prefix(), &variables);
    let outcome = |outcome: &str| format!("{HANDSHAKES}{{outcome=\"{outcome}\"}}");
    assert_eq!(Metrics::of(&node).await.value("signaling_new_tokens_slowed"), 0.0);
    let phones = join_all((0..5).map(|_| async { Phone::open(node.public, Profile::of(&unique("ana"))).await })).await;
    reaches(&node, "signaling_new_tokens_slowed", 1.0).await;
    let metrics = reaches(&node, &outcome("unavailable"), 5.0).await;
    assert_eq!(metrics.value("signaling_laravel_route_found"), 0.0);
    assert_eq!(metrics.value("signaling_laravel_breaker_open"), 0.0, "nobody who is known was answered so");
    drop(phones);

    laravel.mood(Mood::Well);
    reaches(&node, "signaling_laravel_route_found", 1.0).await;
    let ana = loop {
        // Until the address may ask again.
        if let Some(phone) = Phone::try_connect(node.public, Profile::of(&unique("ana"))).await {
            break phone;
        }
    };
    let metrics = reaches(&node, &outcome("accepted"), 1.0).await;
    assert_eq!(metrics.value("signaling_laravel_breaker_open"), 0.0);
    // Each takes a place.
    while get(node.public, "/socket.io/?EIO=4&transport=polling").await.0 != 503 {}
    let refused = Metrics::of(&node).await.value(&outcome("limited"));
    assert!(refused >= 1.0, "{refused}");
    ana.send_raw("41".into());
    reaches(&node, "signaling_sessions", 0.0).await;
    reaches(&node, "signaling_transports", 0.0).await;
    for (name, auth) in [
        ("no_credentials", json!({"userId": "USR_1"})),
        ("malformed", json!({"userId": "no id", "token": "t"})),
        ("invalid_token", json!({"userId": "USR_1", "token": "forged"})),
    ] {
        Phone::open_with(node.public, "USR_1", auth, true).await.expect_fate().await;
        reaches(&node, &outcome(name), 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_count_each_other_and_themselves() {
    let prefix = prefix();
    let variables = [("MAX_SESSIONS", "7"), ("DRAIN_DELAY_SECS", "0"), ("DRAIN_SECS", "0")];
    let first = Node::start(&prefix, &variables);
    let metrics = Metrics::of(&first).await;
    assert_eq!(metrics.value("signaling_cluster_nodes"), 1.0);
    assert_eq!(metrics.value("signaling_sessions_limit"), 7.0);
    assert_eq!(metrics.value("signaling_laravel_route_found"), 1.0, "where no Laravel is asked, none is missed");
    let second = Node::start(&prefix, &variables);
    for node in [&first, &second] {
        reaches(node, "signaling_cluster_nodes", 2.0).await;
    }
    second.signal("TERM");
    reaches(&first, "signaling_cluster_nodes", 1.0).await;

    let metrics = Metrics::of(&first).await;
    let files = metrics.value("process_open_fds");
    assert!(files > 5.0 && files < metrics.value("process_max_fds"), "{files}");
    assert!(metrics.value("process_resident_memory_bytes") > 1e6);
    let now = Clock::system().now().as_millis() as f64 / 1000.0;
    let age = now - metrics.value("process_start_time_seconds");
    assert!((-2.0..60.0).contains(&age), "started {age} s ago");
}

/// A node that calls an unmodified backend, and two phones of the deployed app on it.
async fn legacy(laravel: &Laravel, prefix: &str) -> (Node, Phone, Phone) {
    let url = format!("http://{}", laravel.address);
    let variables = [
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", url.as_str()),
        ("LARAVEL_API_SECRET", SECRET),
        ("RING_TIMEOUT_SECS", "5"),
    ];
    let node = Node::start(prefix, &variables);
    let ana = Phone::connect(node.public, Profile::deployed(&unique("ana"))).await;
    let bo = Phone::connect(node.public, Profile::deployed(&unique("bo"))).await;
    (node, ana, bo)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_laravel_refuses_is_counted() {
    let laravel = Laravel::start().await;
    let (node, ana, bo) = legacy(&laravel, &prefix()).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.ask("call:ringing", json!({"callId": id})).await;
    laravel.revoke(&ana.user);
    laravel.row(&id, json!({"status": "ONGOING", "caller_id": ana.user, "receiver_id": bo.user}));
    ana.expect("call:accepted").await;
    let metrics = Metrics::of(&node).await;
    assert_eq!(metrics.value("signaling_tokens_dropped_total"), 1.0);
    assert_eq!(metrics.value("signaling_inquiries_total{outcome=\"accepted\"}"), 1.0);
}

/// The callee accepted a call that was over, and no node could tell Laravel in the time that costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_stays_open_is_counted() {
    let laravel = Laravel::start().await;
    let (node, ana, bo) = legacy(&laravel, &prefix()).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    ana.cancel(&id).await;
    bo.expect("call:cancelled").await;
    assert_eq!(bo.accept(&id).await["code"], "invalid_state");
    node.signal("STOP");
    tokio::time::sleep(Duration::from_secs(10)).await; // the time itself
    node.signal("CONT");
    let metrics = reaches(&node, "signaling_open_rows_total", 1.0).await;
    assert_eq!(metrics.value("signaling_callbacks_total{request=\"end\",outcome=\"expired\"}"), 1.0);
    assert!(!laravel.actions(&id).contains(&"end".to_owned()), "{:?}", laravel.posts(&id));
}

/// A callback that no node can read is no webhook.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_counted_by_its_kind() {
    let laravel = Laravel::start().await;
    let prefix = prefix();
    let (node, _ana, _bo) = legacy(&laravel, &prefix).await;
    let client = connect(&shared().url(), &TaskTracker::new()).await.expect("redis answers");
    let now = Clock::system().now();
    let message = OutboxMessage {
        id: "1.callback.1".into(),
        queue: Queue::Callbacks,
        call: None,
        at: now,
        due: now,
        until: None,
        body: "{\"ask\":\"of a newer version\"}".into(),
    };
    RedisOutbox::new(client, &prefix, OutboxBounds::default()).append(&[message]).await.expect("redis answers");
    let metrics = reaches(&node, "signaling_outbox_dead", 1.0).await;
    let dead = ("request=\"unreadable\",outcome=\"dead\"", 1.0);
    assert_eq!(metrics.counted("signaling_callbacks_total"), [dead]);
    assert_eq!(metrics.sum("signaling_webhooks_total"), 0.0);
}
