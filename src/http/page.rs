//! The test page: two phones in a browser. Development only.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'";

pub(super) fn router() -> Router {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("../../web/index.html"))))
        .route("/web/style.css", get(async || file("text/css", include_str!("../../web/style.css"))))
        .route("/web/app.js", get(async || file("text/javascript", include_str!("../../web/app.js"))))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        .route("/web/socket.js", get(async || file("text/javascript", include_str!("../../web/socket.js"))))
}

pub(super) fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], text)
}
