//! Coming and going is told to who asked for it, and to nobody else.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::app::App;
use parking_lot::Mutex;
use serde_json::json;

use crate::harness::cluster::config;
use crate::harness::phone::{unique, unique_call};
use crate::harness::redis::Redis;
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

on_each_backend! {
    async fn watchers_hear_of_coming_and_going(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, cleo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("cleo")).await);
        let (bo, dan) = (unique("bo"), unique("dan"));
        let ack = ana.ask("presence:subscribe", json!({"userIds": [bo, cleo.user]})).await;
        assert_eq!(ack["success"], true);
        assert_eq!(ack["users"], json!({&bo: false, &cleo.user: true}));
        let phone = cluster.phone(1, &bo).await;
        let online = ana.expect("user:online").await;
        assert_eq!(online["userId"], bo.as_str());
        assert!(online["timestamp"].is_u64());
        // A second session and the end of the first are no news; nor is somebody nobody watches.
        let second = cluster.phone(0, &bo).await;
        phone.vanish();
        let stranger = cluster.phone(1, &dan).await;
        drop(stranger);
        ana.assert_nothing_more().await;
        second.vanish();
        assert_eq!(ana.expect("user:offline").await["userId"], bo.as_str());
        let ack = ana.ask("presence:unsubscribe", json!({"userIds": [bo]})).await;
        assert_eq!(ack["users"], json!({&bo: false}));
        let back = cluster.phone(1, &bo).await;
        ana.assert_nothing_more().await;
        cleo.assert_nothing_more().await;
        drop((ana, cleo, back));
        cluster.close().await;
    }
}

/// A network switch is not told: offline is damped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_absence_is_not_told() {
    let cluster = Cluster::manual(2).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    ana.ask("presence:subscribe", json!({"userIds": [bo.user]})).await;
    let user = bo.user.clone();
    bo.vanish();
    cluster.advance(1);
    let bo = cluster.phone(0, &user).await;
    cluster.advance(10);
    ana.assert_nothing_more().await;
    drop((ana, bo));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_checked_and_bounded() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let many = |from: usize, to: usize| (from..to).map(|n| format!("USR_{n}")).collect::<Vec<_>>();
    for bad in [
        json!({}),
        json!({"userIds": "USR_1"}),
        json!({"userIds": [1]}),
        json!({"userIds": ["a b"]}),
        json!(null),
        json!({"userIds": many(0, 501)}),
    ] {
        assert_eq!(ana.ask("presence:subscribe", bad.clone()).await["code"], "invalid_payload", "{bad}");
    }
    assert_eq!(ana.ask("presence:subscribe", json!({"userIds": many(0, 400)})).await["success"], true);
    assert_eq!(ana.ask("presence:subscribe", json!({"userIds": many(300, 500)})).await["success"], true, "500 in all");
    let ack = ana.ask("presence:subscribe", json!({"userIds": many(500, 501)})).await;
    assert_eq!(ack["code"], "invalid_payload");
    assert_eq!(ana.ask("presence:unsubscribe", json!({"userIds": many(0, 10)})).await["success"], true);
    assert_eq!(ana.ask("presence:subscribe", json!({"userIds": many(500, 501)})).await["success"], true);
}

/// 1,000 watchers on two nodes: one user's coming costs two publishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_cost_two_publishes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redis = Redis::start();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(App::start(config(&[("REDIS_URL", &redis.url())])).await.expect("a node"));
    }
    let star = unique("star");
    let watchers = futures_util::future::join_all((0..1000).map(|n| {
        let address = nodes[n % 2].public;
        async move { Phone::connect(address, Profile::of(&unique("fan"))).await }
    }))
    .await;
    for watcher in &watchers {
        assert_eq!(watcher.ask("presence:subscribe", json!({"userIds": [star]})).await["users"][&star], false);
    }
    let listener = Listener::on(&redis);
    let phone = Phone::connect(nodes[2].public, Profile::of(&star)).await;
    for watcher in &watchers {
        watcher.expect("user:online").await;
    }
    assert_eq!(listener.count(&redis, "presence"), 2);
    drop(phone);
}

/// Listens to everything that is published on a Redis.
struct Listener {
    process: Child,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn on(redis: &Redis) -> Self {
        let mut process = Command::new("redis-cli")
            .args(["-p", &redis.port.to_string(), "psubscribe", "*"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli runs");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&heard);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| hearing.lock().push(line)));
        while redis.command(&["PUBSUB", "NUMPAT"]) != "1" {}
        Self { process, heard }
    }

    /// How many envelopes of a kind were published, counted once a later one of another kind was heard.
    fn count(&self, redis: &Redis, kind: &str) -> usize {
        redis.command(&["PUBLISH", "after", "all that was before"]);
        while !self.heard.lock().iter().any(|line| line == "all that was before") {}
        let kind = format!("\"kind\":\"{kind}\"");
        self.heard.lock().iter().filter(|line| line.contains(&kind)).count()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SUBSCRIBERS: usize = 20;
const SUBSCRIBED: usize = 500;
const CALLS: usize = 40;

/// Who subscribes to 500 users costs as many commands as there are places where users lie, twice, not two for each user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_costs_commands_by_place() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url()]).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let users = many("fan", SUBSCRIBED);
    assert_eq!(ana.ask("presence:subscribe", json!({"userIds": users[..1]})).await["success"], true);
    let monitor = Monitor::on(&redis);
    let ack = ana.ask("presence:subscribe", json!({"userIds": users})).await;
    assert_eq!(ack["users"].as_object().map(serde_json::Map::len), Some(SUBSCRIBED));
    let subscribing = monitor.count(&redis);
    assert_eq!(ana.ask("presence:unsubscribe", json!({"userIds": users})).await["success"], true);
    let unsubscribing = monitor.count(&redis) - subscribing;
    println!("{subscribing} commands to subscribe, {unsubscribing} to unsubscribe");
    // Some more are heartbeats of the node and scripts that this Redis did not know.
    assert!(subscribing <= 2 * 64 + 40, "{subscribing} commands");
    assert!(unsubscribing <= 2 * 64 + 40, "{unsubscribing} commands");
    drop(ana);
    cluster.close().await;
}

/// Presence is in no call's way: calls are acknowledged about as fast while many subscribe to many again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_slow_no_call() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let subscribers = join_all((0..SUBSCRIBERS).map(|_| async { cluster.phone(0, &unique("fan")).await })).await;
    let acked_after = async || {
        let mut times = Vec::new();
        for _ in 0..CALLS {
            let id = unique_call();
            let asked = Instant::now();
            assert_eq!(ana.call(&id, &bo.user).await["success"], true);
            times.push(asked.elapsed());
            assert_eq!(ana.cancel(&id).await["success"], true);
        }
        times.sort_unstable();
        times[CALLS / 2]
    };
    let quiet = acked_after().await;
    let rounds = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let subscribing = join_all(subscribers.iter().enumerate().map(|(n, phone)| {
        let (rounds, over) = (&rounds, &over);
        async move {
            let users = many(&format!("star{n}"), SUBSCRIBED);
            while !over.load(Ordering::Relaxed) {
                for word in ["presence:subscribe", "presence:unsubscribe"] {
                    assert_eq!(phone.ask(word, json!({"userIds": users})).await["success"], true);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }));
    let calling = async {
        let busy = acked_after().await;
        over.store(true, Ordering::Relaxed);
        busy
    };
    let (busy, _) = tokio::join!(calling, subscribing);
    let rounds = rounds.into_inner();
    println!("median of initiate acks: {quiet:?}, {busy:?} while subscribed {rounds} times");
    assert!(rounds >= SUBSCRIBERS, "they subscribed {rounds} times");
    assert!(busy < quiet * 10 + Duration::from_millis(30), "quiet {quiet:?}, with subscribers {busy:?}");
    drop((ana, bo, subscribers));
    cluster.close().await;
}

fn many(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("USR_{name}_{n}")).collect()
}

/// Sees every command that comes to a Redis over a connection, those within scripts apart.
struct Monitor {
    process: Child,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Monitor {
    fn on(redis: &Redis) -> Self {
        let mut process = Command::new("redis-cli")
            .args(["-p", &redis.port.to_string(), "monitor"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli runs");
        let (seen, lines) = (Arc::default(), BufReader::new(process.stdout.take().expect("its output")).lines());
        let monitor = Self { process, seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).filter(|line| !line.contains(" lua] ")) {
                seen.lock().push(line);
            }
        });
        // It has begun when it sees something.
        while monitor.seen.lock().len() < 2 {
            redis.command(&["PING"]);
        }
        monitor.seen.lock().clear();
        monitor
    }

    /// How many commands came so far.
    fn count(&self, redis: &Redis) -> usize {
        let mark = format!("{:032x}", rand::random::<u128>());
        redis.command(&["ECHO", &mark]);
        while !self.seen.lock().iter().any(|line| line.contains(&mark)) {}
        self.seen.lock().len()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
