//! The internal port: probes, metrics, the outbox.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tower::ServiceExt;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schema::Problem;
use super::standing::Readiness;
use super::{error, not_found, openapi, outbox, wrong_method};
use crate::signaling::Signaling;
use crate::telemetry::metrics;

/// What the admin port answers with: little before the node started, all after.
#[derive(Clone, Default)]
pub struct AdminSwitch(Arc<OnceLock<Router>>);

impl AdminSwitch {
    pub fn open(&self, router: Router) {
        // A second call changes nothing.
        let _ = self.0.set(router);
    }

    pub fn router(&self) -> Router {
        let switch = Arc::clone(&self.0);
        let before = Router::new()
            .route("/live", get(live))
            .route("/metrics", get(render))
            .fallback(async || error(StatusCode::SERVICE_UNAVAILABLE, STARTING, "unavailable"));
        Router::new().fallback(async move |request: Request| {
            let router = switch.get().unwrap_or(&before).clone();
            router.oneshot(request).await
        })
    }
}

const STARTING: &str = "Node is starting or stopping";

pub(super) struct Admin {
    pub signaling: Arc<Signaling>,
    readiness: Readiness,
}

pub fn admin_router(signaling: Arc<Signaling>, readiness: Readiness, inspector: Option<Router>) -> Router {
    Router::from(probes())
        .merge(openapi::router())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(Admin { signaling, readiness }))
        .merge(inspector.unwrap_or_default())
}

pub(super) fn probes() -> OpenApiRouter<Arc<Admin>> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(lease))
        .routes(routes!(render))
        .routes(routes!(outbox::dead))
        .routes(routes!(outbox::replay))
        .routes(routes!(outbox::on))
}

/// Does the process answer?
#[utoipa::path(get, path = "/live", operation_id = "getLive", tag = "operations", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = 405, description = "Not asked with GET", body = Problem),
))]
async fn live() -> &'static str {
    "alive\n"
}

/// Does the node take part?
///
/// Without the store it does as well, unless another node is known to be better off. On `PORT` too, where why it does not
/// is not said.
#[utoipa::path(get, path = "/ready", operation_id = "getReady", tag = "operations", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = 405, description = "Not asked with GET", body = Problem),
    (status = 503, description = "It starts, stops, or can't use the store while another node can", body = Problem),
))]
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    if !admin.readiness.is_serving() {
        return error(StatusCode::SERVICE_UNAVAILABLE, STARTING, "unavailable");
    }
    if admin.readiness.is_cut_off() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "Another node can use the store, this one can't", "unavailable");
    }
    "ready\n".into_response()
}

/// Nobody asks for longer.
pub(super) const LONGEST: u64 = 3_600_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Within {
    /// Milliseconds, an hour at most; without it two renewals may have failed
    #[param(minimum = 0, maximum = 3_600_000)]
    within: Option<u64>,
}

/// Can the node use the store?
///
/// Nodes ask each other for this before one calls itself cut off.
#[utoipa::path(get, path = "/lease", operation_id = "getLease", tag = "operations", security(()), params(Within), responses(
    (status = 200, description = "The store renewed its lease and carried its messages within this time", body = String,
        content_type = "text/plain"),
    (status = 400, description = "No number of milliseconds", body = Problem),
    (status = 405, description = "Not asked with GET", body = Problem),
    (status = 409, description = "It did, longer ago", body = Problem),
    (status = 503, description = "It did not lately, or the node starts or stops", body = Problem),
))]
async fn lease(State(admin): State<Arc<Admin>>, asked: Result<Query<Within>, QueryRejection>) -> Response {
    let within = match asked {
        Ok(Query(Within { within })) if within.is_none_or(|within| within <= LONGEST) => within,
        Ok(_) | Err(_) => {
            return error(StatusCode::BAD_REQUEST, "within must be milliseconds, an hour at most", "invalid_payload");
        }
    };
    if !admin.readiness.is_serving() {
        return error(StatusCode::SERVICE_UNAVAILABLE, STARTING, "unavailable");
    }
    let since = admin.signaling.cluster.unproven_for();
    if !admin.signaling.cluster.is_well() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "Store does not take writes", "unavailable");
    }
    if within.is_some_and(|within| since > Duration::from_millis(within)) {
        return error(StatusCode::CONFLICT, "Not within this time", "unavailable");
    }
    format!("used the store {} ms ago\n", since.as_millis()).into_response()
}

/// All metrics, as Prometheus reads them
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "operations", security(()), responses(
    (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
    (status = 405, description = "Not asked with GET", body = Problem),
))]
async fn render() -> impl IntoResponse {
    let text = tokio::task::spawn_blocking(metrics::render).await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
