//! A node that stops lets its phones go: paced, parties of calls last, nobody is hung up.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::phone::{unique, unique_call};
use crate::harness::wanderer::Wanderer;
use crate::harness::{Backend, Cluster, Phone, Profile};

const WINDOW: Duration = Duration::from_secs(3);

async fn cluster() -> Cluster {
    Cluster::tuned(Backend::Redis, 2, |config| {
        config.drain.delay = Duration::ZERO;
        config.drain.window = WINDOW;
    })
    .await
}

/// When each phone's connection ended.
async fn ends(phones: &[&Phone]) -> Vec<Instant> {
    join_all(phones.iter().map(|phone| async {
        assert_eq!(phone.expect_fate().await, "closed", "a disconnect packet would keep it away");
        Instant::now()
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_closes_idle_phones_first_and_calls_last() {
    let cluster = cluster().await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(cluster.phone(0, &unique("idle")).await);
    }
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(1, &unique("dan")).await);
    let (ringing, active) = (unique_call(), unique_call());
    ana.rings(&ringing, &bo).await;
    cleo.rings(&active, &dan).await;
    dan.accept(&active).await;
    cleo.expect("call:accepted").await;

    let started = Instant::now();
    let (idle, ringing_phones, active_phones) = (idle.iter().collect::<Vec<_>>(), [&ana, &bo], [&cleo]);
    let (_, idle_ends, ringing_ends, active_ends) =
        tokio::join!(cluster.nodes[0].drain(), ends(&idle), ends(&ringing_phones), ends(&active_phones));
    let (first, last) = (idle_ends.iter().min().unwrap(), idle_ends.iter().max().unwrap());
    assert!(*last - *first > WINDOW / 2, "idle phones went within {:?}", *last - *first);
    assert!(last <= ringing_ends.iter().min().unwrap(), "a ringing phone went before an idle one");
    assert!(ringing_ends.iter().max() <= active_ends.iter().min(), "an accepted call went before a ringing one");
    assert!(active_ends[0] - started < WINDOW + Duration::from_secs(2));

    // All come back elsewhere; both calls go on.
    let back = |phone: &Phone| cluster.phone_with(1, Profile::of(&phone.user));
    let (ana, bo, cleo) = tokio::join!(back(&ana), back(&bo), back(&cleo));
    bo.expect("call:incoming").await;
    assert_eq!(bo.accept(&ringing).await["success"], true);
    ana.expect("call:accepted").await;
    cleo.expect("call:accepted").await;
    dan.assert_nothing_more().await;
    assert_eq!(dan.end(&active).await["success"], true);
    cleo.expect("call:ended").await;
    bo.end(&ringing).await;
    ana.expect("call:ended").await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_sends_pollers_and_newcomers_elsewhere() {
    let cluster = cluster().await;
    let poller = Wanderer::open(vec![cluster.address(0)], &unique("bo")).await;
    let ready = |node: usize| crate::harness::cluster::get(cluster.nodes[node].admin, "/ready");
    assert_eq!(ready(0).await.0, 200);
    let polled = async {
        // The poll that is open when its turn comes is answered, and so is the next.
        loop {
            let (status, text) = poller.poll().await;
            match status {
                200 => assert!(text.starts_with('2'), "only a ping is owed: {text}"),
                _ => return (status, text),
            }
            poller.post("3").await;
        }
    };
    let (_, answer) = tokio::join!(cluster.nodes[0].drain(), polled);
    assert_eq!(answer, (400, r#"{"code":1,"message":"Session ID unknown"}"#.into()));
    assert_eq!(poller.poll().await.0, 400);
    assert_eq!(ready(0).await.0, 503);
    assert_eq!(ready(1).await.0, 200);

    let handshake = format!("http://{}/socket.io/?EIO=4&transport=polling", cluster.address(0));
    let refused = poller.http.get(handshake).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.json::<serde_json::Value>().await.unwrap()["code"], "unavailable");
    // It still answers Laravel.
    let (status, _) = cluster.post(0, "/api/emit/call-ended", json!({"callId": unique_call()})).await;
    assert_eq!(status, 200);
    cluster.close().await;
}

/// A websocket that runs through a draining node ends too, and its phone comes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_ends_the_websockets_it_passes_on() {
    use futures_util::StreamExt;

    let cluster = cluster().await;
    let wanderer = Wanderer::open(vec![cluster.address(1)], &unique("bo")).await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", cluster.address(0), wanderer.sid);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("an upgrade through the other node");
    let ended = async { while let Some(Ok(_)) = socket.next().await {} };
    let drained = async {
        cluster.nodes[0].drain().await;
        Instant::now()
    };
    let started = Instant::now();
    let (_, ended) = tokio::join!(drained, tokio::time::timeout(2 * WINDOW, ended));
    ended.expect("the websocket ends");
    assert!(started.elapsed() >= WINDOW * 2 / 3, "relays go last");
}

/// A phone that upgraded through a draining node lost its connection twice: once with that node, once with its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_takes_no_upgrade_for_another() {
    let cluster = cluster().await;
    let (bo, id) = (unique("bo"), unique_call());
    let through = |node: usize, sid: &str| {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={sid}", cluster.address(node));
        tokio_tungstenite::connect_async(url)
    };
    let wanderer = Wanderer::open(vec![cluster.address(1), cluster.address(0)], &bo).await;
    let busy = cluster.phone(0, &unique("busy")).await;
    let upgraded = async {
        while crate::harness::cluster::get(cluster.nodes[0].admin, "/ready").await.0 == 200 {}
        let Err(tokio_tungstenite::tungstenite::Error::Http(refused)) = through(0, &wanderer.sid).await else {
            panic!("a draining node took an upgrade for another");
        };
        assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
        // The balancer asks the next; its polls may still come by here.
        through(1, &wanderer.sid).await.expect("an upgrade")
    };
    let (_, mut upgraded) = tokio::join!(cluster.nodes[0].drain(), upgraded);
    assert_eq!(busy.expect_fate().await, "closed");
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    upgraded.0.send(Message::text("2probe")).await.unwrap();
    assert_eq!(upgraded.0.next().await.unwrap().unwrap(), Message::text("3probe"));
    upgraded.0.send(Message::text("5")).await.unwrap();
    let ana = cluster.phone(1, &unique("ana")).await;
    assert_eq!(ana.call(&id, &bo).await["success"], true);
    while !upgraded.0.next().await.unwrap().unwrap().into_text().unwrap().contains("call:incoming") {}
    ana.cancel(&id).await;
}
