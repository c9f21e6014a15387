//! The description of every route, made from the handlers, and a page that shows it.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use super::{access, admin, guarded, open, page, queries};

/// Of all routes; without a word of its own a route needs the secret.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "onlycare-signaling",
        description = "What Laravel asks and tells the nodes that ring phones, and how operators look at them. \
            Phones speak Socket.IO: docs/protocol.md. Every node answers for the whole cluster.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "Any node: PORT, and for `operations` ADMIN_PORT")),
    security(("secret" = [])),
    tags(
        (name = "calls", description = "Ring, and ask what became of it"),
        (name = "transitions", description = "What Laravel's own REST API decided about a call"),
        (name = "users", description = "Presence, events, sending away"),
        (name = "health", description = "For load balancers"),
        (name = "operations", description = "On ADMIN_PORT only"),
    ),
)]
struct Description;

fn document() -> utoipa::openapi::OpenApi {
    let mut document = Description::openapi();
    for part in [
        OpenApiRouter::into_openapi(guarded()),
        OpenApiRouter::into_openapi(queries()),
        OpenApiRouter::into_openapi(open()),
        OpenApiRouter::into_openapi(admin::probes()),
    ] {
        document.merge(part);
    }
    let secret = ApiKeyValue::with_description(access::SECRET_HEADER, "LARAVEL_API_SECRET");
    let scheme = SecurityScheme::ApiKey(ApiKey::Header(secret));
    document.components.get_or_insert_default().add_security_scheme("secret", scheme);
    document
}

/// The descriptions of requests and of events, and their page: none is secret.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let document = document();
    Router::new()
        .route("/openapi.json", get(async move || Json(document)))
        .route("/asyncapi.json", get(async || page::file("application/json", include_str!("../../web/asyncapi.json"))))
        .route("/docs", get(async || page::file("text/html; charset=utf-8", include_str!("../../web/docs.html"))))
        .route("/docs/docs.css", get(async || page::file("text/css", include_str!("../../web/docs.css"))))
        .route("/docs/docs.js", get(async || page::file("text/javascript", include_str!("../../web/docs.js"))))
}
