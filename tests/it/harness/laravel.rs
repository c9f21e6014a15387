use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

const LONGER_THAN_ANY_TIMEOUT: Duration = Duration::from_secs(30);

/// How the stand-in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    TooManyRequests,
    Html,
    Slow,
    Unrelated401,
    Broken,
    Redirect,
    /// Well, and refuses in the framework's own words.
    FrameworkWords,
}

/// How its answers are wrapped up, though nobody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    Plain,
    /// Of a PHP file that was saved with it.
    ByteOrderMark,
    Gzip,
    Deflate,
    /// A small answer that is large when it is unpacked.
    Bomb,
}

/// Laravel's `users/me`, as far as a token check sees it: `token-of-<user>` belongs to `<user>`, `token-of-<user>#2` too.
#[derive(Clone)]
pub struct Laravel {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mutex<Mood>,
    /// For tokens that are nobody's, where that differs: a firewall answers them in Laravel's place.
    strangers: Mutex<Option<Mood>>,
    wrapping: Mutex<Wrapping>,
    asked: AtomicUsize,
    revoked: Mutex<HashSet<String>>,
    /// Users whose limit is used up, and the pause they are told.
    throttled: Mutex<HashMap<String, u64>>,
    calls: Mutex<HashMap<String, Value>>,
    /// The row of every call that has none of its own; null: none.
    any_call: Mutex<Value>,
    pause: Mutex<Duration>,
    token_pause: Mutex<Duration>,
    posts: Mutex<Vec<Post>>,
    /// Answers to posts, by action; none: 200.
    answers: Mutex<HashMap<String, (u16, Option<u64>)>>,
    /// Call and token of each question for a row.
    rows_asked: Mutex<Vec<(String, String)>>,
    news: Notify,
}

/// A request that changes something.
#[derive(Clone, Debug)]
pub struct Post {
    /// `cancel`, `reject`, `end`, `notify-cancelled`.
    pub action: String,
    /// Without its prefix.
    pub call: String,
    pub token: String,
    pub secret: Option<String>,
    pub body: Value,
    pub at: Instant,
}

impl Laravel {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner {
            mood: Mutex::new(Mood::Well),
            strangers: Mutex::default(),
            wrapping: Mutex::new(Wrapping::Plain),
            asked: AtomicUsize::new(0),
            revoked: Mutex::default(),
            throttled: Mutex::default(),
            calls: Mutex::default(),
            any_call: Mutex::default(),
            pause: Mutex::new(Duration::ZERO),
            token_pause: Mutex::new(Duration::ZERO),
            posts: Mutex::default(),
            answers: Mutex::default(),
            rows_asked: Mutex::default(),
            news: Notify::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/api/v1/users/me", get(me))
            .route("/api/v1/calls/{id}", get(call))
            .route("/api/v1/calls/notify-cancelled", post(notify_cancelled))
            .route("/api/v1/calls/{id}/{action}", post(change))
            .layer(axum::middleware::map_response_with_state(Arc::clone(&inner), wrapped))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&inner), throttle))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inner }
    }

    pub fn mood(&self, mood: Mood) {
        *self.inner.mood.lock() = mood;
    }

    /// How tokens that are nobody's are answered from now on.
    pub fn strangers(&self, mood: Mood) {
        *self.inner.strangers.lock() = Some(mood);
    }

    pub fn wrap(&self, wrapping: Wrapping) {
        *self.inner.wrapping.lock() = wrapping;
    }

    /// From now on the user's token is refused.
    pub fn revoke(&self, user: &str) {
        self.revoke_token(&format!("token-of-{user}"));
    }

    pub fn revoke_token(&self, token: &str) {
        self.inner.revoked.lock().insert(format!("Bearer {token}"));
    }

    /// From now on whatever the user asks is answered 429, with a pause in seconds.
    pub fn throttle(&self, user: &str, retry_after: u64) {
        self.inner.throttled.lock().insert(user.to_owned(), retry_after);
    }

    /// A row of the calls table.
    pub fn row(&self, id: &str, row: Value) {
        self.inner.calls.lock().insert(id.trim_start_matches("CALL_").to_owned(), row);
    }

    /// The row of every call that has none of its own.
    pub fn row_of_all(&self, row: Value) {
        *self.inner.any_call.lock() = row;
    }

    /// Answers after a pause.
    pub fn pause(&self, pause: Duration) {
        *self.inner.pause.lock() = pause;
    }

    /// Answers questions for tokens after a pause, all else at once.
    pub fn pause_tokens(&self, pause: Duration) {
        *self.inner.token_pause.lock() = pause;
    }

    /// From now on posts of this action are answered so.
    pub fn answer_posts(&self, action: &str, status: u16, retry_after: Option<u64>) {
        self.inner.answers.lock().insert(action.to_owned(), (status, retry_after));
    }

    /// What was posted about a call, in order.
    pub fn posts(&self, call: &str) -> Vec<Post> {
        let call = call.trim_start_matches("CALL_");
        self.inner.posts.lock().iter().filter(|post| post.call == call).cloned().collect()
    }

    /// Actions posted about a call.
    pub fn actions(&self, call: &str) -> Vec<String> {
        self.posts(call).into_iter().map(|post| post.action).collect()
    }

    /// Waits for a post about a call.
    pub async fn expect_post(&self, call: &str, action: &str) -> Post {
        let found = || self.posts(call).into_iter().find(|post| post.action == action);
        self.until(&format!("{action} of {call}"), found).await
    }

    /// Waits until so many were posted about a call.
    pub async fn expect_posts(&self, call: &str, count: usize) -> Vec<Post> {
        self.until(&format!("{count} posts of {call}"), || Some(self.posts(call)).filter(|posts| posts.len() >= count))
            .await
    }

    /// Waits until a call's row was asked for so often.
    pub async fn expect_questions(&self, call: &str, count: usize) {
        self.until(&format!("{count} questions for {call}"), || (self.askers(call).len() >= count).then_some(())).await;
    }

    async fn until<T>(&self, what: &str, condition: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let news = self.inner.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(found) = condition() {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = tokio::time::timeout(left, news).await;
            assert!(waited.is_ok(), "no {what}: {:?}", self.inner.posts.lock());
        }
    }

    /// Questions for rows of the calls table.
    pub fn rows_asked(&self) -> usize {
        self.inner.rows_asked.lock().len()
    }

    /// The tokens with which a call's row was asked for, in order.
    pub fn askers(&self, call: &str) -> Vec<String> {
        let call = call.trim_start_matches("CALL_");
        let asked = self.inner.rows_asked.lock();
        asked.iter().filter(|(of, _)| of == call).map(|(_, token)| token.clone()).collect()
    }

    /// Requests that carried a token.
    pub fn asked(&self) -> usize {
        self.inner.asked.load(Ordering::SeqCst)
    }
}

/// Limits are those of a user, whatever he asks and by whichever of his tokens. Requests are counted all the same.
async fn throttle(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let token = text(request.headers(), "authorization").unwrap_or_default();
    let user = token.strip_prefix("Bearer token-of-").and_then(|user| user.split('#').next()).unwrap_or_default();
    let throttled = inner.throttled.lock().get(user).copied();
    let answer = next.run(request).await;
    match throttled {
        Some(pause) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", pause.to_string())]).into_response(),
        None => answer,
    }
}

async fn me(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let is_nobodys = !token.starts_with("Bearer token-of-");
    let mood = inner.strangers.lock().filter(|_| is_nobodys).unwrap_or(*inner.mood.lock());
    if !token.is_empty() {
        inner.asked.fetch_add(1, Ordering::SeqCst);
    }
    let pause = *inner.pause.lock() + *inner.token_pause.lock();
    tokio::time::sleep(pause).await; // the slowness under test
    match mood {
        Mood::Well | Mood::FrameworkWords => {}
        Mood::TooManyRequests => return (StatusCode::TOO_MANY_REQUESTS, "Too Many Attempts.").into_response(),
        Mood::Html => return Html("<html>maintenance</html>").into_response(),
        Mood::Slow => {
            tokio::time::sleep(LONGER_THAN_ANY_TIMEOUT).await; // the trouble itself
            return StatusCode::OK.into_response();
        }
        Mood::Unrelated401 => return (StatusCode::UNAUTHORIZED, Html("<html>basic auth</html>")).into_response(),
        Mood::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Redirect => return (StatusCode::FOUND, [("location", "https://elsewhere.test/")]).into_response(),
    }
    let revoked = inner.revoked.lock().contains(&token);
    match token.strip_prefix("Bearer token-of-") {
        Some(user) if !revoked => {
            let user = user.split('#').next().unwrap_or_default();
            let name = format!("Name of {user}");
            axum::Json(json!({"success": true, "data": {"id": user, "name": name, "gender": "F"}})).into_response()
        }
        Some(_) | None => unauthenticated(mood),
    }
}

fn unauthenticated(mood: Mood) -> Response {
    let body = match mood {
        Mood::FrameworkWords => json!({"message": "Unauthenticated."}),
        _ => json!({"success": false, "error": {"code": "UNAUTHENTICATED", "message": "Unauthenticated"}}),
    };
    (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
}

async fn wrapped(State(inner): State<Arc<Inner>>, response: Response) -> Response {
    let wrapping = *inner.wrapping.lock();
    if wrapping == Wrapping::Plain {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("an answer");
    let mut encoded_as = |name| drop(parts.headers.insert("content-encoding", HeaderValue::from_static(name)));
    let body = match wrapping {
        Wrapping::Plain => body.to_vec(),
        Wrapping::ByteOrderMark => [&[0xef, 0xbb, 0xbf], &body[..]].concat(),
        Wrapping::Gzip => {
            encoded_as("gzip");
            packed(GzEncoder::new(Vec::new(), Compression::default()), &body, GzEncoder::finish)
        }
        Wrapping::Deflate => {
            encoded_as("deflate");
            packed(ZlibEncoder::new(Vec::new(), Compression::default()), &body, ZlibEncoder::finish)
        }
        Wrapping::Bomb => {
            encoded_as("gzip");
            let spaces = [&body[..], &vec![b' '; 512 << 10]].concat();
            packed(GzEncoder::new(Vec::new(), Compression::default()), &spaces, GzEncoder::finish)
        }
    };
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::from(body))
}

fn packed<E: Write>(mut encoder: E, body: &[u8], finish: fn(E) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(body).and_then(|()| finish(encoder)).expect("into memory")
}

async fn call(State(inner): State<Arc<Inner>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let bearer = text(&headers, "authorization").unwrap_or_default();
    // What they are when it is asked: whoever waits for the question may change both.
    let mood = *inner.mood.lock();
    let row = inner.calls.lock().get(&id).cloned().unwrap_or_else(|| inner.any_call.lock().clone());
    inner.rows_asked.lock().push((id.clone(), bearer.trim_start_matches("Bearer ").to_owned()));
    inner.news.notify_waiters();
    let pause = *inner.pause.lock();
    tokio::time::sleep(pause).await; // the slowness under test
    match mood {
        Mood::Well | Mood::FrameworkWords => {}
        Mood::Slow => tokio::time::sleep(LONGER_THAN_ANY_TIMEOUT).await, // the trouble itself
        Mood::Unrelated401 => return (StatusCode::UNAUTHORIZED, Html("<html>basic auth</html>")).into_response(),
        Mood::Html => return Html("<html>maintenance</html>").into_response(),
        _ => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
    if inner.revoked.lock().contains(&bearer) {
        return unauthenticated(mood);
    }
    match row {
        Value::Null => StatusCode::NOT_FOUND.into_response(),
        // A row that the token's owner must not see.
        Value::String(code) => (StatusCode::FORBIDDEN, axum::Json(json!({"error": {"code": code}}))).into_response(),
        row => axum::Json(json!({"success": true, "data": row})).into_response(),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn change(
    State(inner): State<Arc<Inner>>,
    Path((id, action)): Path<(String, String)>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    inner.taken(action, id, &headers, body).await
}

async fn notify_cancelled(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    let id = body["callId"].as_str().unwrap_or_default().trim_start_matches("CALL_").to_owned();
    inner.taken("notify-cancelled".into(), id, &headers, body).await
}

impl Inner {
    async fn taken(&self, action: String, call: String, headers: &HeaderMap, body: Value) -> Response {
        let mood = *self.mood.lock();
        let answer = self.take(mood, action, call, headers, body);
        if mood == Mood::Slow {
            // It waits in the queue, and whoever asked hears nothing.
            tokio::time::sleep(LONGER_THAN_ANY_TIMEOUT).await; // the trouble itself
        }
        answer
    }

    fn take(&self, mood: Mood, action: String, call: String, headers: &HeaderMap, body: Value) -> Response {
        let bearer = text(headers, "authorization").unwrap_or_default();
        let revoked = self.revoked.lock().contains(&bearer);
        let answer = self.answers.lock().get(&action).copied().unwrap_or((200, None));
        self.posts.lock().push(Post {
            action,
            call,
            token: bearer.trim_start_matches("Bearer ").to_owned(),
            secret: text(headers, "x-internal-secret"),
            body,
            at: Instant::now(),
        });
        self.news.notify_waiters();
        match mood {
            Mood::Html => return Html("<html>maintenance</html>").into_response(),
            Mood::Unrelated401 => return (StatusCode::UNAUTHORIZED, Html("<html>basic auth</html>")).into_response(),
            Mood::Redirect => return (StatusCode::FOUND, [("location", "https://elsewhere.test/")]).into_response(),
            _ => {}
        }
        let (status, retry_after) = if revoked { (401, None) } else { answer };
        if status == 401 {
            return unauthenticated(mood);
        }
        let status = StatusCode::from_u16(status).expect("a status");
        match retry_after {
            Some(seconds) => (status, [("retry-after", seconds.to_string())]).into_response(),
            None => status.into_response(),
        }
    }
}
