//! What is let in, and what a refusal looks like.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::cluster::{get, post};
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile};

/// A phone that sends too much is told so, and can still end its call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_but_a_hang_up_is_not() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| config.limits.events_per_minute = 100).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let mut refused = 0;
    for _ in 0..200 {
        let ack = ana.ask("call:message", json!({"callId": "no-such-call", "data": 1})).await;
        refused += usize::from(ack["code"] == "rate_limited");
    }
    assert!((70..=110).contains(&refused), "{refused} of 200 were refused");
    let ack = ana.ask("call:message", json!({"callId": id, "data": "flood"})).await;
    assert_eq!((&ack["success"], &ack["code"]), (&json!(false), &json!("rate_limited")));
    assert!((1..=60_000).contains(&ack["retryAfterMs"].as_u64().unwrap()), "{ack}");
    assert_eq!(ana.ask("call:initiate", initiate(&unique_call(), &bo.user)).await["code"], "rate_limited");
    assert_eq!(ana.end("no-such-call").await["code"], "rate_limited", "a hang-up of no call of his is limited");
    assert_eq!(ana.end(&id).await, json!({"success": true, "callId": id, "state": "ended"}));
    bo.expect("call:ended").await;
    assert!(ana.keep_connected(), "a limit ends no session");
}

/// Hang-ups have a bound of their own, far above what a finger can do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hang_ups_are_bounded_too() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.limits.events_per_minute = 1).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await, unique_call());
    ana.call(&id, &bo.user).await;
    bo.expect("call:incoming").await;
    let mut refused = 0;
    for ack in join_all((0..60).map(|_| bo.accept(&id))).await {
        refused += usize::from(ack["code"] == "rate_limited");
    }
    assert!((5..60).contains(&refused), "{refused} of 60 were refused");
    assert_eq!(cluster.state(&id).await, ("active", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callee_is_rung_six_times_a_minute() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| config.retention.rings_per_minute = 6).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    for _ in 0..6 {
        let id = unique_call();
        ana.rings(&id, &bo).await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
    }
    let ack = ana.call(&unique_call(), &bo.user).await;
    assert_eq!(ack["code"], "rate_limited");
    assert!(ack["retryAfterMs"].as_u64().unwrap() > 1000, "{ack}");
    bo.assert_nothing_more().await;
    let cleo = cluster.phone(1, &unique("cleo")).await;
    ana.rings(&unique_call(), &cleo).await;
}

/// Too many new sockets get a 503 with a hint, before anything is opened; those that are open stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_and_sessions_of_a_node_are_bounded() {
    let open = "/socket.io/?EIO=4&transport=polling";
    let limited = Cluster::tuned(Backend::Memory, 1, |config| config.limits.handshakes_per_address = 3).await;
    let mut refused = 0;
    for (status, answer) in join_all((0..40).map(|_| get(limited.address(0), open))).await {
        if status == 503 {
            refused += 1;
            assert_eq!(answer["code"], "unavailable");
        }
    }
    assert!(refused >= 10, "{refused} of 40 were refused");
    let full = Cluster::tuned(Backend::Memory, 1, |config| config.limits.sessions = 2).await;
    let phones = [full.phone(0, &unique("ana")).await, full.phone(0, &unique("bo")).await];
    assert_eq!(get(full.address(0), open).await.0, 503);
    let [ana, bo] = phones;
    ana.rings(&unique_call(), &bo).await;
    drop(bo);
    while get(full.address(0), open).await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await; // the node notices the closed socket
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_requests_are_bounded_by_address() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.limits.api_per_second = 5).await;
    let mut refused = 0;
    let address = cluster.address(0);
    let answers = (0..40).map(|_| post(address, "/api/emit/call-ended", Some("wrong"), json!({"callId": "1"})));
    for (status, answer) in join_all(answers).await {
        if status == 429 {
            refused += 1;
            assert_eq!(answer, json!({"error": "Too many requests", "code": "rate_limited"}));
        } else {
            assert_eq!(status, 401);
        }
    }
    assert!(refused >= 10, "{refused} of 40 were refused");
    let phone = Phone::connect(cluster.address(0), Profile::of(&unique("ana"))).await;
    phone.assert_nothing_more().await;
}
