//! The internal port: probes, metrics, the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::{error, not_found, outbox};
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
    Router::new()
        .route("/live", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(render))
        .route("/outbox/dead", get(outbox::dead))
        .route("/outbox/replay", post(outbox::replay))
        .route("/outbox/on", post(outbox::on))
        .fallback(not_found)
        .with_state(Arc::new(Admin { signaling, readiness }))
}

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

async fn render() -> impl IntoResponse {
    metrics::upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render())
}
