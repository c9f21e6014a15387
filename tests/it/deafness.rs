//! A phone that does not read: calls find their way past all else, or it is let go and comes back.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::phone::{unique, unique_call};
use crate::harness::wanderer::Wanderer;
use crate::harness::{Backend, Cluster};

const WATCHED: usize = 250;

async fn cluster() -> Cluster {
    // No ping gets in the way of a pause.
    Cluster::tuned(Backend::Memory, 2, |config| config.ping_interval = Duration::from_secs(60)).await
}

/// One queue for everything: presence filled it, and the call was never heard nor told again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_finds_its_way_past_a_flood_of_presence() {
    let cluster = cluster().await;
    let bo = unique("bo");
    let poller = Wanderer::open(vec![cluster.address(0)], &bo).await;
    let witness = cluster.phone(0, &unique("witness")).await;
    let users: Vec<String> = (0..WATCHED).map(|_| unique("friend")).collect();
    let subscribe = json!(["presence:subscribe", {"userIds": users}]);
    poller.post(&format!("421{subscribe}")).await;
    while !poller.poll().await.1.contains("431[") {}
    witness.ask("presence:subscribe", subscribe[1].clone()).await;

    // From here on he reads nothing, until all have come, some have gone again, and he is called.
    let mut friends = join_all(users.iter().map(|user| cluster.phone(1, user))).await;
    for _ in 0..WATCHED {
        witness.expect("user:online").await;
    }
    let gone = friends.split_off(WATCHED - 20);
    let gone: Vec<String> = gone.into_iter().map(|friend| friend.user.clone()).collect();
    for _ in &gone {
        witness.expect("user:offline").await;
    }
    let (ana, id) = (cluster.phone(1, &unique("ana")).await, unique_call());
    let beside = cluster.phone(0, &bo).await;
    assert_eq!(ana.call(&id, &bo).await["success"], true);
    // Both are told in one step.
    assert_eq!(beside.expect("call:incoming").await["callId"], id.as_str());

    let mut told: HashMap<String, bool> = HashMap::new();
    let (mut polls, mut rang) = (0, None);
    while told.len() < WATCHED || gone.iter().any(|user| told[user]) {
        polls += 1;
        for (event, payload) in poller.hear().await {
            match event.as_str() {
                "call:incoming" => rang = Some((polls, payload["callId"].clone())),
                "user:online" | "user:offline" => {
                    told.insert(payload["userId"].as_str().unwrap().to_owned(), event == "user:online");
                }
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(rang, Some((1, json!(id))), "the call is in the first thing that he reads");
    assert!(users.iter().all(|user| told[user] != gone.contains(user)), "the newest state of each");
    ana.cancel(&id).await;
    drop((ana, beside, witness, friends));
}

/// A burst that is larger than any queue reaches a phone that reads, whole and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_reads_hears_all_news() {
    let cluster = cluster().await;
    let bo = cluster.phone(0, &unique("bo")).await;
    let users: Vec<String> = (0..WATCHED).map(|_| unique("friend")).collect();
    bo.ask("presence:subscribe", json!({"userIds": users})).await;
    let friends = join_all(users.iter().map(|user| cluster.phone(1, user))).await;
    for number in 0..100 {
        let (path, note) =
            (format!("/api/users/{}/emit", bo.user), json!({"event": "app:note", "data": {"number": number}}));
        let (status, answer) = cluster.post(1, &path, note).await;
        assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    }
    for _ in 0..WATCHED {
        bo.expect("user:online").await;
    }
    for number in 0..100 {
        assert_eq!(bo.expect("app:note").await["number"], number);
    }
    drop(friends);
}

/// A call that finds no room is not lost in silence: the transport ends, the phone comes back and hears it by replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_is_deaf_for_calls_comes_back_and_hears_them() {
    let cluster = cluster().await;
    let bo = unique("bo");
    let poller = Wanderer::open(vec![cluster.address(0)], &bo).await;
    // On his node: what is told there is told before she is answered.
    let (ana, id) = (cluster.phone(0, &unique("ana")).await, unique_call());
    // Words about calls that nobody here knows fill his queue.
    for _ in 0..256 {
        let word = json!({"callId": unique_call(), "receiverId": bo, "reason": "x"});
        assert_eq!(cluster.post(0, "/api/emit/call-cancelled", word).await.0, 200);
    }
    // It goes when his queue overflows, with the call or a word before it.
    let ack = ana.call(&id, &bo).await;
    assert!(ack["success"] == true || ack["useFcmFallback"] == true, "{ack}");
    assert_eq!(poller.poll().await.0, 400, "its session is unknown");
    let back = Wanderer::open(vec![cluster.address(1)], &bo).await;
    assert_eq!(back.expect("call:incoming").await["callId"], id.as_str());
    back.post(&format!("42{}", json!(["call:accept", {"callId": id}]))).await;
    ana.expect("call:accepted").await;
    ana.end(&id).await;
    back.expect("call:ended").await;
}

/// Where the phone does not come back, he is not online any more: nobody waits for a ping that stays unanswered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_phone_leaves_at_once() {
    let cluster = cluster().await;
    let bo = unique("bo");
    let _poller = Wanderer::open(vec![cluster.address(0)], &bo).await;
    let online = async || cluster.shared.sessions.online_users().await.unwrap().iter().any(|user| user.as_str() == bo);
    assert!(online().await);
    for _ in 0..257 {
        let word = json!({"callId": unique_call(), "receiverId": bo});
        assert_eq!(cluster.post(0, "/api/emit/call-cancelled", word).await.0, 200);
    }
    tokio::time::timeout(Duration::from_secs(5), async {
        while online().await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("he is offline long before a ping would have found out");
}
