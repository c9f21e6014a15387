//! An upgrade that fails costs nothing: the engine hears of a websocket when its client has said that it moves there.
//! Until then the session stays on polling, whatever becomes of the websocket (docs/adr/0014).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Extensions, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::{self, EngineDoor};
use super::handover::Handover;
use super::handshake::accept_key;
use super::probe::{self, PROBE_ANSWER, PROBE_FRAMES};
use crate::socket::{EngineId, Wire, Wires};
use crate::telemetry::metrics::{self, Upgraded};

/// A poll that comes during a probe is held for so long: the client moves when it has no poll open, and may not know yet
/// that it can. The official server's interval.
const MOMENT: Duration = Duration::from_millis(100);
/// More than a poll answers to a client that was refused.
const PACKETS_LIMIT: usize = 64 * 1024;

/// How far the websocket of a session on polling is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    None,
    /// It has to send `2probe`.
    Opened,
    /// It gets `3probe`: polls are to be answered, so that the client can move.
    Probed,
    /// The engine takes it over: no poll is for the engine any more.
    Moved,
}

/// Serves the requests of this node's own sessions; knows of their polls and probes that are under way.
pub struct OwnSessions {
    sessions: Mutex<HashMap<Box<str>, Arc<watch::Sender<Stage>>>>,
    /// A probe that takes longer has failed.
    patience: Duration,
    /// What is posted is read no faster than phones speak.
    paced: bool,
    wires: Arc<Wires>,
    engine: Arc<EngineDoor>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The stage of one session, kept as long as a poll or a probe looks at it.
struct Seat {
    own: Arc<OwnSessions>,
    id: Box<str>,
    stage: Arc<watch::Sender<Stage>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.own.sessions.lock();
        // The table's and this one.
        if Arc::strong_count(&self.stage) == 2 {
            sessions.remove(&self.id);
        }
    }
}

/// The one probe of a session.
struct Probe(Seat);

impl Probe {
    fn reaches(&self, stage: Stage) {
        self.0.stage.send_replace(stage);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.reaches(Stage::None);
    }
}

impl OwnSessions {
    pub fn new(
        wires: Arc<Wires>,
        engine: Arc<EngineDoor>,
        patience: Duration,
        paced: bool,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self { sessions: Mutex::default(), patience, paced, wires, engine, tasks, stop })
    }

    fn seat(self: &Arc<Self>, id: &str) -> Seat {
        let stage = Arc::clone(self.sessions.lock().entry(id.into()).or_default());
        Seat { own: Arc::clone(self), id: id.into(), stage }
    }

    /// Absent while another websocket is in its probe.
    fn probe(self: &Arc<Self>, id: &str) -> Option<Probe> {
        let seat = self.seat(id);
        let open = |stage: &mut Stage| {
            let is_free = *stage == Stage::None;
            if is_free {
                *stage = Stage::Opened;
            }
            is_free
        };
        seat.stage.send_if_modified(open).then(|| Probe(seat))
    }

    /// Serves a request of a session, unless its transport was closed or is meanwhile.
    pub(super) async fn serve(
        self: &Arc<Self>,
        id: &str,
        websocket: bool,
        wire: Option<Wire>,
        request: Request,
        next: Next,
    ) -> Response {
        let receives = websocket || *request.method() == Method::GET;
        if !receives && self.wires.was_refused(id) {
            // Its client may have read a ping before the refusal, and answers both.
            return ok();
        }
        if self.wires.is_closed(id) {
            return unknown_session();
        }
        let served = async {
            match *request.method() {
                _ if websocket => self.open(id, wire, request, next).await,
                Method::GET => self.poll(id, request, next).await,
                Method::POST if self.paced => self.post(id, request, next).await,
                _ => next.run(request).await,
            }
        };
        tokio::select! {
            // First: an answer may be ready too, and would take what the phone has to hear by replay.
            biased;
            // What a client sends may be what closes the transport, and is answered.
            () = self.wires.closed(id), if receives => unknown_session(),
            response = served => response,
        }
    }

    /// Of all that a session posts the engine reads so much in a second, by however many requests and nodes it comes.
    async fn post(&self, id: &str, mut request: Request, next: Next) -> Response {
        let Some(posts) = EngineId::parse(id).and_then(|id| self.wires.transports().posts(id)) else {
            return unknown_session();
        };
        // The official server takes one at a time.
        let Some(post) = posts.begin() else { return bad_request() };
        request.extensions_mut().insert(post);
        next.run(request).await
    }

    /// One that waits is answered with a no-op when its client can move to a websocket; the
    /// engine, whose answer is not ready then, has taken no packet out of its queue.
    async fn poll(self: &Arc<Self>, id: &str, request: Request, next: Next) -> Response {
        let seat = self.seat(id);
        let mut stage = seat.stage.subscribe();
        let came_late = *stage.borrow() == Stage::Probed;
        let released = async {
            loop {
                let reached = stage.wait_for(|stage| *stage >= Stage::Probed).await.map_or(Stage::None, |stage| *stage);
                if reached != Stage::Probed || !came_late {
                    return;
                }
                if tokio::time::timeout(MOMENT, stage.wait_for(|stage| *stage != Stage::Probed)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            response = next.run(request) => self.answered(id, response).await,
            () = released => no_op(),
        }
    }

    /// The engine answered a poll: its client reads, and hears of a refusal if that is what was waiting.
    async fn answered(&self, id: &str, response: Response) -> Response {
        if response.status() != StatusCode::OK {
            return response;
        }
        self.wires.was_polled(id);
        if !self.wires.was_refused(id) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(packets) = to_bytes(body, PACKETS_LIMIT).await else { return unknown_session() };
        self.wires.heard(id, &packets);
        Response::from_parts(parts, Body::from(packets))
    }

    /// Answers the request for a websocket of a session, and plays its probe.
    async fn open(self: &Arc<Self>, id: &str, wire: Option<Wire>, mut request: Request, next: Next) -> Response {
        let Some(accept) = accept_key(request.method(), request.headers()) else { return bad_request() };
        let engine_says = is_polling(id, next).await;
        if engine_says.status() != StatusCode::OK {
            metrics::upgraded(Upgraded::Refused);
            return engine_says;
        }
        // Refused like the official server refuses it: the one that came first goes on.
        let (Some(probe), Some(client)) = (self.probe(id), request.extensions_mut().remove::<OnUpgrade>()) else {
            metrics::upgraded(Upgraded::Refused);
            return bad_request();
        };
        let own = Arc::clone(self);
        let (id, answered_on) = (id.to_owned(), wire.clone());
        let target = engine::upgraded_by(request.uri(), &id);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = own.wires.closed(&id) => {}
                () = own.stop.cancelled() => {}
                outcome = own.run(&id, wire, client, probe, target) => metrics::upgraded(outcome),
            }
        });
        if let Some(wire) = answered_on {
            wire.becomes_websocket();
        }
        let head = [
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, head).into_response()
    }

    /// From the websocket's first byte until the engine has it.
    async fn run(&self, id: &str, wire: Option<Wire>, client: OnUpgrade, probe: Probe, target: Uri) -> Upgraded {
        let played = async {
            let mut stream = Handover::of(client.await.ok()?)?;
            let behind = probe::play(&mut stream, || probe.reaches(Stage::Probed)).await.ok()?;
            Some((stream, behind))
        };
        let (stream, behind) = match tokio::time::timeout(self.patience, played).await {
            Ok(Some(played)) => played,
            Ok(None) => return Upgraded::Failed,
            Err(_) => return Upgraded::TimedOut,
        };
        probe.reaches(Stage::Moved);
        if let Some(wire) = wire {
            self.wires.upgrade(id, &wire);
        }
        // Closed before its websocket was known: nobody would end that.
        if self.wires.is_closed(id) {
            return Upgraded::Failed;
        }
        // The engine plays the whole upgrade, which its client has done.
        let played = [PROBE_FRAMES.as_slice(), &behind].concat();
        let stream = stream.again(&played, PROBE_ANSWER.len(), probe);
        match self.engine.hand_over(stream, target, Extensions::new()) {
            true => Upgraded::Completed,
            false => Upgraded::Failed,
        }
    }
}

/// What the engine says to a message without packets: OK where the session lives and is on polling.
async fn is_polling(id: &str, next: Next) -> Response {
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={id}");
    match axum::http::Request::post(target).body(Body::empty()) {
        Ok(question) => next.run(question).await,
        Err(_) => bad_request(),
    }
}

/// As the engine answers what a client sends.
fn ok() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], "ok").into_response()
}

fn no_op() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], "6").into_response()
}

/// What Engine.IO says of a session that is gone: the client opens a new one.
pub(super) fn unknown_session() -> Response {
    let body = r#"{"code":1,"message":"Session ID unknown"}"#;
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// As the official server says it of what can't be.
fn bad_request() -> Response {
    let body = r#"{"code":3,"message":"Bad request"}"#;
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Engine;

    #[tokio::test]
    async fn a_session_has_one_probe_and_nothing_is_kept_of_it() {
        let wires = Arc::new(Wires::new(Duration::ZERO));
        let engine = EngineDoor::new(Engine::without_sessions(), TaskTracker::new(), CancellationToken::new());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let own = OwnSessions::new(wires, engine.into(), Duration::ZERO, true, tasks, stop);
        let probe = own.probe("a").unwrap();
        assert!(own.probe("a").is_none() && own.probe("b").is_some());
        let poll = own.seat("a");
        drop(probe);
        drop(own.probe("a").unwrap());
        assert_eq!(own.sessions.lock().len(), 1);
        drop(poll);
        assert!(own.sessions.lock().is_empty());
    }
}
