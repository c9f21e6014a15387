use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use crate::call::UserId;
use crate::clock::Clock;
use crate::telemetry::metrics;

/// Requests to Laravel at the same time; more wait.
const AT_ONCE: usize = 32;
/// Verified tokens remembered; beyond it the cache starts anew.
const CACHED: usize = 200_000;
/// More than any answer of `users/me`.
const ANSWER_LIMIT: usize = 256 * 1024;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Whom Laravel says a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: Option<String>,
}

/// What the client of a handshake may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    Valid(Identity),
    /// Laravel said so in so many words: `Invalid token`.
    Invalid,
    /// Backend trouble, never the client's fault: its transport is closed and it comes back.
    Unavailable,
}

type TokenHash = [u8; 32];

/// Asks Laravel, bounded in number and time; one request per token at a time, answers cached.
pub struct LaravelVerifier {
    client: reqwest::Client,
    urls: [String; 2],
    /// Index into `urls` of the one that serves the API.
    route: Mutex<usize>,
    clock: Clock,
    cache_for: Duration,
    hold: Duration,
    places: Semaphore,
    cache: Mutex<HashMap<TokenHash, (Identity, Duration)>>,
    asking: Mutex<HashMap<TokenHash, Arc<OnceCell<Verified>>>>,
}

/// The network client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("building the HTTP client failed")]
pub struct ClientError(#[from] reqwest::Error);

impl LaravelVerifier {
    /// `base` without `/api/v1`.
    #[expect(clippy::disallowed_methods, reason = "the one home of HTTP clients to Laravel")]
    pub fn new(
        base: &str,
        clock: Clock,
        cache_for: Duration,
        hold: Duration,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        // A redirect to https would drop the bearer and look like 401 for everybody.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout)
            .user_agent(concat!("onlycare-signaling/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            urls: [format!("{base}/api/v1/users/me"), format!("{base}/users/me")],
            route: Mutex::new(0),
            clock,
            cache_for,
            hold,
            places: Semaphore::new(AT_ONCE),
            cache: Mutex::default(),
            asking: Mutex::default(),
        })
    }

    /// Asks both addresses without a token and keeps the one that answers 401 in Laravel's words.
    pub async fn find_route(&self) -> bool {
        for (index, url) in self.urls.iter().enumerate() {
            let request = self.client.get(url).header("accept", "application/json");
            match request.send().await {
                Ok(response) => {
                    let (status, location) = (response.status(), response.headers().get("location").cloned());
                    if status == 401 && self.body(response).await.is_some_and(|body| says_unauthenticated(&body)) {
                        *self.route.lock() = index;
                        return true;
                    }
                    tracing::error!(%url, %status, ?location, "laravel does not serve users/me here");
                }
                Err(error) => tracing::error!(%url, error = %error.without_url(), "laravel can't be reached"),
            }
        }
        false
    }

    /// Verifies that `token` belongs to `user`; backend trouble is held and retried up to the hold time.
    pub async fn verify(&self, token: &str, user: &UserId) -> Verified {
        let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
        let started = self.clock.elapsed();
        let hold = self.hold.mul_f64(rand::random_range(0.8..1.0));
        loop {
            let verified = match self.cached(&hash) {
                Some(identity) => {
                    metrics::token_checked("cached");
                    Verified::Valid(identity)
                }
                None => self.ask_once(token, hash).await,
            };
            match verified {
                Verified::Valid(identity) if identity.user == *user => return Verified::Valid(identity),
                Verified::Valid(_) | Verified::Invalid => {
                    metrics::token_checked("invalid");
                    return Verified::Invalid;
                }
                Verified::Unavailable => {
                    metrics::token_checked("unavailable");
                    if self.clock.elapsed().saturating_sub(started) + RETRY_PAUSE >= hold {
                        return Verified::Unavailable;
                    }
                    tokio::time::sleep(RETRY_PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
                }
            }
        }
    }

    fn cached(&self, hash: &TokenHash) -> Option<Identity> {
        let cache = self.cache.lock();
        let (identity, until) = cache.get(hash)?;
        (*until > self.clock.elapsed()).then(|| identity.clone())
    }

    /// One request per token at a time; whoever else asks meanwhile gets its answer.
    async fn ask_once(&self, token: &str, hash: TokenHash) -> Verified {
        let cell = Arc::clone(self.asking.lock().entry(hash).or_default());
        let verified = cell
            .get_or_init(|| async {
                let verified = self.ask(token).await;
                if let Verified::Valid(identity) = &verified {
                    metrics::token_checked("valid");
                    self.remember(hash, identity.clone());
                }
                verified
            })
            .await
            .clone();
        let mut asking = self.asking.lock();
        if asking.get(&hash).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            asking.remove(&hash);
        }
        verified
    }

    fn remember(&self, hash: TokenHash, identity: Identity) {
        let mut cache = self.cache.lock();
        if cache.len() >= CACHED {
            let now = self.clock.elapsed();
            cache.retain(|_, (_, until)| *until > now);
            if cache.len() >= CACHED {
                cache.clear();
            }
        }
        cache.insert(hash, (identity, self.clock.elapsed() + self.cache_for));
    }

    async fn ask(&self, token: &str) -> Verified {
        let Ok(_place) = self.places.acquire().await else { return Verified::Unavailable };
        let url = self.urls[*self.route.lock()].as_str();
        let request = self.client.get(url).bearer_auth(token).header("accept", "application/json");
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "asking laravel for a token failed");
                return Verified::Unavailable;
            }
        };
        let status = response.status();
        let body = self.body(response).await;
        match (status.as_u16(), body) {
            (200, Some(body)) => match identity_in(&body) {
                Some(identity) => Verified::Valid(identity),
                None => Verified::Unavailable,
            },
            (401, Some(body)) if says_unauthenticated(&body) => Verified::Invalid,
            (status, _) => {
                tracing::warn!(status, "laravel gave no answer to a token");
                Verified::Unavailable
            }
        }
    }

    async fn body(&self, mut response: reqwest::Response) -> Option<Value> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_LIMIT {
                return None;
            }
        }
        serde_json::from_slice(&bytes).ok()
    }
}

fn says_unauthenticated(body: &Value) -> bool {
    body["error"]["code"] == "UNAUTHENTICATED"
}

fn identity_in(body: &Value) -> Option<Identity> {
    if body["success"] != true {
        return None;
    }
    let id = &body["data"]["id"];
    let id = id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|id| id.to_string()))?;
    let name = body["data"]["name"].as_str().map(str::to_owned).filter(|name| !name.is_empty());
    Some(Identity { user: UserId::parse(&id).ok()?, name })
}
