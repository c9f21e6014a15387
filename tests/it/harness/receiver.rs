//! A receiver of webhooks that checks signatures, remembers what came, and has moods.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use onlycare_signaling::config::Config;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Well,
    Status(u16),
    /// 429 with this `Retry-After`.
    RetryAfter(u64),
    Redirect,
    Garbage,
    /// Takes the request and says nothing.
    Silence,
    HangsUp,
    Slowly(Duration),
}

/// A webhook that came in.
#[derive(Clone, Debug)]
pub struct Hook {
    pub id: String,
    pub kind: String,
    pub data: Value,
    /// Answered with 200.
    pub taken: bool,
    pub at: Instant,
    /// By which of the two secrets it was signed.
    pub signed: [bool; 2],
    pub timestamp: u64,
}

impl Hook {
    pub fn call(&self) -> &str {
        self.data["callId"].as_str().unwrap_or_default()
    }

    pub fn seq(&self) -> u64 {
        self.data["seq"].as_u64().unwrap_or_default()
    }
}

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    answer: Mutex<Answer>,
    /// Callers whose calls it answers otherwise.
    of_callers: Mutex<HashMap<String, Answer>>,
    hooks: Mutex<Vec<Hook>>,
    news: Notify,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner {
            answer: Mutex::new(Answer::Well),
            of_callers: Mutex::default(),
            hooks: Mutex::default(),
            news: Notify::new(),
        });
        let receiver = Self { address, inner };
        let accepting = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = accepting.clone();
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// Makes a node send its webhooks here.
    pub fn hears_of(&self, config: &mut Config) {
        let hooks = super::cluster::config(&[
            ("WEBHOOK_URL", &self.url()),
            ("WEBHOOK_SECRET", SIGNING_SECRET),
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ]);
        config.webhook = hooks.webhook;
        config.policy.webhooks = true;
    }

    pub fn answer(&self, answer: Answer) {
        *self.inner.answer.lock() = answer;
    }

    /// How it answers what is about this user's calls.
    pub fn answer_of(&self, caller: &str, answer: Answer) {
        self.inner.of_callers.lock().insert(caller.to_owned(), answer);
    }

    fn answer_to(&self, body: &str) -> Answer {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let caller = body["data"]["callerId"].as_str().unwrap_or_default();
        let of_caller = self.inner.of_callers.lock().get(caller).copied();
        of_caller.unwrap_or_else(|| *self.inner.answer.lock())
    }

    pub fn hooks(&self) -> Vec<Hook> {
        self.inner.hooks.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.inner.hooks.lock().len()
    }

    /// Those it took of a call, each the first time.
    pub fn taken(&self, call: &str) -> Vec<Hook> {
        let mut taken: Vec<Hook> = Vec::new();
        for hook in self.inner.hooks.lock().iter().filter(|hook| hook.taken && hook.call() == call) {
            if !taken.iter().any(|other| other.id == hook.id) {
                taken.push(hook.clone());
            }
        }
        taken
    }

    /// Waits until the hooks fulfil a condition.
    pub async fn until<T>(&self, what: &str, condition: impl Fn(&Self) -> Option<T>) -> T {
        self.within(Duration::from_secs(30), what, condition).await
    }

    pub async fn within<T>(&self, patience: Duration, what: &str, condition: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        loop {
            let news = self.inner.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(found) = condition(self) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, news).await.is_err() {
                let kinds: Vec<String> = self.hooks().iter().map(|hook| format!("{} {}", hook.id, hook.kind)).collect();
                panic!("waited for {what}; received {}: {:?}", kinds.len(), &kinds[..kinds.len().min(50)]);
            }
        }
    }

    /// Waits for a webhook of a call that it takes.
    pub async fn expect(&self, call: &str, kind: &str) -> Hook {
        let found = |receiver: &Self| receiver.taken(call).into_iter().find(|hook| hook.kind == kind);
        self.until(&format!("{kind} of {call}"), found).await
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((headers, body)) = read_request(&mut stream).await {
            let answer = self.answer_to(&body);
            if let Answer::Slowly(pause) = answer {
                tokio::time::sleep(pause).await; // the slowness under test
            }
            let taken = matches!(answer, Answer::Well | Answer::Slowly(_));
            self.note(&headers, &body, taken);
            let response: &[u8] = match answer {
                Answer::Well | Answer::Slowly(_) => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                Answer::Status(status) => {
                    let text = format!("HTTP/1.1 {status} Trouble\r\ncontent-length: 0\r\n\r\n");
                    if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                    continue;
                }
                Answer::RetryAfter(seconds) => {
                    let text = format!("HTTP/1.1 429 Too Many\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n");
                    if stream.get_mut().write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                    continue;
                }
                Answer::Redirect => b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
                Answer::Garbage => b"\x00\x01 what is this \r\n\r\n",
                Answer::Silence => {
                    std::future::pending::<()>().await;
                    return;
                }
                Answer::HangsUp => return,
            };
            if stream.get_mut().write_all(response).await.is_err() {
                return;
            }
        }
    }

    fn note(&self, headers: &[(String, String)], body: &str, taken: bool) {
        let header = |name: &str| {
            headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
        let given = header("webhook-signature");
        let signed = [SIGNING_SECRET, OTHER_SECRET].map(|secret| {
            let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("a key");
            mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
            let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
            given.split(' ').any(|one| one == expected)
        });
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        self.inner.hooks.lock().push(Hook {
            id,
            kind: body["type"].as_str().unwrap_or_default().to_owned(),
            data: body["data"].clone(),
            taken,
            at: Instant::now(),
            signed,
            timestamp: timestamp.parse().unwrap_or_default(),
        });
        self.inner.news.notify_waiters();
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(Vec<(String, String)>, String)> {
    let mut headers = Vec::new();
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some((headers, String::from_utf8(body).ok()?))
}
