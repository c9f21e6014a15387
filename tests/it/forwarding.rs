//! No stickiness: a phone's requests may reach any node.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::phone::{unique, unique_call};
use crate::harness::wanderer::Wanderer;
use crate::harness::{Backend, Cluster};

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.public).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_requests_may_reach_any_node() {
    let cluster = Cluster::start(Backend::Redis, 3).await;
    let (ana, id) = (cluster.phone(1, &unique("ana")).await, unique_call());
    let bo = unique("bo");
    let wanderer = Wanderer::open(addresses(&cluster), &bo).await;
    assert_eq!(ana.call(&id, &bo).await["success"], true);
    assert_eq!(wanderer.expect("call:incoming").await["callId"], id.as_str());
    wanderer.post(&format!("42{}", json!(["call:accept", {"callId": id}]))).await;
    ana.expect("call:accepted").await;
    ana.end(&id).await;
    wanderer.expect("call:ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_may_reach_any_node() {
    let cluster = Cluster::start(Backend::Redis, 3).await;
    let ana = cluster.phone(1, &unique("ana")).await;
    for node in 0..3 {
        let (bo, id) = (unique("bo"), unique_call());
        let wanderer = Wanderer::open(addresses(&cluster), &bo).await;
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", cluster.address(node), wanderer.sid);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("an upgrade");
        socket.send(Message::text("2probe")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("3probe"));
        socket.send(Message::text("5")).await.unwrap();
        assert_eq!(ana.call(&id, &bo).await["success"], true);
        let incoming = loop {
            let message = socket.next().await.unwrap().unwrap().into_text().unwrap();
            if message.contains("call:incoming") {
                break message.to_string();
            }
        };
        assert!(incoming.contains(&id), "{incoming}");
        ana.cancel(&id).await;
    }
}

/// What names a node that is not there, or pretends to come from one, gets what makes a client open a new session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_nodes_session_is_unknown_at_once() {
    let cluster = Cluster::start(Backend::Redis, 2).await;
    let wanderer = Wanderer::open(addresses(&cluster), &unique("bo")).await;
    let (engine_id, tag) = wanderer.sid.split_once('.').unwrap();
    let ask = async |node: usize, sid: String, hop: Option<&str>| {
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling&sid={sid}", cluster.address(node));
        let mut request = wanderer.http.get(url);
        if let Some(hop) = hop {
            request = request.header("x-signaling-hop", hop);
        }
        let response = tokio::time::timeout(Duration::from_secs(3), request.send()).await.expect("at once").unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let unknown = (400, r#"{"code":1,"message":"Session ID unknown"}"#.to_owned());
    for sid in [format!("{engine_id}.deadbeef00"), "x.y".into(), ".".into(), format!("{engine_id}.{tag}.{tag}")] {
        for node in 0..2 {
            assert_eq!(ask(node, sid.clone(), None).await, unknown, "{sid}");
        }
    }
    // A forged proof is taken off and counts for nothing: the request is passed on as any other.
    let forged = ask(1, format!("AAAAAAAAAAAAAAAA.{tag}"), Some("1800000000000.00ff")).await;
    assert_eq!(forged.0, 400);
    let id = unique_call();
    let ana = cluster.phone(1, &unique("ana")).await;
    ana.call(&id, &unique("nobody")).await;
    assert_eq!(ana.cancel(&id).await["success"], true);
}
