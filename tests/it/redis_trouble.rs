//! Redis restarts, hangs, forgets, refuses and is slow: no phone is disconnected, no call is lost, nobody is told that
//! somebody left.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::cluster::{SECRET, get, get_with};
use crate::harness::phone::{unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Cluster, Phone, until};

/// A lease, and some time for a busy machine.
const ONE_LEASE: Duration = Duration::from_secs(15);

/// Two nodes on one Redis with a ringing call, an accepted one, and somebody who watches a user's presence.
struct Stage {
    cluster: Cluster,
    ana: Phone,
    bo: Phone,
    cleo: Phone,
    dan: Phone,
    watcher: Phone,
    ringing: String,
    active: String,
}

impl Stage {
    async fn set(url: String) -> Self {
        let cluster = Cluster::on(&[url.clone(), url]).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(1, &unique("dan")).await);
        let watcher = cluster.phone(1, &unique("watcher")).await;
        let watched = watcher.ask("presence:subscribe", json!({"userIds": [ana.user, dan.user]})).await;
        assert_eq!(watched["success"], true);
        let (ringing, active) = (unique_call(), unique_call());
        ana.rings(&ringing, &bo).await;
        cleo.rings(&active, &dan).await;
        dan.accept(&active).await;
        cleo.expect("call:accepted").await;
        Self { cluster, ana, bo, cleo, dan, watcher, ringing, active }
    }

    fn phones(&self) -> [&Phone; 5] {
        [&self.ana, &self.bo, &self.cleo, &self.dan, &self.watcher]
    }

    async fn ready(&self, node: usize) -> bool {
        get(self.cluster.nodes[node].admin, "/ready").await.0 == 200
    }

    async fn holds_lease(&self, node: usize) -> bool {
        get(self.cluster.nodes[node].admin, "/lease").await.0 == 200
    }

    /// Waits until both nodes hold their leases and know of `users`.
    async fn recovers(&self, users: usize, within: Duration) -> Duration {
        let started = Instant::now();
        loop {
            let known = self.cluster.shared.sessions.online_count().await;
            let complete = known.as_ref().is_ok_and(|known| *known == users as u64);
            if complete && self.holds_lease(0).await && self.holds_lease(1).await {
                return started.elapsed();
            }
            assert!(started.elapsed() < within, "not complete after {within:?}: {known:?}");
            tokio::time::sleep(Duration::from_millis(50)).await; // asked, not waited for
        }
    }

    /// Both calls go on as if nothing had been; then everything is over, and nobody heard anything else.
    async fn plays_on(self) {
        for phone in self.phones() {
            assert!(phone.keep_connected(), "{} lost its connection: {:?}", phone.user, phone.fate());
        }
        let Self { cluster, ana, bo, cleo, dan, watcher, ringing, active } = self;
        let busy = watcher.call(&unique_call(), &dan.user).await;
        assert_eq!(busy["busy"], true, "dan is in a call: {busy}");
        watcher.expect("call:busy").await;
        assert_eq!(bo.accept(&ringing).await["success"], true);
        ana.expect("call:accepted").await;
        assert_eq!(dan.end(&active).await["success"], true);
        cleo.expect("call:ended").await;
        assert_eq!(ana.end(&ringing).await["success"], true);
        bo.expect("call:ended").await;
        cluster.assert_free(&[&ana.user, &bo.user, &cleo.user, &dan.user]).await;
        let next = unique_call();
        dan.rings(&next, &ana).await;
        dan.cancel(&next).await;
        ana.expect("call:cancelled").await;
        for phone in [&ana, &bo, &cleo, &dan, &watcher] {
            phone.assert_nothing_more().await;
        }
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarted_empty_loses_no_call_and_no_presence() {
    let mut redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    let crowd = join_all((0..995).map(|n| {
        let node = n % 2;
        let stage = &stage;
        async move { stage.cluster.phone(node, &unique("idle")).await }
    }))
    .await;
    redis.restart();
    let took = stage.recovers(1000, ONE_LEASE).await;
    println!("presence of 1000 users complete after {took:?}");
    assert!(crowd.iter().all(Phone::keep_connected), "a phone was disconnected");
    drop(crowd);
    stage.plays_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarted_with_its_data_goes_on() {
    let mut redis = Redis::durable();
    let stage = Stage::set(redis.url()).await;
    redis.restart();
    stage.recovers(5, ONE_LEASE).await;
    stage.plays_on().await;
}

/// For 5 s, and for longer than a lease: commands fail fast, the node lives, and is ready: its phones have nowhere to go.
async fn silent_for(silence: Duration) {
    let redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    redis.signal("STOP");
    let silent = Instant::now();
    let asked = Instant::now();
    let refused = stage.watcher.call(&unique_call(), &unique("nobody")).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    assert!(asked.elapsed() < Duration::from_secs(5), "two commands, 2 s each: {:?}", asked.elapsed());
    assert_eq!(get(stage.cluster.nodes[0].admin, "/live").await.0, 200);
    let (status, health) = stage.cluster.get(0, "/health").await;
    assert_eq!((status, &health["status"]), (200, &json!("OK")));
    while silent.elapsed() < silence {
        assert!(stage.ready(0).await && stage.ready(1).await, "nobody is better off");
        tokio::time::sleep(Duration::from_millis(100)).await; // the trouble itself
    }
    redis.signal("CONT");
    stage.recovers(5, ONE_LEASE).await;
    stage.plays_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_silent_for_five_seconds() {
    silent_for(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_silent_for_longer_than_a_lease() {
    silent_for(Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_subscribers_hear_again() {
    let redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    for _ in 0..5 {
        let killed: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).parse().expect("a count");
        assert_eq!(killed, 2, "both nodes subscribe");
        let channels = || redis.command(&["PUBSUB", "CHANNELS"]).lines().count();
        while channels() < 2 {}
    }
    stage.plays_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_changed_under_way() {
    let redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    redis.command(&["CONFIG", "SET", "requirepass", "another"]);
    redis.command(&["-a", "another", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal"]);
    let refused = stage.watcher.call(&unique_call(), &unique("nobody")).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    redis.command(&["-a", "another", "--no-auth-warning", "CONFIG", "SET", "requirepass", ""]);
    stage.recovers(5, ONE_LEASE).await;
    stage.plays_on().await;
}

/// A Redis out of memory begins no call, and ends every one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_out_of_memory_still_ends_calls() {
    let redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = stage.watcher.call(&unique_call(), &unique("nobody")).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    let accepted = stage.bo.accept(&stage.ringing).await;
    assert_eq!(accepted["success"], true, "{accepted}");
    stage.ana.expect("call:accepted").await;
    assert_eq!(stage.dan.end(&stage.active).await["success"], true);
    stage.cleo.expect("call:ended").await;
    assert_eq!(stage.ana.end(&stage.ringing).await["success"], true);
    stage.bo.expect("call:ended").await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    stage.recovers(5, ONE_LEASE).await;
    stage.cluster.close().await;
}

/// Fails before (cleo hears `call:ended`, and nobody rings): nor does a dial that it can't take end the dialer's own call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_a_full_redis_refuses_costs_no_call() {
    let redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = stage.dan.call(&unique_call(), &unique("nobody")).await;
    assert_eq!(refused["code"], "unavailable", "{refused}");
    assert_eq!(stage.cluster.state(&stage.active).await, ("active", None));
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    stage.recovers(5, ONE_LEASE).await;
    stage.plays_on().await;
}

/// Fails before (nothing is put back, and every word is unavailable for 30 s): a Redis that is full and has lost writes takes
/// what follows a loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_gets_back_what_it_lost() {
    let redis = Redis::start();
    let stage = Stage::set(redis.url()).await;
    let keys = |pattern: &str| -> Vec<String> {
        redis.command(&["KEYS", pattern]).lines().filter(|key| !key.is_empty()).map(str::to_owned).collect()
    };
    let epochs = || -> Vec<String> { keys("*:epochs:*").iter().map(|key| redis.command(&["SMEMBERS", key])).collect() };
    let before = epochs();
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let lost = ["*:call:*", "*:watchers:*", "*:generation"].map(keys).concat();
    redis.command(&[vec!["DEL"], lost.iter().map(String::as_str).collect()].concat());
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let accepted = stage.bo.accept(&stage.ringing).await;
    assert_eq!(accepted["success"], true, "{accepted}");
    stage.ana.expect("call:accepted").await;
    let swept = async || epochs().iter().all(|epochs| epochs.lines().count() == 1 && !before.contains(epochs));
    until("the sessions of both nodes are all of a new epoch", 2 * ONE_LEASE, swept).await;
    stage.recovers(5, ONE_LEASE).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    until("presence is subscribed to again", ONE_LEASE, async || keys("*:watchers:*").len() == 2).await;
    assert_eq!(stage.ana.end(&stage.ringing).await["success"], true);
    stage.bo.expect("call:ended").await;
    assert_eq!(stage.dan.end(&stage.active).await["success"], true);
    stage.cleo.expect("call:ended").await;
    stage.cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_replies_of_redis_slow_calls_and_lose_none() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let stage = Stage::set(format!("redis://{}", proxy.address)).await;
    proxy.delay(Duration::from_millis(200));
    let eve = stage.cluster.phone(0, &unique("eve")).await;
    let id = unique_call();
    let asked = Instant::now();
    stage.watcher.rings(&id, &eve).await;
    assert!(asked.elapsed() > Duration::from_millis(200));
    assert_eq!(stage.watcher.cancel(&id).await["success"], true);
    eve.expect("call:cancelled").await;
    drop(eve);
    proxy.delay(Duration::ZERO);
    stage.plays_on().await;
}

/// Whoever comes back soon after the end of his call to a node that has no store is told of it when the node has: it was
/// the node that could not ask within the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_came_back_to_a_node_without_the_store_hears_the_rejection() {
    let redis = Redis::start();
    let far = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[redis.url(), format!("redis://{}", far.address)]).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    far.cut();
    let user = ana.user.clone();
    ana.vanish();
    let gone = async || {
        let online = cluster.shared.sessions.online_users().await;
        online.is_ok_and(|users| users.iter().all(|other| other.as_str() != user))
    };
    until("ana is gone", ONE_LEASE, gone).await;
    assert_eq!(bo.reject(&id).await["success"], true);
    let ana = cluster.phone(1, &user).await;
    let came = Instant::now();
    while came.elapsed() < Duration::from_secs(11) {
        tokio::time::sleep(Duration::from_millis(100)).await; // the store no longer keeps that nobody heard it
    }
    far.mend();
    assert_eq!(ana.expect_within("call:rejected", ONE_LEASE).await["callId"], id.as_str());
    bo.completes_call(&ana).await;
    cluster.close().await;
}

/// To register all phones again takes longer than a lease where replies are slow: the lease is renewed meanwhile, and no
/// other node takes the phones for gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlasts_the_registration_of_all_phones() {
    let mut redis = Redis::start();
    let slow = Proxy::before(redis.port).await;
    let urls = [format!("redis://{}", slow.address), redis.url()];
    let cluster = Cluster::on_tuned(&urls, |config| {
        config.policy.lease = Duration::from_secs(2);
        config.policy.lease_renewal = Duration::from_millis(400);
    })
    .await;
    let names: Vec<String> = (0..400).map(|_| unique("idle")).collect();
    let phones = join_all(names.iter().map(|name| cluster.phone(0, name))).await;
    let online = async || {
        let known = cluster.shared.sessions.online_count().await;
        known.is_ok_and(|known| known == names.len() as u64)
    };
    redis.restart();
    until("all are registered", ONE_LEASE, online).await;
    // To connect again takes several replies, all phones many: less and more than a lease.
    slow.delay(Duration::from_millis(250));
    slow.cut();
    slow.mend();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        for name in [&names[0], names.last().expect("some")] {
            let path = format!("/api/users/{name}/online");
            let answer = get_with(cluster.nodes[1].public, &path, ("x-internal-secret", SECRET)).await;
            assert_eq!(answer.1["isOnline"], true, "{name} after {:?}", begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await; // asked, not waited for
    }
    assert!(phones.iter().all(Phone::keep_connected), "a phone was disconnected");
    slow.delay(Duration::ZERO);
    drop(phones);
    let nobody = async || cluster.shared.sessions.online_count().await.is_ok_and(|known| known == 0);
    until("all have left", ONE_LEASE, nobody).await;
    cluster.close().await;
}

/// One node is cut off, the other is not: its phones are better off there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_from_redis_while_others_are_not_knows_it() {
    let redis = Redis::start();
    let (near, far) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let url = |proxy: &Proxy| format!("redis://{}", proxy.address);
    // Who comes second knows of the first at once.
    let cluster = Cluster::on(&[url(&far), url(&near)]).await;
    near.cut();
    let cut = Instant::now();
    let isolated = tokio::time::timeout(Duration::from_secs(30), cluster.nodes[1].isolated()).await;
    isolated.expect("it notices");
    assert!(cut.elapsed() >= Duration::from_secs(12), "only after 15 s without a renewal: {:?}", cut.elapsed());
    // Where no node has the store, all stay as they are.
    far.cut();
    let alone = tokio::time::timeout(Duration::from_secs(6), cluster.nodes[1].isolated());
    assert!(alone.await.is_err(), "nobody is better off elsewhere");
}
