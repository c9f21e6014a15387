//! The engine keeps the head of the request that opened a session for as long as the session lives, and with it the
//! 16 KiB read buffer that its header values are slices of. A copy of what is needed keeps neither.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::uri::{PathAndQuery, Uri};
use axum::middleware::Next;
use axum::response::Response;
use hyper::upgrade::OnUpgrade;

use crate::socket::{Transport, Wire};

/// What the engine and the websocket handshake read.
const NEEDED: [HeaderName; 7] =
    [HOST, ORIGIN, CONTENT_TYPE, CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

pub async fn compact(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/socket.io") {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let mut small = Request::new(body);
    *small.method_mut() = parts.method;
    *small.version_mut() = parts.version;
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
    *small.uri_mut() = target.parse::<Uri>().unwrap_or_default();
    for name in NEEDED {
        if let Some(Ok(value)) = parts.headers.get(&name).map(|value| HeaderValue::from_bytes(value.as_bytes())) {
            small.headers_mut().insert(name, value);
        }
    }
    if let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() {
        small.extensions_mut().insert(upgrade);
    }
    if let Some(wire) = parts.extensions.remove::<Wire>() {
        small.extensions_mut().insert(wire);
    }
    if let Some(transport) = parts.extensions.remove::<Transport>() {
        small.extensions_mut().insert(transport);
    }
    next.run(small).await
}
