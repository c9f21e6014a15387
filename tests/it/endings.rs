//! How a node ends connections of phones that shall come back: by the end of the stream. The deployed app (OkHttp) stops
//! reading at a Close frame and hears nothing until its ping timeout.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use onlycare_signaling::app::App;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::cluster::config;
use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::unique;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

const SECOND: Duration = Duration::from_secs(1);

async fn node(laravel: &Laravel, ping_timeout: Duration) -> App {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("http://{}", laravel.address);
    let mut config = config(&[("AUTH", "laravel"), ("LARAVEL_API_URL", &*url), ("LARAVEL_TIMEOUT_MS", "500")]);
    config.auth_times.hold = SECOND;
    (config.ping_interval, config.ping_timeout) = (SECOND, ping_timeout);
    App::start(config).await.expect("a node")
}

async fn socket(node: &App) -> Socket {
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", node.public);
    connect_async(url).await.expect("a websocket").0
}

fn connect() -> Message {
    let user = unique("ana");
    Message::text(format!("40{}", json!({"token": format!("token-of-{user}"), "userId": user, "acks": true})))
}

/// Reads to the end; answers pings or does not. True where the other side said goodbye.
async fn says_goodbye(socket: &mut Socket, pongs: bool) -> bool {
    let reading = async {
        let mut closed = false;
        while let Some(Ok(message)) = socket.next().await {
            closed |= message.is_close();
            if pongs && message == Message::text("2") {
                let _ = socket.send(Message::text("3")).await;
            }
        }
        closed
    };
    tokio::time::timeout(10 * SECOND, reading).await.expect("the connection ends")
}

async fn until_ready(socket: &mut Socket) {
    socket.send(connect()).await.unwrap();
    while !socket.next().await.unwrap().unwrap().into_text().unwrap().contains("session:ready") {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_handshake_ends_without_a_close_frame() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, 10 * SECOND).await;
    laravel.mood(Mood::Broken);
    let mut held = socket(&node).await;
    held.send(connect()).await.unwrap();
    assert!(!says_goodbye(&mut held, true).await);

    // By polling: its session is unknown, the client opens another.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/socket.io/?EIO=4&transport=polling", node.public);
    let opened = http.get(&url).send().await.unwrap().text().await.unwrap();
    let opened: serde_json::Value = serde_json::from_str(&opened[1..]).unwrap();
    let url = format!("{url}&sid={}", opened["sid"].as_str().unwrap());
    http.post(&url).body(connect().into_text().unwrap().to_string()).send().await.unwrap();
    loop {
        let polled = http.get(&url).send().await.unwrap();
        let (status, text) = (polled.status().as_u16(), polled.text().await.unwrap());
        if status == 400 {
            assert_eq!(text, r#"{"code":1,"message":"Session ID unknown"}"#);
            break;
        }
        assert_eq!((status, text.as_str()), (200, "2"), "a ping at most");
        http.post(&url).body("3").send().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_engine_ends_ends_without_a_close_frame() {
    let laravel = Laravel::start().await;
    let patient = node(&laravel, 10 * SECOND).await;
    let strict = node(&laravel, SECOND).await;
    let never_connects = async {
        let mut phone = socket(&patient).await;
        assert!(!says_goodbye(&mut phone, true).await, "no CONNECT in time");
    };
    let silent = async {
        let mut phone = socket(&strict).await;
        until_ready(&mut phone).await;
        assert!(!says_goodbye(&mut phone, false).await, "no pong: it may only have slept");
    };
    let nonsense = async {
        for packet in ["4x", "9"] {
            let mut phone = socket(&patient).await;
            until_ready(&mut phone).await;
            phone.send(Message::text(packet)).await.unwrap();
            assert!(!says_goodbye(&mut phone, true).await, "{packet}");
        }
    };
    let too_large = async {
        let mut phone = socket(&patient).await;
        until_ready(&mut phone).await;
        // The node may be gone before all of it is out.
        let _ = phone.send(Message::text("4".repeat(1_300_000))).await;
        assert!(!says_goodbye(&mut phone, true).await, "a message over the limit");
    };
    tokio::join!(never_connects, silent, nonsense, too_large);

    let mut phone = socket(&patient).await;
    until_ready(&mut phone).await;
    let (_, goodbye) = tokio::join!(patient.stop(), says_goodbye(&mut phone, true));
    assert!(!goodbye, "the node stops");
}

/// After an upgrade from polling the same holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_transport_ends_without_a_close_frame() {
    use crate::harness::wanderer::Wanderer;

    let mut config = config(&[]);
    (config.ping_interval, config.ping_timeout) = (SECOND, SECOND);
    let node = App::start(config).await.expect("a node");
    let wanderer = Wanderer::open(vec![node.public], &unique("bo")).await;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", node.public, wanderer.sid);
    let (mut phone, _) = connect_async(url).await.expect("an upgrade");
    phone.send(Message::text("2probe")).await.unwrap();
    assert_eq!(phone.next().await.unwrap().unwrap(), Message::text("3probe"));
    phone.send(Message::text("5")).await.unwrap();
    assert!(!says_goodbye(&mut phone, false).await);
}

/// Who says goodbye is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_closes_gets_its_close_frame() {
    let laravel = Laravel::start().await;
    let node = node(&laravel, 10 * SECOND).await;
    let mut phone = socket(&node).await;
    until_ready(&mut phone).await;
    phone.send(Message::Close(None)).await.unwrap();
    assert!(says_goodbye(&mut phone, true).await);
}
