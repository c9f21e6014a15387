use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};

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
}

/// Laravel's `users/me`, as far as a token check sees it: the token `token-of-<user>` belongs to `<user>`.
#[derive(Clone)]
pub struct Laravel {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mutex<Mood>,
    asked: AtomicUsize,
    revoked: Mutex<HashSet<String>>,
    calls: Mutex<HashMap<String, Value>>,
    pause: Mutex<Duration>,
}

impl Laravel {
    pub async fn start() -> Self {
        let inner = Arc::new(Inner {
            mood: Mutex::new(Mood::Well),
            asked: AtomicUsize::new(0),
            revoked: Mutex::default(),
            calls: Mutex::default(),
            pause: Mutex::new(Duration::ZERO),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .route("/api/v1/users/me", get(me))
            .route("/api/v1/calls/{id}", get(call))
            .with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, inner }
    }

    pub fn mood(&self, mood: Mood) {
        *self.inner.mood.lock() = mood;
    }

    /// From now on the user's token is refused.
    pub fn revoke(&self, user: &str) {
        self.inner.revoked.lock().insert(format!("Bearer token-of-{user}"));
    }

    /// A row of the calls table.
    pub fn row(&self, id: &str, row: Value) {
        self.inner.calls.lock().insert(id.trim_start_matches("CALL_").to_owned(), row);
    }

    /// Answers after a pause.
    pub fn pause(&self, pause: Duration) {
        *self.inner.pause.lock() = pause;
    }

    /// Requests that carried a token.
    pub fn asked(&self) -> usize {
        self.inner.asked.load(Ordering::SeqCst)
    }
}

async fn me(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if !token.is_empty() {
        inner.asked.fetch_add(1, Ordering::SeqCst);
    }
    let pause = *inner.pause.lock();
    tokio::time::sleep(pause).await; // the slowness under test
    let mood = *inner.mood.lock();
    match mood {
        Mood::Well => {}
        Mood::TooManyRequests => return (StatusCode::TOO_MANY_REQUESTS, "Too Many Attempts.").into_response(),
        Mood::Html => return Html("<html>maintenance</html>").into_response(),
        Mood::Slow => {
            tokio::time::sleep(Duration::from_secs(30)).await; // longer than any timeout
            return StatusCode::OK.into_response();
        }
        Mood::Unrelated401 => return (StatusCode::UNAUTHORIZED, Html("<html>basic auth</html>")).into_response(),
        Mood::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Redirect => return (StatusCode::FOUND, [("location", "https://elsewhere.test/")]).into_response(),
    }
    let revoked = inner.revoked.lock().contains(&token);
    match token.strip_prefix("Bearer token-of-") {
        Some(user) if !revoked => {
            let name = format!("Name of {user}");
            axum::Json(json!({"success": true, "data": {"id": user, "name": name, "gender": "F"}})).into_response()
        }
        Some(_) | None => {
            let body = json!({"success": false, "error": {"code": "UNAUTHENTICATED", "message": "Unauthenticated"}});
            (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
        }
    }
}

async fn call(State(inner): State<Arc<Inner>>, Path(id): Path<String>) -> Response {
    if *inner.mood.lock() != Mood::Well {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match inner.calls.lock().get(&id) {
        Some(row) => axum::Json(json!({"success": true, "data": row})).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
