//! What strangers cost Laravel and honest phones, counted: refused tokens, floods of handshakes, a firewall before
//! Laravel.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use onlycare_signaling::app::App;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

use crate::harness::cluster::{config, get_with};
use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::unique;
use crate::harness::{Backend, Cluster};

const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
const PATIENCE: Duration = Duration::from_secs(12);
/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(3);

/// A node behind a proxy that it trusts: tests say who a client is.
async fn node(laravel: &Laravel, more: &[(&str, &str)]) -> App {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{}", laravel.address);
    let mut pairs = vec![
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", &*url),
        ("LARAVEL_TIMEOUT_MS", "500"),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    pairs.extend(more);
    let mut config = config(&pairs);
    config.auth_times.hold = Duration::from_secs(6);
    App::start(config).await.expect("a node")
}

/// What came of a CONNECT: `40` or `44` and what follows, `closed`, `refused` (no websocket).
async fn connect(node: SocketAddr, address: &str, token: &str, user: &str) -> String {
    let Some(mut socket) = websocket(node, address).await else { return "refused".into() };
    let auth = json!({"token": token, "userId": user});
    if socket.send(Message::text(format!("40{auth}"))).await.is_err() {
        return "closed".into();
    }
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("an answer") {
            Some(Ok(Message::Text(text))) if text.starts_with("40") || text.starts_with("44") => {
                return text.to_string();
            }
            Some(Ok(Message::Text(text))) if text.as_str() == "2" => {
                let _ = socket.send(Message::text("3")).await;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return "closed".into(),
        }
    }
}

async fn websocket(
    node: SocketAddr,
    address: &str,
) -> Option<tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>> {
    let url = format!("ws://{node}/socket.io/?EIO=4&transport=websocket");
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    tokio_tungstenite::connect_async(request).await.ok().map(|(socket, _)| socket)
}

/// How many of these fresh logins, each from an address of its own, were let in.
async fn honest(node: SocketAddr, count: usize) -> usize {
    let logins = (0..count).map(|place| async move {
        let user = unique("ana");
        let address = format!("198.51.100.{place}");
        connect(node, &address, &format!("token-of-{user}"), &user).await
    });
    let mut let_in = 0;
    for login in logins {
        let_in += usize::from(login.await.starts_with("40"));
    }
    let_in
}

/// Sockets that open, try a token that is nobody's, and open again until `stop`; `sockets` of them from `addresses`
/// addresses. Returns how many CONNECTs they made.
async fn attack(node: SocketAddr, sockets: usize, addresses: usize, stop: CancellationToken) -> usize {
    let tries = join_all((0..sockets).map(|socket| {
        let stop = stop.clone();
        async move {
            let address = format!("203.0.113.{}", socket % addresses);
            let mut tries = 0;
            while !stop.is_cancelled() {
                tries += 1;
                let token = format!("{:032x}", rand::random::<u128>());
                stop.run_until_cancelled(connect(node, &address, &token, "USR_x")).await;
            }
            tries
        }
    }));
    tries.await.into_iter().sum()
}

/// Fails before: a refused transport lived on, and each CONNECT on it was a request to Laravel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connect_ends_its_websocket_after_it_was_told() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, &[]).await;
    let too_long = "t".repeat(9000);
    let refused = [
        (json!({}), "Authentication required"),
        (json!({"token": "nobodys", "userId": "USR_1"}), "Invalid token"),
        (json!({"token": "token-of-USR_2", "userId": "USR_1"}), "Invalid token"),
        (json!({"token": too_long, "userId": "USR_1"}), "Authentication failed"),
        (json!({"token": "t", "userId": "no user's id: \u{1f600}"}), "Authentication failed"),
    ];
    for (auth, text) in refused {
        let mut socket = websocket(node.public, "192.0.2.1").await.unwrap();
        let asked = laravel.asked();
        socket.send(Message::text(format!("40{auth}"))).await.unwrap();
        let (mut heard, mut more) = (Vec::new(), 0);
        let ended = tokio::time::timeout(PATIENCE, async {
            while let Some(Ok(message)) = socket.next().await {
                let text = message.to_text().unwrap_or_default();
                match text {
                    "2" => drop(socket.send(Message::text("3")).await),
                    _ if text.starts_with("44") => {
                        heard.push(text.to_owned());
                        // Whatever else is tried on it.
                        for _ in 0..20 {
                            let again = json!({"token": format!("{:x}", rand::random::<u64>()), "userId": "USR_1"});
                            more += usize::from(socket.send(Message::text(format!("40{again}"))).await.is_ok());
                        }
                    }
                    _ => {}
                }
            }
        });
        let ended = ended.await.is_ok();
        let asked = laravel.asked() - asked;
        println!("{text}: heard {heard:?}, then {more} CONNECTs, {asked} requests to laravel, ended: {ended}");
        assert_eq!(heard, [format!("44{}", json!({"message": text}))]);
        assert!(ended && asked <= 1, "{text}: {asked} requests, ended: {ended}");
    }
}

/// The same over polling: the refusal is read by a poll, and then the session is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connect_ends_its_polling_session_after_it_was_told() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, &[]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{OPEN}", node.public);
    for polls_first in [false, true] {
        let opened = http.get(&url).send().await.unwrap().text().await.unwrap();
        let opened: Value = serde_json::from_str(&opened[1..]).unwrap();
        let url = format!("{url}&sid={}", opened["sid"].as_str().unwrap());
        let asked = laravel.asked();
        let poll = async || {
            let response = http.get(&url).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        let post = async |body: String| http.post(&url).body(body).send().await.unwrap().status().as_u16();
        if polls_first {
            assert_eq!(poll().await, (200, "2".into()));
            post("3".into()).await;
        }
        let connect = || format!("40{}", json!({"token": format!("{:x}", rand::random::<u64>()), "userId": "USR_1"}));
        let (heard, _) = tokio::join!(
            async {
                loop {
                    let (status, text) = poll().await;
                    assert_eq!(status, 200, "{text}");
                    if text.contains("44") {
                        return text;
                    }
                }
            },
            post(connect())
        );
        assert!(heard.ends_with(r#"44{"message":"Invalid token"}"#), "{heard}");
        // A client may have read a ping before the refusal, and is told of no trouble when it answers.
        assert_eq!(post("3".into()).await, 200);
        for _ in 0..20 {
            post(connect()).await;
        }
        assert_eq!((laravel.asked() - asked, poll().await.0), (1, 400), "requests to laravel, and the next poll");
    }
}

/// Ten sockets made 1,068 requests a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_tokens_cost_laravel_little_however_often_they_come() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, &[]).await;
    // One token, again and again.
    let until = Instant::now() + ATTACK;
    let tries = join_all((0..10).map(|_| async {
        let mut tries = 0;
        while Instant::now() < until {
            let answer = connect(node.public, "203.0.113.1", "nobodys", "USR_x").await;
            assert!(answer.contains("Invalid token"), "{answer}");
            tries += 1;
        }
        tries
    }));
    let tries: usize = tries.await.into_iter().sum();
    println!("one token: {tries} CONNECTs, {} requests to laravel", laravel.asked());
    assert!(laravel.asked() <= 2, "{} requests for {tries} CONNECTs", laravel.asked());
    // Another each time, from one address, while others log in.
    let asked = laravel.asked();
    let stop = CancellationToken::new();
    let started = Instant::now();
    let (tries, let_in, ()) = tokio::join!(attack(node.public, 10, 1, stop.clone()), honest(node.public, 20), async {
        tokio::time::sleep(ATTACK).await; // the attack itself
        stop.cancel();
    });
    let (asked, seconds) = (laravel.asked() - asked, started.elapsed().as_secs_f64());
    println!(
        "random tokens: {tries} CONNECTs, {asked} requests to laravel of which 20 are for honest phones, {let_in} let in"
    );
    assert_eq!(let_in, 20);
    let for_strangers = asked.saturating_sub(20);
    assert!(for_strangers as f64 <= 60.0 + 20.0 * seconds, "{for_strangers} requests in {seconds} s");
}

/// Fails before: thirteen such answers in half a minute kept the breaker open for everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_firewall_that_turns_strangers_away_holds_nobody_else() {
    join_all([Mood::TooManyRequests, Mood::Html, Mood::Broken, Mood::Slow].map(|mood| async move {
        let laravel = Laravel::start().await;
        let node = node(&laravel, &[("AUTH_CACHE_SECS", "0")]).await;
        laravel.strangers(mood);
        let stop = CancellationToken::new();
        let (tries, let_in) = tokio::join!(attack(node.public, 40, 10, stop.clone()), async {
            // The attack is under way.
            while laravel.asked() < 10 {
                tokio::task::yield_now().await;
            }
            let let_in = honest(node.public, 20).await;
            stop.cancel();
            let_in
        });
        let asked = laravel.asked() - 20;
        println!("{mood:?}: {tries} CONNECTs of strangers, about {asked} requests, {let_in} of 20 honest let in");
        assert!(let_in >= 19, "{mood:?}: {let_in} of 20");
    }))
    .await;
}

/// Fails before: the node's handshakes a second went to whoever asked most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_ten_addresses_leaves_others_their_handshakes() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        config.limits.handshakes_per_second = 40;
        config.limits.handshakes_per_address = 30;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let node = cluster.address(0);
    let stop = CancellationToken::new();
    let (let_in, tried) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let flood = join_all((0..30).map(|place| {
        let (stop, let_in, tried) = (stop.clone(), &let_in, &tried);
        async move {
            let (http, address) = (reqwest::Client::new(), format!("203.0.113.{}", place % 10));
            while !stop.is_cancelled() {
                let request = http.get(format!("http://{node}{OPEN}")).header("x-forwarded-for", &address);
                tried.fetch_add(1, Ordering::Relaxed);
                // A connection that carried a transport nobody went on with may end under the next request.
                let Ok(status) = request.send().await.map(|response| response.status()) else { continue };
                let_in.fetch_add(usize::from(status == 200), Ordering::Relaxed);
            }
        }
    }));
    let honest = async {
        let mut served = 0;
        // The flood has used up what there was.
        while tried.load(Ordering::Relaxed) < 200 {
            tokio::task::yield_now().await;
        }
        let mut pace = tokio::time::interval(Duration::from_millis(40)); // fewer than the node takes
        for place in 0..100 {
            pace.tick().await;
            let address = format!("198.51.100.{place}");
            served += usize::from(get_with(node, OPEN, ("x-forwarded-for", &address)).await.0 == 200);
        }
        stop.cancel();
        served
    };
    let (_, served) = tokio::join!(flood, honest);
    println!(
        "flood: {} of {} handshakes let in; honest: {served} of 100",
        let_in.load(Ordering::Relaxed),
        tried.load(Ordering::Relaxed)
    );
    assert!(served >= 95, "{served} of 100 honest handshakes");
}

/// Thousands of phones behind one address are no flood: what comes at once waits for its turn. Fails before: what was above a
/// rate was refused, however idle the node was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_phones_behind_one_address_wait_for_their_turn() {
    const PHONES: usize = 1000;
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        // As delivered.
        config.limits.handshakes_per_second = 5000;
        config.limits.handshakes_per_address = 2000;
    })
    .await;
    let node = cluster.address(0);
    let http = reqwest::Client::new();
    let opened = join_all((0..PHONES).map(|_| http.get(format!("http://{node}{OPEN}")).send())).await;
    let served = opened.into_iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 200)).count();
    assert_eq!(served, PHONES);
}
