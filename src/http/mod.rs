//! The transport towards Laravel and operators.

mod access;
mod address;
mod admin;
mod admission;
mod body;
mod calls;
mod connections;
mod cors;
mod descriptors;
mod emit;
mod engine;
mod forwarded;
mod gate;
mod guests;
mod handover;
mod handshake;
mod health;
mod inspector;
mod listener;
mod measure;
mod openapi;
mod outbox;
mod page;
mod peers;
mod per_address;
mod pipe;
mod probe;
mod queries;
mod reading;
mod relay;
mod relayed;
mod schema;
mod sessions;
mod slashes;
mod standing;
mod statistics;
mod unfinished;
mod unlisted;
mod upgrade;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use access::{Access, RefusedSecrets};
pub use address::ClientAddress;
pub use admin::{AdminSwitch, admin_router};
pub use connections::{ADMIN_CONNECTIONS, API_CONNECTIONS, Connections};
pub use cors::{cors, strangers_get_nothing};
pub use descriptors::{Descriptors, raise_descriptor_limit};
pub use engine::{EngineDoor, engine_requests};
pub use gate::{ApiLimit, Bounds, Gate, api_limit, guard};
pub use health::Counts;
pub use inspector::{AskError, ask_about, inspector_router};
pub use listener::{ListenerSettings, Peer, serve};
pub use relay::{Relay, ToNodes, route};
pub use sessions::SessionRequests;
pub use standing::{Readiness, is_cut_off};
pub use unlisted::watch_forwarded;
pub use upgrade::OwnSessions;

use crate::call::{CallId, UserId};
use crate::signaling::Signaling;
use crate::socket::Authenticate;
use crate::telemetry::About;
use crate::telemetry::trace::Kind;
use measure::{Routes, measure};

const BODY_LIMIT: usize = 256 * 1024;

/// What the handlers share.
pub struct Api {
    pub signaling: Arc<Signaling>,
    pub authenticate: Arc<dyn Authenticate>,
    pub access: Access,
    pub counts: Counts,
    pub readiness: Readiness,
    /// Who looks at statistics, one at a time.
    pub statistics: tokio::sync::Semaphore,
}

/// Whom a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    Everybody,
    /// Phones and their load balancers: nothing of `/api/`.
    Phones,
    Laravel,
}

/// The routes of a port beside Socket.IO. The test page is served in development only.
pub fn router(serves: Serves, api: Arc<Api>, limit: Option<&Arc<ApiLimit>>, development: bool) -> Router {
    let guarded = guarded().route_layer(middleware::from_fn_with_state(Arc::clone(&api), access::require_secret));
    let queries =
        queries().route_layer(middleware::from_fn_with_state(Arc::clone(&api), access::require_secret_or_open));
    let has_api = serves != Serves::Phones;
    let routes = if has_api { guarded.merge(queries).merge(open()) } else { open() };
    let has_page = development && serves != Serves::Laravel;
    let probes = health::probes(api.readiness.clone(), has_page);
    let templates = routes.get_openapi().paths.paths.keys().cloned().chain(["/ready".to_owned()]);
    let measured = Arc::new(Routes::new(templates, api.signaling.clock().clone()));
    let described = match has_api {
        false => Router::new(),
        true if development => openapi::router(),
        true => openapi::router().route_layer(middleware::from_fn_with_state(Arc::clone(&api), access::require_secret)),
    };
    let mut router = Router::from(routes).layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(api).merge(described);
    if let Some(limit) = limit {
        router = router.layer(gate::api_layer(limit));
    }
    // Whoever else comes by the load balancer's address must not use up what its probes may ask.
    router = router
        .merge(probes)
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(measured, measure));
    if has_page {
        router = router.merge(page::router());
    }
    slashes::forgiven(router)
}

/// Routes that need the secret.
fn guarded() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(emit::accepted))
        .routes(routes!(emit::cancelled))
        .routes(routes!(emit::rejected))
        .routes(routes!(emit::ended))
        .routes(routes!(calls::initiate))
        .routes(routes!(calls::show))
        .routes(routes!(statistics::show))
        .routes(routes!(users::online_many))
        .routes(routes!(users::emit))
        .routes(routes!(users::disconnect))
}

/// Routes that were open in the deployed server.
fn queries() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(queries::online)).routes(routes!(queries::connected_users))
}

fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(health::health)).routes(routes!(health::socket_health))
}

/// Serves a request about a call, in a span of its trace.
async fn traced(
    api: &Api,
    name: &'static str,
    call: &CallId,
    user: Option<&UserId>,
    work: impl Future<Output = Response>,
) -> Response {
    let about = About { user: user.cloned(), ..About::call(call) };
    api.signaling.traces().run(name, Kind::Server, about, work).await
}

/// An error as every endpoint says it.
pub(crate) fn error(status: StatusCode, text: &str, code: &'static str) -> Response {
    (status, axum::Json(json!({"error": text, "code": code}))).into_response()
}

/// This node can't take a client now: it comes back, to whatever node, when it has waited.
fn come_back(text: &str, wait: Duration) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, text, "unavailable");
    // Whole seconds, and never too early.
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response
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
