//! The test page: some phones in a browser, and what they say to each other. Development only.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; img-src 'self' data: blob:";

/// The page's files under `/web/`.
const FILES: [(&str, &str, &str); 11] = [
    ("/web/style.css", "text/css", include_str!("../../web/style.css")),
    ("/web/lab.css", "text/css", include_str!("../../web/lab.css")),
    ("/web/app.js", "text/javascript", include_str!("../../web/app.js")),
    ("/web/phone.js", "text/javascript", include_str!("../../web/phone.js")),
    ("/web/call.js", "text/javascript", include_str!("../../web/call.js")),
    ("/web/socket.js", "text/javascript", include_str!("../../web/socket.js")),
    ("/web/log.js", "text/javascript", include_str!("../../web/log.js")),
    ("/web/latency.js", "text/javascript", include_str!("../../web/latency.js")),
    ("/web/diagram.js", "text/javascript", include_str!("../../web/diagram.js")),
    ("/web/sequence.js", "text/javascript", include_str!("../../web/sequence.js")),
    ("/web/setup.js", "text/javascript", include_str!("../../web/setup.js")),
];

pub(super) fn router() -> Router {
    let page = Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("../../web/index.html"))))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT));
    FILES.into_iter().fold(page, |page, (path, kind, text)| page.route(path, get(async move || file(kind, text))))
}

pub(super) fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], text)
}
