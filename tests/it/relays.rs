//! Websockets that run through another node end when a side of them is dead, however it died.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::cluster::get;
use crate::harness::phone::{Profile, initiate, unique, unique_call};
use crate::harness::poller::Poller;
use crate::harness::wanderer::Wanderer;
use crate::harness::{Backend, Cluster, Phone, until};
use crate::processes::{Node, prefix};

/// Longer than any of what is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Descriptors of a node that has few: it keeps a quarter for itself, and of the rest a quarter for what is passed on.
const FEW: usize = 256;

/// What lies between two nodes: passes bytes on until it freezes, and then closes nothing.
struct Between {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    frozen: watch::Sender<bool>,
}

impl Between {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, frozen) = (watch::Sender::new(None), watch::Sender::new(false));
        let (target_of, frozen_of) = (target.clone(), frozen.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (mut target, mut frozen) = (target_of.subscribe(), frozen_of.subscribe());
                tokio::spawn(async move {
                    let target = target.wait_for(Option::is_some).await.unwrap().unwrap();
                    let mut to = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => return,
                        _ = async { drop(frozen.wait_for(|frozen| *frozen).await) } => {}
                    }
                    // Both ends stay open for as long as the test lives.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, target, frozen }
    }
}

/// Two nodes of which the second reaches the first through what may freeze. Pings each second, answered within one.
async fn cluster(between: &Between) -> Cluster {
    let started = AtomicUsize::new(0);
    let cluster = Cluster::tuned(Backend::Memory, 2, |config| {
        (config.ping_interval, config.ping_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        if started.fetch_add(1, Ordering::Relaxed) == 0 {
            config.node_address = Some(format!("http://{}", between.address));
        }
    })
    .await;
    between.target.send_replace(Some(cluster.address(0)));
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_froze_ends_the_websockets_that_run_to_it() {
    let between = Between::open().await;
    let cluster = cluster(&between).await;
    let mut phone = Poller::open(cluster.address(0), &unique("bo")).await;
    let mut websocket = phone.websocket(cluster.address(1)).await;
    websocket.say("2probe").await;
    assert_eq!(websocket.hear().await.as_deref(), Some("3probe"));
    phone.pause().await;
    websocket.say("5").await;
    assert_eq!(websocket.hear().await.as_deref(), Some("2"), "it is used");
    websocket.say("3").await;
    between.frozen.send_replace(true);
    // The phone goes on answering whatever it hears; its own ping timeout is later.
    let ended = async {
        loop {
            tokio::select! {
                read = websocket.stream.read_u8() => if read.is_err() { return },
                () = tokio::time::sleep(Duration::from_millis(200)) => websocket.say("3").await, // a lively phone
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the frozen side ends it");
}

/// A poll at a node whose other side froze is answered: the phone opens a new session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_froze_holds_no_poll() {
    let between = Between::open().await;
    let cluster = cluster(&between).await;
    let phone = Poller::open(cluster.address(0), &unique("bo")).await;
    between.frozen.send_replace(true);
    let poll = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/socket.io/?EIO=4&transport=polling&sid={}", cluster.address(1), phone.sid);
    let answer = tokio::time::timeout(Duration::from_secs(30), poll.get(url).send()).await.expect("in time").unwrap();
    assert_eq!(answer.status(), 400);
}

/// Nodes reach each other at IPv6 addresses, and phones at `::`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_and_phones_on_ipv6() {
    for host in ["::1", "::"] {
        let cluster = Cluster::tuned(Backend::Memory, 2, |config| config.host = host.parse().unwrap()).await;
        let at = |node: usize| SocketAddr::new("::1".parse().unwrap(), cluster.address(node).port());
        let (bo, id) = (unique("bo"), unique_call());
        let mut phone = Poller::open(at(0), &bo).await;
        if host == "::" {
            let v4 = SocketAddr::new("127.0.0.1".parse().unwrap(), cluster.address(0).port());
            assert_eq!(crate::harness::cluster::get(v4, "/health").await.0, 200, "it is IPv4 too");
        }
        let mut websocket = phone.websocket(at(1)).await;
        websocket.say("2probe").await;
        assert_eq!(websocket.hear().await.as_deref(), Some("3probe"), "HOST={host}: the relay reaches its node");
        phone.pause().await;
        websocket.say("5").await;
        let ana = crate::harness::Phone::connect(at(1), crate::harness::Profile::of(&unique("ana"))).await;
        assert_eq!(ana.call(&id, &bo).await["success"], true);
        websocket.expect("call:incoming").await;
        let hang_up = json!(["call:reject", {"callId": id}]);
        websocket.say(&format!("421{hang_up}")).await;
        ana.expect("call:rejected").await;
        websocket.stream.shutdown().await.unwrap();
    }
}

/// What a phone posts through another node reaches its own, though the phone has hung up before it was passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_through_another_node_outlives_its_client() {
    const SAID: usize = 10;
    let cluster = Cluster::start(Backend::Memory, 2).await;
    let (bo, id) = (cluster.phone(0, &unique("bo")).await, unique_call());
    let ana = Wanderer::open(vec![cluster.address(0)], &unique("ana")).await;
    let emit = |event: &str, payload: serde_json::Value| format!("42{}", json!([event, payload]));
    ana.post(&emit("call:initiate", initiate(&id, &bo.user))).await;
    bo.expect("call:incoming").await;
    assert_eq!(bo.accept(&id).await["success"], true);
    for number in 0..SAID {
        let body = emit("call:message", json!({"callId": id, "data": number}));
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={}", ana.sid);
        let head = format!("POST {path} HTTP/1.1\r\nhost: n\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut client = std::net::TcpStream::connect(cluster.address(1)).expect("a connection");
        std::io::Write::write_all(&mut client, (head + &body).as_bytes()).expect("the kernel takes it");
    }
    let mut heard = Vec::new();
    for _ in 0..SAID {
        heard.push(bo.expect("call:message").await["data"].as_u64());
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..SAID as u64).map(Some).collect::<Vec<_>>());
    assert_eq!(bo.end(&id).await["success"], true);
    cluster.close().await;
}

/// A node with few descriptors, and another; phones have all of one address.
async fn few_descriptors() -> (Node, Node) {
    let prefix = prefix();
    let variables = [
        ("HANDSHAKES_PER_SECOND", "0"),
        ("HANDSHAKES_PER_ADDRESS_PER_SECOND", "0"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let nodes = (Node::start_limited(&prefix, &variables, FEW), Node::start(&prefix, &variables));
    until("both are ready", PATIENCE, async || {
        get(nodes.0.admin, "/ready").await.0 == 200 && get(nodes.1.admin, "/ready").await.0 == 200
    })
    .await;
    nodes
}

async fn is_well(node: &Node) {
    assert_eq!(get(node.admin, "/live").await.0, 200);
    until("it is ready", PATIENCE, async || get(node.admin, "/ready").await.0 == 200).await;
    let open = node.descriptors();
    assert!(open < FEW * 15 / 16, "{open} of {FEW} descriptors are open");
}

/// Phones that nothing is passed on for need one descriptor each: a node holds more than half of what its reserve leaves. What is
/// passed on takes one beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_full_of_its_own_phones_passes_others_on() {
    let (full, other) = few_descriptors().await;
    let alone = full.descriptors();
    let held = join_all((0..FEW * 7 / 16).map(|_| Phone::connect(full.public, Profile::of(&unique("own"))))).await;
    let wanderers = held.iter().take(8).map(|callee| async {
        // It asks either node in turn.
        let id = unique_call();
        let phone = Wanderer::open(vec![other.public, full.public], &unique("bo")).await;
        phone.post(&format!("42{}", json!(["call:initiate", initiate(&id, &callee.user)]))).await;
        assert_eq!(callee.expect("call:incoming").await["callId"], id);
        assert_eq!(callee.reject(&id).await["success"], true);
        assert_eq!(phone.expect("call:rejected").await["callId"], id);
    });
    join_all(wanderers).await;
    held[0].completes_call(&held[1]).await;
    is_well(&full).await;
    drop(held);
    // What was passed on leaves one connection that waits for more, and not one for each.
    until("their descriptors are free", PATIENCE, async || full.descriptors() <= alone + 2).await;
}

/// Whatever is passed on, phones and the store have theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_passed_on_does_not_use_up_the_descriptors() {
    let (full, other) = few_descriptors().await;
    let (ana, bo) = (Profile::of(&unique("ana")), Profile::of(&unique("bo")));
    let phones = (Phone::connect(full.public, ana).await, Phone::connect(other.public, bo).await);
    let mut polls = Vec::new();
    for number in 0..FEW {
        let address = format!("198.51.{}.{}", 100 + number / 200, number % 200);
        let ask = async |node: &Node, sid: &str| {
            let mut stream = TcpStream::connect(node.public).await.expect("a connection");
            let target = format!("/socket.io/?EIO=4&transport=polling{sid}");
            let head = format!("GET {target} HTTP/1.1\r\nhost: n\r\nx-forwarded-for: {address}\r\n\r\n");
            // Whom the node turns away reads no head.
            let _ = stream.write_all(head.as_bytes()).await;
            stream
        };
        let mut opened = ask(&other, "").await;
        let mut bytes = vec![0; 4096];
        let length = opened.read(&mut bytes).await.expect("an open packet");
        let packet = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let sid = packet.split_once("\"sid\":\"").and_then(|(_, rest)| rest.split_once('"')).expect("an id").0;
        polls.push(ask(&full, &format!("&sid={sid}")).await);
    }
    is_well(&full).await;
    assert!(full.descriptors() > FEW / 2, "{} are used", full.descriptors());
    phones.0.completes_call(&phones.1).await;
    drop(polls);
    until("their descriptors are free", PATIENCE, async || full.descriptors() < FEW / 4).await;
    phones.1.completes_call(&phones.0).await;
}
