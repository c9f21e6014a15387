use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// A phone on polling whose every request goes to the next node.
pub struct Wanderer {
    nodes: Vec<SocketAddr>,
    pub http: reqwest::Client,
    pub sid: String,
    next: AtomicUsize,
    /// Heard together with what was expected.
    waiting: Mutex<Vec<(String, Value)>>,
}

impl Wanderer {
    pub async fn open(nodes: Vec<SocketAddr>, user: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut phone = Self { nodes, http, sid: String::new(), next: AtomicUsize::new(0), waiting: Mutex::default() };
        let opened = phone.get().await;
        let packet: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
        phone.sid = packet["sid"].as_str().unwrap().to_owned();
        assert!(phone.sid.contains('.'), "the id names its node: {}", phone.sid);
        phone.post(&format!("40{}", json!({"token": "t", "userId": user, "acks": true}))).await;
        phone.expect("session:ready").await;
        phone
    }

    fn url(&self) -> String {
        let node = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        format!("http://{}/socket.io/?EIO=4&transport=polling{sid}", self.nodes[node])
    }

    /// Polls once.
    pub async fn poll(&self) -> (u16, String) {
        let response = self.http.get(self.url()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn get(&self) -> String {
        let (status, text) = self.poll().await;
        assert_eq!(status, 200, "{text}");
        text
    }

    pub async fn post(&self, body: &str) {
        let response = self.http.post(self.url()).body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }

    /// The events of one poll.
    pub async fn hear(&self) -> Vec<(String, Value)> {
        let mut heard = Vec::new();
        for packet in self.get().await.split('\u{1e}') {
            if packet == "2" {
                self.post("3").await;
            } else if let Some(array) = packet.strip_prefix("42") {
                let array = array.trim_start_matches(|c: char| c.is_ascii_digit());
                let parts: Vec<Value> = serde_json::from_str(array).unwrap();
                heard.push((parts[0].as_str().unwrap().to_owned(), parts[1].clone()));
            }
        }
        heard
    }

    pub async fn expect(&self, event: &str) -> Value {
        loop {
            let place = self.waiting.lock().iter().position(|(heard, _)| heard == event);
            if let Some(place) = place {
                return self.waiting.lock().remove(place).1;
            }
            let heard = self.hear().await;
            self.waiting.lock().extend(heard);
        }
    }
}
