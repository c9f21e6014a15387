//! What strangers can make a node hold, measured: connections, bytes, entries, and how long.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::config::ReadingTimes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::cluster::get;
use crate::harness::phone::{unique, unique_call};
use crate::harness::wanderer::Wanderer;
use crate::harness::{Backend, Cluster, until};
use crate::processes::{Node, prefix};

/// Longer than any of what is measured takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: ReadingTimes = ReadingTimes {
    head: Duration::from_millis(400),
    idle: Duration::from_millis(900),
    body: Duration::from_millis(1500),
    grace: Duration::from_millis(400),
    bytes_per_second: 1000,
};

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

async fn connect_and_say(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address).await;
    // A node may have ended it already.
    let _ = stream.write_all(bytes).await;
    stream
}

/// What came until the node ended the connection, and after how long.
async fn until_cut(mut stream: TcpStream) -> (Duration, String) {
    let (started, mut heard) = (Instant::now(), Vec::new());
    let mut buffer = [0; 4096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the node ends the connection");
    (started.elapsed(), String::from_utf8_lossy(&heard).into_owned())
}

/// Says one byte after the other until the node ends the connection.
async fn drip(address: SocketAddr, beginning: &str, pause: Duration) -> Duration {
    let mut stream = connect_and_say(address, beginning.as_bytes()).await;
    let started = Instant::now();
    let mut buffer = [0; 512];
    loop {
        assert!(started.elapsed() < PATIENCE, "the node still listens");
        tokio::select! {
            read = stream.read(&mut buffer) => if !matches!(read, Ok(1..)) { return started.elapsed() },
            () = tokio::time::sleep(pause) => if stream.write_all(b"a").await.is_err() { return started.elapsed() },
        }
    }
}

fn post(length: usize) -> String {
    let head = "POST /api/emit/call-ended HTTP/1.1\r\nhost: n\r\nx-internal-secret: between-laravel-and-us";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n")
}

/// Whoever says nothing, or half of it, or one byte after the other, is cut off after its time; who waits for an answer
/// or has a websocket is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_said_in_time_ends_and_what_waits_does_not() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.reading = SHORT).await;
    let address = cluster.address(0);
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
    let poller = Wanderer::open(vec![address], &bo).await;
    let held = poller.poll();
    tokio::pin!(held);
    let strangers = async {
        let cut = |bytes: &'static str| async move {
            join_all((0..20).map(|_| async { until_cut(connect_and_say(address, bytes.as_bytes()).await).await })).await
        };
        let half_body = post(1000) + "{\"call";
        let half_bodies = async {
            join_all((0..20).map(|_| async { until_cut(connect_and_say(address, half_body.as_bytes()).await).await }))
                .await
        };
        let pause = Duration::from_millis(20);
        let long = post(100_000);
        let steady = async {
            let mut stream = connect_and_say(address, post(200_000).as_bytes()).await;
            let started = Instant::now();
            // Fast enough at every moment, and without end.
            while stream.write_all(&[b'a'; 500]).await.is_ok() {
                assert!(started.elapsed() < PATIENCE, "the node still listens");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            started.elapsed()
        };
        tokio::join!(
            cut(""),
            cut("GET /health HT"),
            cut("GET /health HTTP/1.1\r\nhost: n\r\n\r\n"),
            half_bodies,
            drip(address, "GET /health HTTP/1.1\r\nx: ", pause),
            drip(address, &long, pause),
            steady
        )
    };
    let (silent, half, idle, half_bodies, dripped_head, slow_body, steady) = tokio::select! {
        cut = strangers => cut,
        _ = &mut held => panic!("a held poll was answered"),
    };
    for (after, heard) in silent.iter().chain(&half) {
        assert!(*after >= SHORT.head / 2 && heard.is_empty(), "{after:?} {heard:?}");
    }
    for (after, heard) in &idle {
        assert!(*after >= SHORT.idle * 3 / 4 && heard.starts_with("HTTP/1.1 200"), "{after:?} {heard:?}");
    }
    for (after, _) in &half_bodies {
        assert!(*after >= SHORT.grace / 2, "{after:?}");
    }
    assert!(dripped_head >= SHORT.head / 2 && slow_body >= SHORT.grace / 2, "{dripped_head:?} {slow_body:?}");
    assert!(steady >= SHORT.body / 2, "{steady:?}");
    // Two honest ones are left, and both are still served.
    let honest = cluster.nodes[0].connections();
    until("strangers go", PATIENCE, async || honest.open() <= 3).await;
    assert_eq!(honest.unfinished_bytes(), 0);
    let id = unique_call();
    ana.call(&id, &bo).await;
    let (status, text) = tokio::time::timeout(PATIENCE, held).await.expect("the poll is answered");
    assert!(status == 200 && text.contains("call:incoming"), "{status} {text}");
    ana.cancel(&id).await;
}

/// A head has a size, and incomplete requests hold no more together than a node spares.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_requests_hold_a_bounded_number_of_bytes() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (address, connections) = (cluster.address(0), cluster.nodes[0].connections());
    let long = format!("GET /health HTTP/1.1\r\nx: {}", "a".repeat(390_000));
    let (_, heard) = until_cut(connect_and_say(address, long.as_bytes()).await).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431"), "{heard}");

    let wanderer = Wanderer::open(vec![address], &unique("eve")).await;
    let head = "POST /socket.io/?EIO=4&transport=polling&sid=";
    let head = format!("{head}{} HTTP/1.1\r\nhost: n\r\ncontent-length: 1100000\r\n\r\n", wanderer.sid);
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let body = vec![b'a'; 1_000_000];
    let mut held = Vec::new();
    let mut most = 0;
    for _ in 0..100 {
        let mut stream = connect_and_say(address, head.as_bytes()).await;
        let _ = stream.write_all(&body).await;
        held.push(stream);
        most = most.max(connections.unfinished_bytes());
    }
    assert!(most <= 66 * 1024 * 1024, "{most} bytes are held");
    assert!(most >= 32 * 1024 * 1024, "{most} bytes are held: nothing was measured");
    ana.completes_call(&bo).await;
    drop(held);
    until("bytes are given back", PATIENCE, async || connections.unfinished_bytes() == 0).await;
}

/// A full port costs nobody else: those inside are served, probes are answered, and places come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_node_and_of_an_address_are_bounded() {
    for (per_address, trusted, admitted) in [(0, false, 20), (6, false, 6), (6, true, 20)] {
        let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
            config.limits.connections = 20;
            config.limits.connections_per_address = per_address;
            config.reading = ReadingTimes { head: Duration::from_secs(2), ..SHORT };
            if trusted {
                config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            }
        })
        .await;
        let (node, address) = (&cluster.nodes[0], cluster.address(0));
        let phones = [cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await];
        let strangers = join_all((0..60).map(|_| async { until_cut(connect(address).await).await }));
        let honest = async {
            until("the port is full", PATIENCE, async || node.connections().open() >= admitted).await;
            for probe in ["/live", "/ready"] {
                assert_eq!(get(node.admin, probe).await.0, 200, "{probe}");
            }
            phones[0].completes_call(&phones[1]).await;
        };
        let (strangers, ()) = tokio::join!(strangers, honest);
        let refused = strangers.iter().filter(|(_, heard)| heard.starts_with("HTTP/1.1 503")).count();
        assert_eq!(refused, 60 + phones.len() - admitted, "of {per_address} an address, trusted: {trusted}");
        until("places come back", PATIENCE, async || node.connections().open() <= phones.len()).await;
        assert_eq!(get(address, "/health").await.0, 200);
    }
}

/// More strangers than a process has descriptors: it keeps some, answers its probes, and serves again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_use_up_the_descriptors() {
    let limit = 256;
    let node = Node::start_limited(&prefix(), &[], limit);
    let mut strangers = Vec::new();
    for _ in 0..2 * limit {
        strangers.push(connect(node.public).await);
    }
    assert_eq!(get(node.admin, "/live").await.0, 200);
    until("the node is ready", PATIENCE, async || get(node.admin, "/ready").await.0 == 200).await;
    let open = node.descriptors();
    assert!(open < limit * 3 / 4, "{open} of {limit} descriptors are open");
    drop(strangers);
    until("strangers are gone", PATIENCE, async || node.descriptors() < 64).await;
    assert_eq!(get(node.public, "/health").await.0, 200);
}
