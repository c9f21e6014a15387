//! The internal port: probes, metrics, the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schema::Problem;
use super::{error, not_found, openapi, outbox, wrong_method};
use crate::signaling::Signaling;
use crate::telemetry::metrics;

const PATIENCE: Duration = Duration::from_millis(1500);

/// Whether the node takes part: off before it started and while it stops.
#[derive(Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct Admin {
    pub signaling: Arc<Signaling>,
    readiness: Readiness,
}

pub fn admin_router(signaling: Arc<Signaling>, readiness: Readiness) -> Router {
    Router::from(probes())
        .route("/outbox/dead", get(outbox::dead))
        .route("/outbox/replay", post(outbox::replay))
        .route("/outbox/on", post(outbox::on))
        .merge(openapi::router())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(Admin { signaling, readiness }))
}

pub(super) fn probes() -> OpenApiRouter<Arc<Admin>> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(render))
}

/// Does the process answer?
#[utoipa::path(get, path = "/live", tag = "operations", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = 405, description = "Not asked with GET", body = Problem),
))]
async fn live() -> &'static str {
    "alive\n"
}

/// Does the node take part?
#[utoipa::path(get, path = "/ready", tag = "operations", security(()), responses(
    (status = 200, description = "It does, and the store answers", body = String, content_type = "text/plain"),
    (status = 405, description = "Not asked with GET", body = Problem),
    (status = 503, description = "It starts, stops, or is cut off", body = Problem),
))]
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if !admin.readiness.is_set() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "Node is starting or stopping", "unavailable");
    }
    if !admin.signaling.hears_itself() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "Node does not hear its own channel", "unavailable");
    }
    match tokio::time::timeout(PATIENCE, admin.signaling.counts()).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(_)) | Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "Store does not answer", "unavailable"),
    }
}

/// All metrics, as Prometheus reads them
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()), responses(
    (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
    (status = 405, description = "Not asked with GET", body = Problem),
))]
async fn render() -> impl IntoResponse {
    let text = tokio::task::spawn_blocking(metrics::render).await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
