use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::breaker::Breaker;
use crate::call::{Asked, CallId, Row, RowStatus, UserId};
use crate::clock::Clock;
use crate::courier::retry_after;
use crate::telemetry::metrics;
use crate::telemetry::trace::{self, Kind};

/// Requests to Laravel at the same time; more wait.
const AT_ONCE: usize = 32;
/// More than any answer.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Whom Laravel says a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: Option<String>,
}

/// What Laravel says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Valid(Identity),
    /// Said so in so many words.
    Invalid,
    Unavailable,
}

/// What Laravel says of a call that a phone initiates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    Confirmed,
    /// No such call, another caller or receiver, or it is over.
    Contradicted,
    Unavailable,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// With the pause that Laravel asks for.
    Status {
        status: u16,
        wait: Option<Duration>,
    },
    Nothing,
}

/// The network client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("building the HTTP client failed")]
pub struct ClientError(#[from] reqwest::Error);

/// Requests to Laravel: bounded in number, time and size, kept away from a Laravel that fails.
pub struct Client {
    http: reqwest::Client,
    bases: [String; 2],
    /// Index into `bases` of the one that serves the API.
    route: Mutex<usize>,
    places: Semaphore,
    breaker: Breaker,
    clock: Clock,
}

impl Client {
    /// `base` without `/api/v1`.
    #[expect(clippy::disallowed_methods, reason = "the one home of HTTP clients to Laravel")]
    pub fn new(base: &str, timeout: Duration, clock: Clock) -> Result<Self, ClientError> {
        // A redirect to https would drop the bearer and look like 401 for everybody.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout)
            .user_agent(concat!("onlycare-signaling/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            bases: [format!("{base}/api/v1"), base.to_owned()],
            route: Mutex::new(0),
            places: Semaphore::new(AT_ONCE),
            breaker: Breaker::default(),
            clock,
        })
    }

    /// Asks both addresses without a token and keeps the one that answers 401 in Laravel's words.
    pub async fn find_route(&self) -> bool {
        for (index, base) in self.bases.iter().enumerate() {
            let url = format!("{base}/users/me");
            match self.http.get(&url).header("accept", "application/json").send().await {
                Ok(response) => {
                    let (status, location) = (response.status(), response.headers().get("location").cloned());
                    if status == 401 && body(response).await.is_some_and(|body| says_unauthenticated(&body)) {
                        *self.route.lock() = index;
                        metrics::laravel_route_found(1);
                        return true;
                    }
                    tracing::error!(%url, %status, ?location, "laravel does not serve users/me here");
                }
                Err(error) => tracing::error!(%url, error = %error.without_url(), "laravel can't be reached"),
            }
        }
        false
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.breaker.is_open(self.clock.elapsed())
    }

    pub(super) async fn whose(&self, token: &str) -> Answer {
        let Some((status, body)) = self.get("users/me", token).await else { return Answer::Unavailable };
        let answer = match (status, body) {
            (200, Some(body)) => identity_in(&body).map_or(Answer::Unavailable, Answer::Valid),
            (401, Some(body)) if says_unauthenticated(&body) => Answer::Invalid,
            _ => Answer::Unavailable,
        };
        if answer == Answer::Unavailable {
            tracing::warn!(status, "laravel gave no answer to a token");
        }
        self.judge(answer != Answer::Unavailable);
        answer
    }

    /// Whether Laravel knows the call as one that `caller` is making to `receiver`.
    pub(super) async fn confirm(&self, token: &str, id: &CallId, caller: &UserId, receiver: &UserId) -> Confirmation {
        match self.call(token, id).await {
            Some((200, Some(body))) => judge_call(&body, caller, receiver),
            Some((404 | 403, _)) => Confirmation::Contradicted,
            Some(_) | None => Confirmation::Unavailable,
        }
    }

    /// The row of a call in Laravel's table; absent where the token is no good.
    pub(super) async fn row(&self, token: &str, id: &CallId) -> Option<Asked> {
        match self.call(token, id).await {
            Some((200, Some(body))) => Some(Asked::Row(row_in(&body))),
            Some((401, _)) => None,
            Some((403 | 404, _)) => Some(Asked::Unknown),
            Some(_) | None => Some(Asked::Unavailable),
        }
    }

    /// Makes a request in the name of the token's user; `secret` where Laravel wants to know who we are as well.
    pub(super) async fn post(
        &self,
        name: &'static str,
        token: &str,
        path: &str,
        body: &Value,
        secret: Option<&str>,
    ) -> Posted {
        let posted = async {
            trace::note("path", || path.to_owned());
            let Ok(_place) = self.places.acquire().await else { return Posted::Nothing };
            let url = format!("{}/{path}", self.bases[*self.route.lock()]);
            let mut request = self.http.post(url).bearer_auth(token).header("accept", "application/json").json(body);
            if let Some(secret) = secret {
                request = request.header("x-internal-secret", secret);
            }
            let asked = self.clock.elapsed();
            let sent = request.send().await;
            metrics::callback_answered(name, self.clock.elapsed().saturating_sub(asked));
            match sent {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let asked = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                    let wait = asked.and_then(|value| retry_after(value, self.clock.now()));
                    let unserved = response.status().is_success() && is_page(&response);
                    self.judge(!unserved && is_well(status));
                    trace::note("status", || i64::from(status));
                    if unserved { Posted::Nothing } else { Posted::Status { status, wait } }
                }
                Err(error) => {
                    tracing::warn!(error = %error.without_url(), "calling laravel back failed");
                    trace::note("outcome", || "unavailable");
                    self.breaker.failed(self.clock.elapsed());
                    Posted::Nothing
                }
            }
        };
        trace::part("laravel", Kind::Client, posted).await
    }

    fn judge(&self, went_well: bool) {
        if went_well {
            self.breaker.succeeded();
        } else {
            self.breaker.failed(self.clock.elapsed());
        }
    }

    /// What is answered to a question about a call.
    async fn call(&self, token: &str, id: &CallId) -> Option<(u16, Option<Value>)> {
        let answer = self.get(&format!("calls/{id}"), token).await?;
        self.judge(match &answer {
            // A page in its place, as during maintenance.
            (200, body) => body.is_some(),
            (401, body) => body.as_ref().is_some_and(says_unauthenticated),
            (status, _) => is_well(*status) && !(300..400).contains(status),
        });
        Some(answer)
    }

    /// Status and JSON body of an answer, for the caller to judge; absent where there was none.
    async fn get(&self, path: &str, token: &str) -> Option<(u16, Option<Value>)> {
        let got = async {
            trace::note("path", || path.to_owned());
            let _place = self.places.acquire().await.ok()?;
            if !self.breaker.allows(self.clock.elapsed()) {
                metrics::token_checked("refused_by_breaker");
                return None;
            }
            let url = format!("{}/{path}", self.bases[*self.route.lock()]);
            let asked = self.clock.elapsed();
            let response = self.http.get(url).bearer_auth(token).header("accept", "application/json").send().await;
            match response {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let body = body(response).await;
                    metrics::token_asked(self.clock.elapsed().saturating_sub(asked));
                    trace::note("status", || i64::from(status));
                    Some((status, body))
                }
                Err(error) => {
                    tracing::warn!(error = %error.without_url(), "asking laravel failed");
                    trace::note("outcome", || "unavailable");
                    self.breaker.failed(self.clock.elapsed());
                    None
                }
            }
        };
        trace::part("laravel", Kind::Client, got).await
    }
}

fn is_well(status: u16) -> bool {
    status != 429 && status < 500
}

/// Not the API's answer but a page in its place, as during maintenance.
fn is_page(response: &reqwest::Response) -> bool {
    response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

async fn body(mut response: reqwest::Response) -> Option<Value> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_LIMIT {
            return None;
        }
    }
    serde_json::from_slice(&bytes).ok()
}

fn says_unauthenticated(body: &Value) -> bool {
    body["error"]["code"] == "UNAUTHENTICATED"
}

fn identity_in(body: &Value) -> Option<Identity> {
    if body["success"] != true {
        return None;
    }
    let name = body["data"]["name"].as_str().map(str::to_owned).filter(|name| !name.is_empty());
    Some(Identity { user: user_in(&body["data"]["id"])?, name })
}

fn user_in(value: &Value) -> Option<UserId> {
    let text = value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|id| id.to_string()))?;
    UserId::parse(&text).ok()
}

fn row_in(body: &Value) -> Row {
    let call = body.get("data").unwrap_or(body);
    let user = |names: [&str; 2]| names.iter().find_map(|name| user_in(&call[*name]));
    Row {
        status: RowStatus::of(call["status"].as_str().unwrap_or_default()),
        caller: user(["caller_id", "callerId"]),
        receiver: user(["receiver_id", "receiverId"]),
    }
}

/// Fields that Laravel leaves out contradict nothing.
fn judge_call(body: &Value, caller: &UserId, receiver: &UserId) -> Confirmation {
    let call = body.get("data").unwrap_or(body);
    let differs = |names: [&str; 2], user: &UserId| {
        names.iter().filter_map(|name| user_in(&call[*name])).any(|named| named != *user)
    };
    let over = matches!(call["status"].as_str(), Some("ENDED" | "MISSED" | "REJECTED" | "CANCELLED"));
    if over || differs(["caller_id", "callerId"], caller) || differs(["receiver_id", "receiverId"], receiver) {
        Confirmation::Contradicted
    } else {
        Confirmation::Confirmed
    }
}
