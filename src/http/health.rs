use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::schema::{Health, Problem};
use super::standing::Readiness;
use super::{Api, error};
use crate::clock::Clock;
use crate::signaling::Signaling;

/// Counts may be this old.
const FRESH: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1);

/// The cluster's counts, asked for once a second at most, however many ask.
#[derive(Default)]
pub struct Counts(Mutex<Last>);

#[derive(Default)]
struct Last {
    users: u64,
    calls: u64,
    asked_at: Option<Duration>,
    stale: bool,
}

impl Counts {
    async fn read(&self, signaling: &Signaling, clock: &Clock) -> (u64, u64, bool) {
        let mut last = self.0.lock().await;
        let now = clock.elapsed();
        if last.asked_at.is_none_or(|asked_at| now.saturating_sub(asked_at) >= FRESH) {
            match tokio::time::timeout(PATIENCE, signaling.operators.counts()).await {
                Ok(Ok((users, calls))) => *last = Last { users, calls, asked_at: None, stale: false },
                Ok(Err(_)) | Err(_) => last.stale = true,
            }
            last.asked_at = Some(clock.elapsed());
        }
        (last.users, last.calls, last.stale)
    }
}

/// How the cluster is
///
/// 200 while the node serves; without the store the last known counts, marked as such.
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "health", security(()), responses(
    (status = 200, description = "The node serves", body = Health),
    (status = 429, description = "Too many requests from this address", body = Problem),
))]
pub(super) async fn health(State(api): State<Arc<Api>>) -> Json<Value> {
    let clock = api.signaling.clock();
    let (users, calls, stale) = api.counts.read(&api.signaling, clock).await;
    let mut answer = json!({
        "status": "OK",
        "connectedUsers": users,
        "activeCalls": calls,
        "timestamp": clock.now().as_millis(),
    });
    if stale {
        answer["stale"] = true.into();
    }
    Json(answer)
}

/// The same, under the name that some probes ask for
#[utoipa::path(get, path = "/socket-health", operation_id = "getSocketHealth", tag = "health", security(()), responses(
    (status = 200, description = "The node serves", body = Health),
    (status = 429, description = "Too many requests from this address", body = Problem),
))]
pub(super) async fn socket_health(api: State<Arc<Api>>) -> Json<Value> {
    health(api).await
}

/// For load balancers that ask the port they send phones to: whether the node takes part, and, where no page is served
/// there, an answer at `/`, which some ask and nothing else.
pub(super) fn probes(readiness: Readiness, has_page: bool) -> Router {
    let probes = Router::new().route("/ready", get(async move || ready(&readiness)));
    if has_page { probes } else { probes.route("/", get(async || "onlycare-signaling\n")) }
}

/// Why it is not ready is said on the admin port only.
fn ready(readiness: &Readiness) -> Response {
    if readiness.is_serving() && !readiness.is_cut_off() {
        return "ready\n".into_response();
    }
    error(StatusCode::SERVICE_UNAVAILABLE, "Not ready", "unavailable")
}
