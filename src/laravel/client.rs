use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::answer::{Answer, address};
use super::breaker::Breaker;
use super::lanes::{Lane, Lanes};
use super::throttled::Throttled;
use crate::call::{Asked, CallId, Row, RowStatus, TokenHash, UserId};
use crate::clock::Clock;
use crate::dispatcher::causes;
use crate::telemetry::metrics;
use crate::telemetry::trace::{self, Kind};

/// Whom Laravel says a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub name: Option<String>,
}

/// What Laravel says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Valid(Identity),
    /// Said so in so many words.
    Invalid,
    Unavailable,
    /// No request was made: too many are, or Laravel fails.
    Unasked,
}

/// Whether what comes of a request says something about Laravel, for all, or only about who had it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Known,
    /// A token that was never seen: anybody can make one up, and get what a firewall answers.
    Stranger,
}

/// Why there is no answer.
enum Missing {
    Unasked,
    Failed,
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
    Status { status: u16, wait: Option<Duration> },
    /// Laravel says that the token is no good.
    Unauthenticated,
    /// Something else than Laravel answered.
    NoAnswer,
    /// It was not reached, or was and gave no answer: then it may have obeyed.
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
    lanes: Lanes,
    /// How long a request may take.
    timeout: Duration,
    breaker: Breaker,
    throttled: Throttled,
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
            lanes: Lanes::default(),
            timeout,
            breaker: Breaker::default(),
            throttled: Throttled::default(),
            clock,
        })
    }

    /// Asks both addresses without a token and keeps the one that answers 401 in Laravel's words.
    pub async fn find_route(&self) -> bool {
        for (index, base) in self.bases.iter().enumerate() {
            let url = format!("{base}/users/me");
            match self.http.get(&url).header("accept", "application/json").send().await {
                Ok(response) => {
                    let answer = Answer::read(response, self.clock.now()).await;
                    if answer.says_unauthenticated() {
                        *self.route.lock() = index;
                        metrics::laravel_route_found(1);
                        return true;
                    }
                    // It was asked without a token: nobody's data is in it.
                    tracing::error!(url = address(&url), %answer, begins = answer.first, "laravel does not serve users/me here");
                }
                Err(error) => {
                    let error = causes(&error.without_url());
                    tracing::error!(url = address(&url), error, "laravel can't be reached");
                }
            }
        }
        false
    }

    pub(super) fn is_refusing(&self) -> bool {
        self.breaker.is_open(self.clock.elapsed())
    }

    /// Whose a token is, by whatever answered that.
    pub(super) fn knows(&self, token: TokenHash, user: &UserId) {
        self.throttled.knows(token, user);
    }

    /// Whether Laravel turns the token's user away for now.
    pub(super) fn is_throttled(&self, token: &str) -> bool {
        self.throttled.waits(token, self.clock.uptime()).is_some()
    }

    /// Asks whose a token is, after waiting for a place in the lane for no longer than `patience`.
    pub(super) async fn whose(&self, token: &str, lane: Lane, trust: Trust, patience: Duration) -> Whose {
        let answer = match self.get("users/me", token, lane, trust, patience).await {
            Ok(answer) => answer,
            Err(Missing::Failed) => return Whose::Unavailable,
            Err(Missing::Unasked) => return Whose::Unasked,
        };
        let whose = match (answer.status, &answer.body) {
            (200, Some(body)) => identity_in(body).map_or(Whose::Unavailable, Whose::Valid),
            _ if answer.says_unauthenticated() => Whose::Invalid,
            _ => Whose::Unavailable,
        };
        if whose == Whose::Unavailable {
            tracing::warn!(%answer, "laravel gave no answer to a token");
        }
        match (trust, &whose) {
            (Trust::Known, _) => self.judge(token, &answer, whose != Whose::Unavailable),
            (Trust::Stranger, Whose::Valid(_)) => self.judge(token, &answer, true),
            (Trust::Stranger, _) => {}
        }
        whose
    }

    /// Whether Laravel knows the call as one that `caller` is making to `receiver`.
    pub(super) async fn confirm(&self, token: &str, id: &CallId, caller: &UserId, receiver: &UserId) -> Confirmation {
        let Some(segment) = id.segment() else { return Confirmation::Contradicted };
        let Some(answer) = self.call(token, &segment, Lane::Questions).await else { return Confirmation::Unavailable };
        match (answer.status, &answer.body) {
            (200, Some(body)) => judge_call(body, caller, receiver),
            (404 | 403, _) => Confirmation::Contradicted,
            _ => Confirmation::Unavailable,
        }
    }

    /// The row of a call in Laravel's table; absent where the token is no good.
    pub(super) async fn row(&self, token: &str, id: &CallId, lane: Lane) -> Option<Asked> {
        let Some(segment) = id.segment() else { return Some(Asked::Unknown) };
        let Some(answer) = self.call(token, &segment, lane).await else { return Some(Asked::Unavailable) };
        match (answer.status, &answer.body) {
            (200, Some(body)) => Some(Asked::Row(row_in(body))),
            _ if answer.says_unauthenticated() => None,
            // In its own words; a page may be of whoever stands before it.
            (403, Some(_)) => Some(Asked::Forbidden),
            (403 | 404, _) => Some(Asked::Unknown),
            _ => Some(Asked::Unavailable),
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
            if let Some(left) = self.throttled.waits(token, self.clock.uptime()) {
                trace::note("outcome", || "throttled");
                return Posted::Status { status: 429, wait: Some(left) };
            }
            let Some(_place) = self.lanes.place(Lane::Callbacks, self.timeout).await else { return Posted::Nothing };
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
                    let answer = Answer::read(response, self.clock.now()).await;
                    self.judge(token, &answer, answer.is_well());
                    trace::note("status", || i64::from(answer.status));
                    if answer.says_unauthenticated() {
                        return Posted::Unauthenticated;
                    }
                    if answer.is_no_answer() || answer.status >= 500 {
                        tracing::warn!(request = name, %answer, "laravel did not take a callback");
                    }
                    if answer.is_no_answer() {
                        return Posted::NoAnswer;
                    }
                    Posted::Status { status: answer.status, wait: answer.wait }
                }
                Err(error) => {
                    let error = causes(&error.without_url());
                    tracing::warn!(request = name, error, "calling laravel back failed");
                    trace::note("outcome", || "unavailable");
                    self.failed(token);
                    Posted::Nothing
                }
            }
        };
        trace::part("laravel", Kind::Client, posted).await
    }

    /// Learns from an answer to a token that is known. A limit of its user is his; that of many is Laravel's.
    fn judge(&self, token: &str, answer: &Answer, went_well: bool) {
        if went_well {
            self.throttled.answered();
            self.breaker.succeeded();
        } else if answer.status != 429 {
            self.failed(token);
        } else if self.throttled.turned_away(token, answer.wait, self.clock.uptime()) {
            self.breaker.failed(self.clock.elapsed());
        }
    }

    /// What one user asks may be what Laravel fails at. Whoever is the probe counts.
    fn failed(&self, token: &str) {
        if self.throttled.failed(token, self.clock.uptime()) || self.breaker.has_opened() {
            self.breaker.failed(self.clock.elapsed());
        }
    }

    /// What is answered to a question about a call.
    async fn call(&self, token: &str, id: &CallId, lane: Lane) -> Option<Answer> {
        let answer = self.get(&format!("calls/{id}"), token, lane, Trust::Known, self.timeout).await.ok()?;
        // A page in its place, as during maintenance.
        let went_well = answer.is_well() && (answer.status != 200 || answer.body.is_some());
        if !went_well {
            tracing::warn!(%answer, "laravel gave no answer to a question about a call");
        }
        self.judge(token, &answer, went_well);
        Some(answer)
    }

    /// An answer for the caller to judge.
    async fn get(
        &self,
        path: &str,
        token: &str,
        lane: Lane,
        trust: Trust,
        patience: Duration,
    ) -> Result<Answer, Missing> {
        let got = async {
            trace::note("path", || path.to_owned());
            let waits = || self.is_throttled(token) || self.throttled.fails(token, self.clock.uptime());
            if trust == Trust::Known && waits() {
                trace::note("outcome", || "throttled");
                metrics::token_checked("throttled");
                return Err(Missing::Unasked);
            }
            let Some(_place) = self.lanes.place(lane, patience).await else {
                tracing::warn!(?lane, "laravel is slow, a request got no place in time");
                trace::note("outcome", || "no place");
                metrics::token_checked("unavailable");
                return Err(Missing::Unasked);
            };
            let now = self.clock.elapsed();
            let allowed = match trust {
                Trust::Known => self.breaker.allows(now),
                // It is nobody's probe.
                Trust::Stranger => !self.breaker.is_open(now),
            };
            if !allowed {
                metrics::token_checked("refused_by_breaker");
                return Err(Missing::Unasked);
            }
            let url = format!("{}/{path}", self.bases[*self.route.lock()]);
            let asked = self.clock.elapsed();
            let response = self.http.get(url).bearer_auth(token).header("accept", "application/json").send().await;
            match response {
                Ok(response) => {
                    let answer = Answer::read(response, self.clock.now()).await;
                    metrics::token_asked(self.clock.elapsed().saturating_sub(asked));
                    trace::note("status", || i64::from(answer.status));
                    Ok(answer)
                }
                Err(error) => {
                    let error = causes(&error.without_url());
                    tracing::warn!(error, "asking laravel failed");
                    trace::note("outcome", || "unavailable");
                    if trust == Trust::Known {
                        self.failed(token);
                    }
                    Err(Missing::Failed)
                }
            }
        };
        trace::part("laravel", Kind::Client, got).await
    }
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
