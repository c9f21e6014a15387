//! Requests that are for the engine. It keeps the head of the request that opened a session for as long as the session
//! lives, and with it the 16 KiB read buffer that its header values are slices of: it gets what it reads of each, and
//! keeps neither. A websocket that is a session's first transport is answered here and handed over as a stream: the
//! engine's own handshake stays in the task of its websocket with both copies of the request (docs/adr/0017).

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{Extensions, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use hyper::upgrade::OnUpgrade;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handover::Handover;
use super::handshake::{accept_key, parameter};
use crate::socket::{Engine, Post, SEPARATOR, Transport, Wire};

/// What the engine reads of a head.
const NEEDED: [HeaderName; 2] = [CONTENT_TYPE, SEC_WEBSOCKET_KEY];
/// All that it reads of a request that opens a session.
const OPENS_BY_POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const OPENS_BY_WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
/// Packets in one body.
const PACKETS_AT_MOST: usize = 256;
/// Of these the engine handles so many without a pause, and everybody else waits.
const PACKETS_AT_ONCE: usize = 16;

/// The way to the engine.
pub struct EngineDoor {
    engine: Engine,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl EngineDoor {
    pub fn new(engine: Engine, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { engine, tasks, stop }
    }

    /// Gives the engine a websocket on which it is to find what this request opens. False where it takes none.
    pub(super) fn hand_over(&self, stream: Handover, target: Uri, extensions: Extensions) -> bool {
        let mut request = axum::http::Request::new(());
        *request.uri_mut() = target;
        *request.extensions_mut() = extensions;
        // On the heap: the engine's futures hold the stream several times over.
        self.engine.takes(Box::new(stream), request)
    }

    /// Answers a websocket that opens a session.
    fn open(self: Arc<Self>, accept: HeaderValue, upgrade: OnUpgrade, extensions: Extensions) -> Response {
        let tasks = self.tasks.clone();
        tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            if let Some(stream) = upgrade.await.ok().and_then(Handover::of) {
                self.hand_over(stream, Uri::from_static(OPENS_BY_WEBSOCKET), extensions);
            }
        }));
        let upgrade = HeaderValue::from_static("websocket");
        let head =
            [(UPGRADE, upgrade), (CONNECTION, HeaderValue::from_static("Upgrade")), (SEC_WEBSOCKET_ACCEPT, accept)];
        (StatusCode::SWITCHING_PROTOCOLS, head).into_response()
    }
}

/// Serves what is for the engine.
pub async fn engine_requests(State(switch): State<Arc<EngineDoor>>, request: Request, next: Next) -> Response {
    if !is_for_the_engine(request.uri().path()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let opens = opened_by(&parts.method, parts.uri.query().unwrap_or_default());
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let mut kept = Extensions::new();
    if let Some(wire) = parts.extensions.remove::<Wire>() {
        kept.insert(wire);
    }
    if let Some(transport) = parts.extensions.remove::<Transport>() {
        kept.insert(transport);
    }
    let accept = accept_key(&parts.method, &parts.headers).filter(|_| opens == Some(OPENS_BY_WEBSOCKET));
    let upgrade = match (accept, upgrade) {
        (Some(accept), Some(upgrade)) => return switch.open(accept, upgrade, kept),
        (_, upgrade) => upgrade,
    };
    let post = parts.extensions.remove::<Arc<Post>>();
    let is_post = parts.method == Method::POST;
    let mut small = Request::new(if is_post { of_few_packets(body, post.clone()) } else { body });
    *small.method_mut() = parts.method;
    *small.version_mut() = parts.version;
    *small.uri_mut() = match opens {
        Some(target) => Uri::from_static(target),
        None => parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned().parse().unwrap_or_default(),
    };
    for name in NEEDED {
        if let Some(Ok(value)) = parts.headers.get(&name).map(|value| HeaderValue::from_bytes(value.as_bytes())) {
            small.headers_mut().insert(name, value);
        }
    }
    if let Some(upgrade) = upgrade {
        kept.insert(upgrade);
    }
    *small.extensions_mut() = kept;
    if !is_post {
        return switch.engine.answer(small).await.map(Body::new);
    }
    // What has come of it is said, whether its client waits for the answer or not.
    let said = Arc::clone(&switch);
    let answer = switch.tasks.spawn(async move {
        if let Some(post) = post {
            post.turn().await;
        }
        said.engine.answer(small).await.map(Body::new)
    });
    answer.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// The same body, packet by packet since the engine reads on before each. It breaks off where it has too many; the engine
/// closes the session of one that does. Its session pays for them, where it is paced.
fn of_few_packets(body: Body, post: Option<Arc<Post>>) -> Body {
    let mut separators = 0;
    let pieces = body.into_data_stream().flat_map(|bytes| match bytes {
        Ok(bytes) => stream::iter(pieces_of(bytes)).map(Ok).left_stream(),
        Err(error) => stream::once(ready(Err(error))).right_stream(),
    });
    let pieces = pieces.enumerate().then(|(before, piece)| async move {
        if before % PACKETS_AT_ONCE == PACKETS_AT_ONCE - 1 {
            yield_now().await;
        }
        piece
    });
    Body::from_stream(pieces.map(move |bytes| {
        let bytes = bytes.map_err(io::Error::other)?;
        let more = bytes.iter().filter(|byte| **byte == SEPARATOR).count();
        separators += more;
        if separators >= PACKETS_AT_MOST {
            return Err(io::Error::other("too many packets in a body"));
        }
        if let Some(post) = &post {
            post.read(more);
        }
        Ok(bytes)
    }))
}

/// Bytes of a body, cut behind each packet, as far as they may be packets of one body; none is empty.
fn pieces_of(mut bytes: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while pieces.len() < PACKETS_AT_MOST
        && let Some(last) = bytes.iter().position(|byte| *byte == SEPARATOR)
    {
        pieces.push(bytes.split_to(last + 1));
    }
    pieces.push(bytes);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn is_for_the_engine(path: &str) -> bool {
    path.strip_prefix("/socket.io").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What the engine reads of a request by which it opens a session; absent for any other.
fn opened_by(method: &Method, query: &str) -> Option<&'static str> {
    if *method != Method::GET || parameter(query, "sid").is_some() || parameter(query, "EIO") != Some("4") {
        return None;
    }
    match parameter(query, "transport")? {
        "polling" => Some(OPENS_BY_POLLING),
        "websocket" => Some(OPENS_BY_WEBSOCKET),
        _ => None,
    }
}

/// What the engine reads of a request by which a session of this id moves to a websocket.
pub(super) fn upgraded_by(uri: &Uri, id: &str) -> Uri {
    let query = uri.query().unwrap_or_default();
    let is_understood = parameter(query, "EIO") == Some("4");
    let short = is_understood.then(|| format!("{OPENS_BY_WEBSOCKET}&sid={id}").parse().ok());
    short.flatten().unwrap_or_else(|| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_gets_its_path_and_no_other() {
        for path in ["/socket.io", "/socket.io/", "/socket.io/x"] {
            assert!(is_for_the_engine(path), "{path}");
        }
        for path in ["/", "/socket.iox", "/socket.io-admin/", "/x/socket.io/"] {
            assert!(!is_for_the_engine(path), "{path}");
        }
    }

    #[test]
    fn a_body_is_cut_behind_each_packet() {
        let cut = |body: &'static str| pieces_of(Bytes::from(body));
        assert_eq!(cut("42[1]\x1e2\x1e42[2]"), ["42[1]\x1e", "2\x1e", "42[2]"]);
        assert_eq!(cut("2\x1e\x1e"), ["2\x1e", "\x1e"]);
        assert_eq!(cut(""), [""; 0]);
    }

    #[test]
    fn what_opens_a_session_is_known_by_its_query() {
        let opened = |query| opened_by(&Method::GET, query);
        assert_eq!(opened("EIO=4&transport=polling&t=abc"), Some(OPENS_BY_POLLING));
        assert_eq!(opened("t=abc&transport=websocket&EIO=4"), Some(OPENS_BY_WEBSOCKET));
        for query in
            ["", "EIO=4", "EIO=3&transport=polling", "EIO=4&transport=polling&sid=", "EIO=4&transport=webtransport"]
        {
            assert_eq!(opened(query), None, "{query}");
        }
        assert_eq!(opened_by(&Method::POST, "EIO=4&transport=polling"), None);
    }
}
