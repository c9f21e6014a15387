//! What strangers can make a node hold, measured: connections, bytes, entries, and how long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use onlycare_signaling::config::ReadingTimes;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::cluster::{SECRET, get, get_with};
use crate::harness::phone::{unique, unique_call};
use crate::harness::wanderer::Wanderer;
use crate::harness::{Backend, Cluster, Phone, Profile, until};
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

/// What came until the node ended a connection on which this was said, and after how long. The node counts from a later moment.
async fn is_cut(address: SocketAddr, bytes: &str) -> (Duration, String) {
    let started = Instant::now();
    let heard = until_cut(connect_and_say(address, bytes.as_bytes()).await).await;
    (started.elapsed(), heard)
}

/// What came until the node ended the connection.
async fn until_cut(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the node ends the connection");
    String::from_utf8_lossy(&heard).into_owned()
}

/// Says one byte after the other until the node ends the connection.
async fn drip(address: SocketAddr, beginning: &str, pause: Duration) -> Duration {
    let started = Instant::now();
    let mut stream = connect_and_say(address, beginning.as_bytes()).await;
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

/// Asks again and again over a connection with little room for answers, and takes them at this pace; for how long.
async fn asks_and_reads(address: SocketAddr, pace: Option<Duration>) -> Duration {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let (mut answers, mut questions) = socket.connect(address).await.expect("a connection").into_split();
    let started = Instant::now();
    let asking = async {
        // Who takes nothing fills the buffers of the system, which are large, and who reads slowly does not.
        let path = if pace.is_some() { "/health" } else { "/web/app.js" };
        let many = format!("GET {path} HTTP/1.1\r\nhost: n\r\n\r\n").repeat(100);
        while questions.write_all(many.as_bytes()).await.is_ok() {}
    };
    let reading = async {
        let Some(pace) = pace else { return std::future::pending().await };
        let mut buffer = [0; 4096];
        while matches!(answers.read(&mut buffer).await, Ok(1..)) {
            tokio::time::sleep(pace).await;
        }
    };
    let done = async {
        tokio::select! { () = asking => {} () = reading => {} }
    };
    // Who reads is not cut at all.
    let _ = tokio::time::timeout(if pace.is_some() { 3 * SHORT.idle } else { PATIENCE }, done).await;
    started.elapsed()
}

/// What a node has to say is held for who takes it, however slowly, and not for who takes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_answer_is_cut() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.reading = SHORT).await;
    let address = cluster.address(0);
    let deaf = async { join_all((0..4).map(|_| asks_and_reads(address, None))).await };
    let (deaf, slow) = tokio::join!(deaf, asks_and_reads(address, Some(Duration::from_millis(5))));
    for after in deaf {
        assert!(after >= SHORT.idle / 2 && after < PATIENCE, "{after:?}");
    }
    assert!(slow >= 3 * SHORT.idle, "who reads slowly is served: {slow:?}");
    cluster.close().await;
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
        let cut = |bytes: &'static str| async move { join_all((0..20).map(|_| is_cut(address, bytes))).await };
        let half_body = post(1000) + "{\"call";
        let half_bodies = join_all((0..20).map(|_| is_cut(address, &half_body)));
        let pause = Duration::from_millis(20);
        let long = post(100_000);
        let steady = async {
            let started = Instant::now();
            let mut stream = connect_and_say(address, post(200_000).as_bytes()).await;
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
    // Heads are cut for what they hold, and not for how long.
    let reading = ReadingTimes { head: 10 * PATIENCE, ..ReadingTimes::default() };
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.reading = reading).await;
    let (address, connections) = (cluster.address(0), cluster.nodes[0].connections());
    let long = format!("GET /health HTTP/1.1\r\nx: {}", "a".repeat(390_000));
    let heard = until_cut(connect_and_say(address, long.as_bytes()).await).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431"), "{heard}");

    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let body = vec![b'a'; 1_000_000];
    let mut held = Vec::new();
    let mut most = [0; 2];
    // Of one address, then of twelve.
    for ((addresses, of_each), most) in [(1, 24), (12, 6)].into_iter().zip(&mut most) {
        let wanderer = Wanderer::open(vec![address], &unique("eve")).await;
        let head = "POST /socket.io/?EIO=4&transport=polling&sid=";
        let head = format!("{head}{} HTTP/1.1\r\nhost: n\r\ncontent-length: 1100000\r\n\r\n", wanderer.sid);
        for number in 0..addresses * of_each {
            let mut stream = connect_from([127, 0, addresses, 1 + number % addresses], address).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = stream.write_all(&body).await;
            held.push(stream);
            *most = connections.unfinished_bytes().max(*most);
        }
        if addresses == 1 {
            // Others have theirs.
            let asked: Vec<String> = (0..1000).map(|number| format!("{number:0>30}")).collect();
            let (status, answer) = cluster.post(0, "/api/users/online", json!({ "userIds": asked })).await;
            assert_eq!(status, 200, "{answer}");
            // Who has his share gets no more of it by heads that do not end.
            held.extend(half_heads_until_one_is_cut([127, 0, 1, 1], address).await);
            *most = connections.unfinished_bytes().max(*most);
        }
    }
    assert!(most[0] <= 17 * 1024 * 1024, "{} bytes are held by one address", most[0]);
    assert!(most[0] >= 8 * 1024 * 1024, "{} bytes are held: nothing was measured", most[0]);
    assert!(most[1] <= 66 * 1024 * 1024, "{} bytes are held", most[1]);
    assert!(most[1] >= 32 * 1024 * 1024, "{} bytes are held: nothing was measured", most[1]);
    ana.completes_call(&bo).await;
    drop(held);
    until("bytes are given back", PATIENCE, async || connections.unfinished_bytes() == 0).await;
}

/// Begins heads from an address, more than its share, until the node cuts one of them; in between another address is
/// served, whose heads are as large.
async fn half_heads_until_one_is_cut(source: [u8; 4], address: SocketAddr) -> Vec<TcpStream> {
    const AT_MOST: usize = 1300;
    let half = format!("GET /health HTTP/1.1\r\nhost: n\r\nconnection: close\r\nx: {}", "a".repeat(30_000));
    let whole = half.clone() + "\r\n\r\n";
    let mut held: Vec<TcpStream> = Vec::new();
    let is_cut = |stream: &TcpStream| match stream.try_read(&mut [0; 64]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    while held.len() < AT_MOST && !held.iter().any(is_cut) {
        for _ in 0..20 {
            let mut stream = connect_from(source, address).await;
            let _ = stream.write_all(half.as_bytes()).await;
            held.push(stream);
        }
        let mut other = connect_from([127, 0, 9, 9], address).await;
        other.write_all(whole.as_bytes()).await.unwrap();
        let heard = until_cut(other).await;
        assert!(heard.starts_with("HTTP/1.1 200"), "another address is not served: {heard}");
    }
    until("a head is cut", PATIENCE, async || held.iter().any(is_cut)).await;
    held
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
        let strangers = join_all((0..60).map(|_| is_cut(address, "")));
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

/// A connection from an address of this machine.
async fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(address).await.expect("a connection")
}

/// A websocket of a stranger at this address, whose receive buffer is small; what comes behind the open packet is not read.
async fn websocket_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((source, 0).into()).unwrap();
    let mut stream = socket.connect(address).await.expect("a connection");
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: n\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("in time");
        answer.push(byte.expect("an open packet"));
    }
    stream
}

/// Sends this again and again, `most` bytes of it; returns how many were taken before the node ended the connection.
async fn pours(stream: &mut TcpStream, bytes: &[u8], most: usize) -> usize {
    let mut taken = 0;
    while taken < most {
        match tokio::time::timeout(PATIENCE, stream.write(bytes)).await {
            Ok(Ok(count)) => taken += count,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    taken
}

/// Pings are answered to who takes the answers: who reads nothing has no answers piled up for him, and stops nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pings_and_does_not_read_is_cut() {
    const MOST: usize = 8 * 1024 * 1024;
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let address = cluster.address(0);
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    for payload in [0, 125] {
        let ping = [&[0x89, 0x80 | payload, 0, 0, 0, 0], vec![b'a'; payload.into()].as_slice()].concat();
        let pings = ping.repeat(1000);
        let strangers = join_all((0..4).map(|_| async {
            let mut stream = websocket_from([127, 0, 0, 1], address).await;
            pours(&mut stream, &pings, MOST).await
        }));
        let (taken, _) = tokio::join!(strangers, ana.completes_call(&bo));
        assert!(taken.iter().all(|taken| *taken < MOST), "{taken:?} bytes of pings were taken");
    }
    // Who says something before it is a websocket hides nothing by it.
    let mut early = connect_from([127, 0, 0, 1], address).await;
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: n\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{1}";
    early.write_all(head.as_bytes()).await.unwrap();
    let heard = until_cut(early).await;
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
    until("strangers go", PATIENCE, async || cluster.nodes[0].connections().open() == 2).await;
}

/// A message has a size, and unfinished ones hold no more together than an address is spared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_messages_hold_a_bounded_number_of_bytes() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (address, connections) = (cluster.address(0), cluster.nodes[0].connections());
    let ana = cluster.phone(0, &unique("ana")).await;
    let head = |opcode: u8, size: u32| [&[opcode, 0xff, 0, 0, 0, 0], size.to_be_bytes().as_slice(), &[0; 4]].concat();
    // In one frame, and in many.
    let whole = [head(0x81, 1_100_000), vec![b'a'; 1_000_000]].concat();
    let pieces = [
        [head(0x01, 10_000), vec![b'a'; 10_000]].concat(),
        [head(0x00, 10_000), vec![b'a'; 10_000]].concat().repeat(99),
    ]
    .concat();
    for message in [whole, pieces] {
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut stream = websocket_from([127, 0, 1, 1], address).await;
            let _ = stream.write_all(&message).await;
            held.push(stream);
        }
        let settled = async || connections.unfinished_bytes() <= 17 * 1024 * 1024;
        until("whoever is over the share has gone", PATIENCE, settled).await;
        assert!(connections.unfinished_bytes() >= 8 * 1024 * 1024, "nothing was measured");
        let large = json!(["call:message", {"callId": unique_call(), "data": "a".repeat(100_000)}]).to_string();
        assert_eq!(ana.ask_raw(&large, "a large message").await["success"], false, "others are heard");
        drop(held);
        until("bytes are given back", PATIENCE, async || connections.unfinished_bytes() < 128 * 1024).await;
    }
}

/// Whoever fills a port with connections that wait for nothing but him makes way for others: those who have something to
/// say get in, phones stay, and nobody makes way for his own like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_make_way_on_a_full_port() {
    let long = Duration::from_secs(120);
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        config.limits.connections = 40;
        config.limits.connections_per_address = 0;
        config.reading = ReadingTimes { head: long, idle: long, body: long, grace: long, bytes_per_second: 1 };
    })
    .await;
    let (node, address) = (&cluster.nodes[0], cluster.address(0));
    let phones = [cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await];
    let health = "GET /health HTTP/1.1\r\nhost: n\r\n";
    let secret = format!("x-internal-secret: {SECRET}");
    let half_body = format!("POST /api/emit/call-ended HTTP/1.1\r\nhost: n\r\n{secret}\r\ncontent-length: 9\r\n\r\n{{");
    // Nothing, half a head, half a body, and a request that was answered: by turns of three addresses.
    let said = ["", health, &half_body, &format!("{health}\r\n")];
    let mut strangers = Vec::new();
    for place in 0..38_u8 {
        let mut stream = connect_from([127, 0, 3, 1 + place % 3], address).await;
        stream.write_all(said[usize::from(place) % said.len()].as_bytes()).await.unwrap();
        strangers.push(stream);
    }
    until("the port is full", PATIENCE, async || node.connections().open() >= 40).await;
    let ask = async |source: [u8; 4]| {
        let mut stream = connect_from(source, address).await;
        let _ = stream.write_all(format!("{health}connection: close\r\n\r\n").as_bytes()).await;
        until_cut(stream).await.starts_with("HTTP/1.1 200")
    };
    until("one has waited too long", PATIENCE, async || ask([127, 0, 4, 1]).await).await;
    // A stranger more in the place that is free again.
    strangers.push(connect_from([127, 0, 3, 1], address).await);
    until("the port is full again", PATIENCE, async || node.connections().open() >= 40).await;
    let newcomers: Vec<bool> = join_all((2..12).map(|host| ask([127, 0, 4, host]))).await;
    let served = newcomers.iter().filter(|served| **served).count();
    assert!(served >= 9, "{served} of 10 were served");
    assert!(node.connections().open() <= 50, "{} are open", node.connections().open());
    phones[0].completes_call(&phones[1]).await;
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

/// Requests of sessions that do not exist leave nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stored_for_made_up_session_ids() {
    // The one real session, which does not poll, outlives the test.
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.ping_interval = Duration::from_secs(600)).await;
    let (node, address) = (&cluster.nodes[0], cluster.address(0));
    let wanderer = Wanderer::open(vec![address], &unique("ana")).await;
    let (id, mark) = wanderer.sid.split_once('.').expect("an id and a mark");
    let before = node.wires().stored();
    let long = "0".repeat(20_000);
    let mut asked = 0;
    let mut stream = connect(address).await;
    for round in 0..600 {
        let made_up = format!("{round:016}");
        let sids = [
            made_up.clone(),
            format!("{made_up}.{mark}"),
            format!("{made_up}.0123456789"),
            format!("{long}.{mark}"),
            format!("{round}.{mark}"),
            format!("{}!.{mark}", &id[1..]),
        ];
        for (sid, transport) in sids.iter().flat_map(|sid| [(sid, "websocket"), (sid, "polling")]) {
            // The tags of nodes that are not known are looked for, a few at a time and slowly.
            if sid.ends_with("0123456789") && round > 0 {
                continue;
            }
            let target = format!("/socket.io/?EIO=4&transport={transport}&sid={sid}");
            stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: n\r\n\r\n").as_bytes()).await.unwrap();
            let answer = answer_of(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("unknown\"}"), "{sid:.40}: {answer}");
            asked += 1;
        }
    }
    let (stored, named) = (node.wires().stored(), node.wires().transports().named());
    assert_eq!((stored, named), (before, 1), "after {asked} requests");
}

/// One answer of a connection that stays open.
async fn answer_of(stream: &mut TcpStream) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = heard.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if body.len() >= length.parse().expect("a number") {
                return heard;
            }
        }
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer").unwrap();
        assert!(count > 0, "the connection ended: {heard}");
        heard.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_with_a_session_id_are_bounded_by_address() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        config.limits.session_requests_per_second = 5;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let path = "/socket.io/?EIO=4&transport=polling&sid=0000000000000000";
    let from = async |client: &'static str| {
        let answers = (0..40).map(|_| get_with(cluster.address(0), path, ("x-forwarded-for", client)));
        join_all(answers).await.into_iter().filter(|(status, _)| *status == 503).count()
    };
    let flooded = from("192.0.2.1").await;
    assert!((10..40).contains(&flooded), "{flooded} of 40 were refused");
    assert_eq!(get_with(cluster.address(0), path, ("x-forwarded-for", "192.0.2.2")).await.0, 400);
}

/// A client that leaves its session leaves its transport: nothing is left that only answers pings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_ends_with_its_session() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (address, transports) = (cluster.address(0), cluster.nodes[0].wires().transports());
    let leavers = join_all((0..50).map(|_| async {
        let phone = Phone::connect(address, Profile::of(&unique("eve"))).await;
        phone.send_raw("41".into());
        phone.expect_fate().await
    }));
    assert_eq!(leavers.await, vec!["closed"; 50]);
    // Who they were is no matter: in one breath a transport is no second session either.
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let connect = |user: &str| Message::text(format!(r#"40{{"token":"t","userId":"{user}"}}"#));
    let (eve, mallory) = (unique("eve"), unique("mallory"));
    for message in [connect(&eve), Message::text("41"), connect(&mallory)] {
        let _ = socket.send(message).await;
    }
    tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await.expect("an end");
    until("transports end", PATIENCE, async || transports.open() == 0).await;
    let wanderer = Wanderer::open(vec![address], &unique("ana")).await;
    wanderer.post("41").await;
    until("the session is unknown", PATIENCE, async || wanderer.poll().await.0 == 400).await;
    until("sessions end", PATIENCE, async || cluster.shared.sessions.online_users().await.unwrap().is_empty()).await;
}

/// How a client fared that answers pings and ignores all else: whether it was told to leave, and how its stream ended.
async fn stay(address: SocketAddr, auth: Value) -> (bool, &'static str) {
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text(format!("40{auth}"))).await.unwrap();
    let mut was_told = false;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text == "2" => {
                let _ = socket.send(Message::text("3")).await;
            }
            Message::Text(text) => was_told |= text.starts_with("41"),
            Message::Close(_) => return (was_told, "Close frame"),
            _ => {}
        }
    }
    (was_told, "end of stream")
}

async fn stay_on_polling(wanderer: &Wanderer) -> (bool, &'static str) {
    let mut was_told = false;
    loop {
        let (status, packets) = wanderer.poll().await;
        if status != 200 {
            return (was_told, "unknown");
        }
        was_told |= packets.split('\u{1e}').any(|packet| packet.starts_with("41"));
        if packets.split('\u{1e}').any(|packet| packet == "2") {
            wanderer.post("3").await;
        }
    }
}

/// Who was sent away, by a bound or by a word, and stays is cut: on a websocket and on polling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_sent_away_leaves_or_is_cut() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| {
        config.policy.max_sessions_per_user = 4;
        (config.ping_interval, config.ping_timeout) = (Duration::from_secs(1), Duration::from_secs(2));
    })
    .await;
    let (eve, mal) = (unique("eve"), unique("mal"));
    let fates = Arc::new(Mutex::new(Vec::new()));
    let sockets: Vec<_> = (0..24)
        .map(|place| {
            let auth = json!({"token": "t", "userId": eve, "deviceId": format!("d{place}")});
            let (address, fates) = (cluster.address(place % 2), Arc::clone(&fates));
            tokio::spawn(async move {
                let fate = stay(address, auth).await;
                fates.lock().push(fate);
            })
        })
        .collect();
    let wanderer = Wanderer::open((0..2).map(|node| cluster.address(node)).collect(), &mal).await;
    let (_, told) = cluster.post(1, &format!("/api/users/{mal}/disconnect"), json!({"reason": "Banned"})).await;
    assert_eq!(told["disconnected"], 1, "{told}");
    let polled = tokio::time::timeout(PATIENCE, stay_on_polling(&wanderer)).await.expect("an end");
    assert_eq!(polled, (true, "unknown"));
    let open = || cluster.nodes.iter().map(|node| node.wires().transports().open()).sum::<usize>();
    until("as many are left as a user may have", PATIENCE, async || fates.lock().len() == 20 && open() == 4).await;
    assert_eq!(*fates.lock(), vec![(true, "end of stream"); 20]);
    sockets.iter().for_each(|socket| socket.abort());
    until("nothing is kept of them", PATIENCE, async || cluster.nodes.iter().all(|node| node.wires().stored() == 0))
        .await;
}

/// A transport without a session takes a place too, and not for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transports_are_counted_before_they_are_sessions() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        config.limits.sessions = 5;
        config.auth_times.hold = Duration::from_secs(1);
    })
    .await;
    let open = "/socket.io/?EIO=4&transport=polling";
    let (address, transports) = (cluster.address(0), cluster.nodes[0].wires().transports());
    let ana = cluster.phone(0, &unique("ana")).await;
    let answers = join_all((0..20).map(|_| get(address, open))).await;
    let opened = answers.iter().filter(|(status, _)| *status == 200).count();
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    assert!((1..=6).contains(&opened), "{opened} transports beside a session, of 5 places");
    assert_eq!(opened + refused, answers.len());
    until("they end", PATIENCE, async || transports.open() == 1 && transports.named() == 0).await;
    assert!(ana.keep_connected());
    assert_eq!(get(address, open).await.0, 200);
}

/// Random bytes, halves, pauses and breaks; `EDGE_FUZZ_SECS` for longer than a test takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strangers_do_leaves_nothing_behind() {
    let seconds = std::env::var("EDGE_FUZZ_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let quick = [("PING_INTERVAL_MS", "1000"), ("PING_TIMEOUT_MS", "1000"), ("AUTH_HOLD_SECS", "1")];
    let unlimited = [("HANDSHAKES_PER_SECOND", "0"), ("HANDSHAKES_PER_ADDRESS_PER_SECOND", "0")];
    let node = Node::start(&prefix(), &[&quick[..], &unlimited[..]].concat());
    let (ana, bo) = (Profile::of(&unique("ana")), Profile::of(&unique("bo")));
    let honest = (Phone::connect(node.public, ana).await, Phone::connect(node.public, bo).await);
    honest.0.completes_call(&honest.1).await;
    let (files, bytes) = (node.descriptors(), node.resident_bytes());
    let seed: u64 = rand::random();
    let until_when = Instant::now() + Duration::from_secs(seconds);
    let address = node.public;
    let strangers = (0..24).map(|stranger| async move {
        let mut random = SmallRng::seed_from_u64(seed ^ stranger);
        let mut count = 0;
        while Instant::now() < until_when {
            annoy(address, &mut random).await;
            count += 1;
        }
        count
    });
    let count: usize = join_all(strangers).await.into_iter().sum();
    honest.0.completes_call(&honest.1).await;
    drop(honest);
    let gauge = async |name: &str| {
        let (_, text) = get(node.admin, "/metrics").await;
        let text = text.as_str().expect("text").to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("a gauge");
        line.parse::<f64>().expect("a number")
    };
    for name in ["signaling_connections", "signaling_transports", "signaling_sessions"] {
        until(&format!("{name} is 0, seed {seed}"), PATIENCE, async || gauge(name).await == 0.0).await;
    }
    until(&format!("descriptors return, seed {seed}"), PATIENCE, async || node.descriptors() <= files).await;
    let grown = node.resident_bytes().saturating_sub(bytes);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more after {count} strangers, seed {seed}");
}

/// One stranger: something that looks like a request or like nothing, whole or cut, in pieces with pauses, and an end.
async fn annoy(address: SocketAddr, random: &mut SmallRng) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let key = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = format!("host: n\r\nconnection: upgrade\r\nupgrade: websocket\r\n{key}");
    let open = "GET /socket.io/?EIO=4&transport";
    let mut bytes = match random.random_range(0..8) {
        0 => Vec::new(),
        1 => format!("{open}=polling HTTP/1.1\r\nhost: n\r\n\r\n").into_bytes(),
        2 => format!("{open}=websocket HTTP/1.1\r\n{upgrade}\r\n\r\n").into_bytes(),
        3 => format!("{open}=websocket&sid=0123456789abcdef HTTP/1.1\r\n{upgrade}\r\n\r\n").into_bytes(),
        4 => [post(4000).into_bytes(), vec![b'{'; random.random_range(0..4000)]].concat(),
        5 => format!("{}transfer-encoding: chunked\r\n\r\nfff\r\n", post(1).trim_end()).into_bytes(),
        6 => format!("{open}=polling HTTP/1.1\r\nhost: n\r\n\r\n").repeat(random.random_range(2..20)).into_bytes(),
        _ => format!("GET /health HTTP/1.1\r\nx: {}", "a".repeat(random.random_range(0..50_000))).into_bytes(),
    };
    let junk = random.random_range(0..300);
    bytes.extend((0..junk).map(|_| random.random::<u8>()));
    for _ in 0..random.random_range(0..3) {
        if let Some(byte) = (!bytes.is_empty()).then(|| random.random_range(0..bytes.len())) {
            bytes[byte] = random.random();
        }
    }
    if random.random_bool(0.3) {
        bytes.truncate(random.random_range(0..=bytes.len()));
    }
    let piece = random.random_range(1..=bytes.len().max(1));
    for piece in bytes.chunks(piece.max(bytes.len() / 4 + 1)) {
        if stream.write_all(piece).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
    }
    let mut buffer = [0; 1024];
    match random.random_range(0..4) {
        // Nobody reads: the answer meets a reset.
        0 => {}
        1 => drop(stream.shutdown().await),
        2 => drop(tokio::time::timeout(Duration::from_millis(50), stream.read(&mut buffer)).await),
        _ => {
            let _ = stream.shutdown().await;
            let reading = async { while let Ok(1..) = stream.read(&mut buffer).await {} };
            let _ = tokio::time::timeout(Duration::from_millis(200), reading).await;
        }
    }
}

/// A binary event is none of the contract's, and is answered all the same; what is kept of half a one is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_binary_event_keeps_little() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", cluster.address(0));
    let open = async || {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        let connect = format!(r#"40{{"token":"t","userId":"{}"}}"#, unique("eve"));
        socket.send(Message::text(connect)).await.unwrap();
        // What comes before that is nobody's yet.
        while !socket.next().await.unwrap().unwrap().to_text().unwrap().starts_with("40") {}
        socket
    };
    let event = |attachments: usize| {
        let places: Vec<_> = (0..attachments).map(|num| json!({"_placeholder": true, "num": num})).collect();
        Message::text(format!("45{attachments}-7{}", json!(["call:end", places])))
    };
    let bytes = |size: usize| Message::binary(vec![7_u8; size]);

    let mut honest = open().await;
    for message in [event(1), bytes(100)] {
        honest.send(message).await.unwrap();
    }
    let answered = async {
        while let Some(Ok(message)) = honest.next().await {
            if message.to_text().is_ok_and(|text| text.starts_with("437") && text.contains("invalid_payload")) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, answered).await.expect("an answer"), "it was closed");

    for too_much in [vec![event(9)], vec![event(2), bytes(65 * 1024)], vec![event(8), bytes(40_000), bytes(40_000)]] {
        let mut eve = open().await;
        for message in too_much {
            let _ = eve.send(message).await;
        }
        tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = eve.next().await {} }).await.expect("an end");
    }
}

/// What one request makes the engine do at once is bounded: nobody waits for it, and it leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_many_packets_ends_its_transport() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let transports = cluster.nodes[0].wires().transports();
    let packets = |packet: &str, count: usize| vec![packet; count].join("\u{1e}");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for packet in ["40", "3", "42[\"x\"]"] {
        let eve = Wanderer::open(vec![cluster.address(0)], &unique("eve")).await;
        // As many as a phone may have to say at once.
        eve.post(&packets("3", 200)).await;
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling&sid={}", cluster.address(0), eve.sid);
        let flood = http.post(url).body(packets(packet, 1_000)).send().await.unwrap();
        assert_eq!(flood.status(), 400, "{packet}");
    }
    until("their transports end", PATIENCE, async || transports.open() == 0).await;
}
