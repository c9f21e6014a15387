//! No stickiness: a phone's requests may reach any node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::phone::{unique, unique_call};
use crate::harness::{Backend, Cluster};

/// A phone on polling whose every request goes to the next node.
struct Wanderer<'c> {
    cluster: &'c Cluster,
    http: reqwest::Client,
    sid: String,
    next: AtomicUsize,
}

impl<'c> Wanderer<'c> {
    async fn open(cluster: &'c Cluster, user: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut phone = Self { cluster, http, sid: String::new(), next: AtomicUsize::new(0) };
        let opened = phone.get().await;
        let packet: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
        phone.sid = packet["sid"].as_str().unwrap().to_owned();
        assert!(phone.sid.contains('.'), "the id names its node: {}", phone.sid);
        phone.post(&format!("40{}", json!({"token": "t", "userId": user, "acks": true}))).await;
        phone.expect("session:ready").await;
        phone
    }

    fn url(&self) -> String {
        let node = self.next.fetch_add(1, Ordering::Relaxed) % self.cluster.nodes.len();
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        format!("http://{}/socket.io/?EIO=4&transport=polling{sid}", self.cluster.address(node))
    }

    async fn get(&self) -> String {
        let response = self.http.get(self.url()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }

    async fn post(&self, body: &str) {
        let response = self.http.post(self.url()).body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    async fn expect(&self, event: &str) -> Value {
        loop {
            for packet in self.get().await.split('\u{1e}') {
                if packet == "2" {
                    self.post("3").await;
                } else if let Some(array) = packet.strip_prefix("42") {
                    let array = array.trim_start_matches(|c: char| c.is_ascii_digit());
                    let parts: Vec<Value> = serde_json::from_str(array).unwrap();
                    if parts[0] == event {
                        return parts[1].clone();
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_requests_may_reach_any_node() {
    let cluster = Cluster::start(Backend::Redis, 3).await;
    let (ana, id) = (cluster.phone(1, &unique("ana")).await, unique_call());
    let bo = unique("bo");
    let wanderer = Wanderer::open(&cluster, &bo).await;
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
        let wanderer = Wanderer::open(&cluster, &bo).await;
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
    let wanderer = Wanderer::open(&cluster, &unique("bo")).await;
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
