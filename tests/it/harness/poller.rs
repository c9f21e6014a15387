use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

const PATIENCE: Duration = Duration::from_secs(12);

/// A phone that always has a poll open, as clients have, and may try a websocket beside it.
pub struct Poller {
    http: reqwest::Client,
    pub sid: String,
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
    polls: Arc<AtomicUsize>,
    pauses: watch::Sender<bool>,
    polling: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Poller {
    /// Polls at this node and waits for `session:ready`.
    pub async fn open(address: SocketAddr, user: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let url = format!("http://{address}/socket.io/?EIO=4&transport=polling");
        let opened = http.get(&url).send().await.expect("an answer").text().await.expect("a body");
        let packet: Value = serde_json::from_str(opened.strip_prefix('0').expect("an open packet")).expect("JSON");
        let sid = packet["sid"].as_str().expect("an id").to_owned();
        let (heard, news, polls) = (Arc::default(), Arc::default(), Arc::default());
        let pauses = watch::Sender::new(false);
        let (shows, polling) = watch::channel(true);
        let task = tokio::spawn(poll(
            http.clone(),
            format!("{url}&sid={sid}"),
            Arc::clone(&heard),
            Arc::clone(&news),
            Arc::clone(&polls),
            pauses.subscribe(),
            shows,
        ));
        let phone = Self { http, sid, address, heard, news, polls, pauses, polling, task };
        phone.post(&format!("40{}", json!({"token": "t", "userId": user, "acks": true}))).await;
        phone.expect("session:ready").await;
        phone
    }

    pub async fn post(&self, body: &str) {
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling&sid={}", self.address, self.sid);
        let response = self.http.post(url).body(body.to_owned()).send().await.expect("an answer");
        let (status, text) = (response.status().as_u16(), response.text().await.expect("a body"));
        assert_eq!((status, text.as_str()), (200, "ok"));
    }

    /// Waits for a packet that contains this text, and takes it out.
    pub async fn expect(&self, text: &str) -> String {
        let found = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if let Some(packet) = self.take(text) {
                    return packet;
                }
                news.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("waited for {text}; heard {:?}", self.heard.lock()))
    }

    fn take(&self, text: &str) -> Option<String> {
        let mut heard = self.heard.lock();
        let place = heard.iter().position(|packet| packet.contains(text))?;
        Some(heard.remove(place))
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().clone()
    }

    /// Polls that were answered.
    pub fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    /// Says something with an acknowledgement function and waits for its call.
    pub async fn ask(&self, event: &str, payload: Value) -> String {
        let id = rand::random_range(1000..1_000_000);
        self.post(&format!("42{id}{}", json!([event, payload]))).await;
        self.expect(&format!("43{id}[")).await
    }

    /// Waits until the open poll is answered, and makes no other: what a client does before its `5`.
    pub async fn pause(&mut self) {
        self.pauses.send_replace(true);
        let paused = tokio::time::timeout(PATIENCE, self.polling.wait_for(|polling| !polling)).await;
        paused.expect("the open poll is answered").expect("a phone");
    }

    /// A websocket for this session at any node.
    pub async fn websocket(&self, node: SocketAddr) -> Websocket {
        Websocket::open(node, &self.sid).await.expect("101")
    }
}

async fn poll(
    http: reqwest::Client,
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
    polls: Arc<AtomicUsize>,
    mut pauses: watch::Receiver<bool>,
    shows: watch::Sender<bool>,
) {
    loop {
        if *pauses.borrow_and_update() {
            shows.send_replace(false);
            if pauses.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Ok(response) = http.get(&url).send().await else { return };
        let status = response.status();
        let Ok(text) = response.text().await else { return };
        polls.fetch_add(1, Ordering::Relaxed);
        for packet in text.split('\u{1e}') {
            match packet {
                "2" => drop(http.post(&url).body("3").send().await),
                "6" => {}
                packet => heard.lock().push(packet.to_owned()),
            }
        }
        news.notify_waiters();
        if !status.is_success() {
            return;
        }
    }
}

/// The frames of a websocket over a bare connection.
pub struct Websocket {
    pub stream: TcpStream,
}

impl Websocket {
    /// The status where it is not 101.
    pub async fn open(node: SocketAddr, sid: &str) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(node).await.expect("a connection");
        let head = format!(
            "GET /socket.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("an answer"));
        }
        let answer = String::from_utf8(answer).expect("text").to_lowercase();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        if status != 101 {
            return Err(status);
        }
        assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
        Ok(Self { stream })
    }

    /// Sends a short text.
    pub async fn say(&mut self, text: &str) {
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).expect("a short text"), 1, 2, 3, 4];
        frame.extend(text.bytes().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).await.expect("it reads");
    }

    /// The next text; absent where the connection ended.
    pub async fn hear(&mut self) -> Option<String> {
        let frame = async {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).await.ok()?;
            assert_eq!(head[0], 0x81, "a text and no other frame");
            let length = match head[1] {
                126 => self.stream.read_u16().await.ok()?.into(),
                127 => usize::try_from(self.stream.read_u64().await.ok()?).ok()?,
                short => usize::from(short),
            };
            let mut text = vec![0; length];
            self.stream.read_exact(&mut text).await.ok()?;
            String::from_utf8(text).ok()
        };
        tokio::time::timeout(PATIENCE, frame).await.expect("heard nothing")
    }

    pub async fn expect(&mut self, text: &str) -> String {
        loop {
            match self.hear().await {
                Some(heard) if heard.contains(text) => return heard,
                Some(_) => {}
                None => panic!("ended before {text}"),
            }
        }
    }
}
