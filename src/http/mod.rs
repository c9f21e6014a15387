//! The edge towards Laravel and operators.

mod access;
mod admin;
mod compact;
mod emit;
mod gate;
mod health;
mod listener;
mod outbox;
mod page;
mod peers;
mod queries;
mod relay;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

pub use access::{Access, RefusedSecrets, refuse_forwarded};
pub use admin::{Readiness, admin_router};
pub use compact::compact;
pub use gate::{ApiLimit, Bounds, ClientAddress, Gate, api_limit, guard};
pub use health::Counts;
pub use listener::{Peer, PhoneListener};
pub use peers::any_ready;
pub use relay::{Relay, route};

use crate::signaling::Signaling;

const BODY_LIMIT: usize = 256 * 1024;

/// What the handlers share.
pub struct Api {
    pub signaling: Arc<Signaling>,
    pub access: Access,
    pub counts: Counts,
}

/// The public routes beside Socket.IO. The test page is served in development only.
pub fn public_router(api: Arc<Api>, limit: Option<&Arc<ApiLimit>>, development: bool) -> Router {
    let guarded = Router::new()
        .route("/api/emit/call-accepted", post(emit::accepted))
        .route("/api/emit/call-cancelled", post(emit::cancelled))
        .route("/api/emit/call-rejected", post(emit::rejected))
        .route("/api/emit/call-ended", post(emit::ended))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), access::require_secret));
    let queries = Router::new()
        .route("/api/users/{user}/online", get(queries::online))
        .route("/api/connected-users", get(queries::connected_users))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), access::require_secret_or_open));
    let mut router = Router::new()
        .merge(guarded)
        .merge(queries)
        .route("/health", get(health::health))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api);
    if let Some(limit) = limit {
        router = router.layer(gate::api_layer(limit));
    }
    router = router.fallback(not_found).method_not_allowed_fallback(wrong_method);
    if development {
        router = router.merge(page::router());
    }
    router
}

/// CORS for HTTP and Socket.IO alike; no origins: any.
pub fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION]);
    if origins.is_empty() {
        return layer.allow_origin(Any);
    }
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    layer.allow_origin(AllowOrigin::list(origins))
}

/// An error as every endpoint says it.
pub(crate) fn error(status: StatusCode, text: &str, code: &'static str) -> Response {
    (status, axum::Json(json!({"error": text, "code": code}))).into_response()
}

fn unavailable() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable, please try again", "unavailable")
}

async fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", "method_not_allowed")
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Not found", "not_found")
}
