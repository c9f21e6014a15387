//! No stickiness needed: the session id handed out names its node, and any node passes a polling request or a websocket
//! upgrade of another node's session on to it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use hmac::{Hmac, Mac};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::descriptors::{CountingConnector, Descriptors};
use super::handshake::parameter;
use super::peers::counting_client;
use super::pipe::pipe;
use super::relayed::{Place, Relays};
use super::sessions::{SessionName, SessionRequests};
use super::upgrade::{OwnSessions, unknown_session};
use super::{Peer, come_back, error};
use crate::call::Timestamp;
use crate::signaling::Signaling;
use crate::socket::{EngineId, Naming, Transport, Wire};
use crate::telemetry::metrics::{self, Limit, Relayed};

/// Carries the proof that a request comes from another node; whatever comes in from outside under this name is
/// dropped.
const PROOF_HEADER: &str = "x-signaling-hop";
/// A proof older than this is none.
const PROOF_LIFE: Duration = Duration::from_secs(30);
/// The engine's polls are a message or what else fits into one's length, in base64 at worst.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;
const OPEN_PACKET_LIMIT: usize = 64 * 1024;

/// How this node reaches others.
pub struct ToNodes {
    /// Secrets that all nodes share.
    pub keys: Vec<Vec<u8>>,
    /// How long a poll may be held.
    pub patience: Duration,
    pub descriptors: Arc<Descriptors>,
}

pub struct Relay {
    signaling: Arc<Signaling>,
    client: Client<CountingConnector, Body>,
    /// The first signs, any verifies: nodes may be in the middle of a rotation.
    keys: Vec<Vec<u8>>,
    /// Longer than the longest poll, and than a websocket is silent while both its sides live.
    patience: Duration,
    relays: Arc<Relays>,
    own: Arc<OwnSessions>,
    requests: Arc<SessionRequests>,
    /// A websocket that begins here ends with this node.
    turns_upgrades_away: AtomicBool,
    /// Set when the websockets that run through this node are to end, each at a random time within.
    draining: watch::Sender<Option<Duration>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Relay {
    pub fn new(
        signaling: Arc<Signaling>,
        to_nodes: ToNodes,
        own: Arc<OwnSessions>,
        requests: Arc<SessionRequests>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let ToNodes { keys, patience, descriptors } = to_nodes;
        Self {
            signaling,
            client: counting_client(Arc::clone(&descriptors)),
            keys,
            patience,
            relays: Arc::new(Relays::new(descriptors)),
            own,
            requests,
            turns_upgrades_away: AtomicBool::new(false),
            draining: watch::Sender::new(None),
            tasks,
            stop,
        }
    }

    /// A websocket that would run through this node from now on would end with it: 503, and a load balancer asks another
    /// node.
    pub fn turn_upgrades_away(&self) {
        self.turns_upgrades_away.store(true, Ordering::Relaxed);
    }

    /// Ends the websockets that run through this node, spread over `window`. New ones end likewise.
    pub fn drain(&self, window: Duration) {
        self.draining.send_replace(Some(window));
    }

    /// Websockets of other nodes' sessions that run through this node.
    pub fn websockets(&self) -> usize {
        self.relays.websockets()
    }

    /// Those of them that have lived longer than a stranger's.
    pub fn settled_websockets(&self) -> usize {
        self.relays.settled()
    }

    fn sign(&self, key: &[u8], now: Timestamp, target: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(format!("{}|{target}", now.as_millis()).as_bytes());
        Some(mac)
    }

    fn forward_proof(&self, target: &str) -> Option<HeaderValue> {
        let now = self.signaling.clock().now();
        let proof = self.sign(self.keys.first()?, now, target)?.finalize().into_bytes();
        let proof: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        HeaderValue::from_str(&format!("{}.{proof}", now.as_millis())).ok()
    }

    /// Takes the proof off the request and says whether it is one.
    fn has_forward_proof(&self, headers: &mut HeaderMap, target: &str) -> bool {
        let Some(value) = headers.remove(PROOF_HEADER) else { return false };
        let Some((millis, proof)) = value.to_str().ok().and_then(|text| text.split_once('.')) else { return false };
        let Some(at) = millis.parse().ok().map(Timestamp::from_millis) else { return false };
        let now = self.signaling.clock().now();
        let proof: Option<Vec<u8>> =
            (0..proof.len()).step_by(2).map(|i| u8::from_str_radix(proof.get(i..i + 2)?, 16).ok()).collect();
        let Some(proof) = proof.filter(|_| now.since(at) < PROOF_LIFE && at.since(now) < PROOF_LIFE) else {
            return false;
        };
        self.keys.iter().any(|key| self.sign(key, at, target).is_some_and(|mac| mac.verify_slice(&proof).is_ok()))
    }

    /// `from`: whose request it is, and of which session.
    async fn pass_on(&self, address: &str, target: &str, from: (IpAddr, EngineId), mut request: Request) -> Response {
        let Some(place) = self.relays.begin(from.0, from.1) else {
            metrics::relayed(Relayed::Refused);
            return error(StatusCode::SERVICE_UNAVAILABLE, "Too many connections, please come back", "unavailable");
        };
        let (Ok(uri), Some(forward_proof)) = (format!("{address}{target}").parse::<Uri>(), self.forward_proof(target))
        else {
            return unknown_session();
        };
        let client_side = request.extensions_mut().remove::<OnUpgrade>();
        *request.uri_mut() = uri;
        request.headers_mut().insert(PROOF_HEADER, forward_proof);
        let answered = tokio::time::timeout(self.patience, self.client.request(request)).await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            // Its node is gone: the client opens a new session at once.
            Ok(Err(_)) | Err(_) => {
                metrics::relayed(Relayed::Unreachable);
                return unknown_session();
            }
        };
        metrics::relayed(Relayed::Forwarded);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client_side) = client_side
        {
            let node_side = hyper::upgrade::on(&mut response);
            self.connect(place, client_side, node_side);
            return response.map(Body::new);
        }
        // Counted until it is whole: a node may freeze in the middle of it.
        let (parts, body) = response.into_parts();
        match tokio::time::timeout(self.patience, to_bytes(Body::new(body), ANSWER_LIMIT)).await {
            Ok(Ok(whole)) => Response::from_parts(parts, Body::from(whole)),
            Ok(Err(_)) | Err(_) => {
                metrics::relayed(Relayed::Unreachable);
                unknown_session()
            }
        }
    }

    /// Lets a websocket run through this node until either side ends it.
    fn connect(&self, place: Place, client_side: OnUpgrade, node_side: OnUpgrade) {
        let (relays, stop, silence) = (Arc::clone(&self.relays), self.stop.clone(), self.patience);
        let mut draining = self.draining.subscribe();
        self.tasks.spawn(async move {
            let drained = async move {
                let Ok(window) = draining.wait_for(Option::is_some).await.map(|window| window.unwrap_or_default())
                else {
                    return;
                };
                tokio::time::sleep(window.mul_f64(rand::random())).await;
            };
            let running = async {
                // A client that does not even read the 101 is as silent as one that says nothing afterwards.
                let both = async { tokio::join!(client_side, node_side) };
                let Ok((Ok(client), Ok(node))) = tokio::time::timeout(silence, both).await else { return };
                pipe(TokioIo::new(client), TokioIo::new(node), silence).await;
            };
            let running = async {
                metrics::relays(relays.websockets());
                tokio::select! {
                    () = running => {}
                    () = drained => {}
                    () = stop.cancelled() => {}
                }
            };
            Arc::clone(&relays).websocket(place, running).await;
            metrics::relays(relays.websockets());
        });
    }
}

/// Serves requests of own sessions, passes those of others on, and names this node in every session id it hands out.
pub async fn route(State(relay): State<Arc<Relay>>, mut request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/socket.io") {
        return next.run(request).await;
    }
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
    let from_a_node = relay.has_forward_proof(request.headers_mut(), &target);
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.clone());
    if let Some(peer) = peer.as_ref().filter(|_| from_a_node) {
        peer.place.vouch();
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let websocket = parameter(&query, "transport") == Some("websocket");
    let wire = peer.as_ref().map(|peer| peer.wire.clone());
    let client = peer.as_ref().map(|peer| relay.requests.client_of(peer.address.ip(), request.headers()));
    if let (Some(peer), Some(client)) = (peer.as_ref().filter(|_| websocket), client) {
        // Of a node there is no telling whose its websockets are: they share what an address has.
        peer.wire.draws_from(peer.place.budget(if from_a_node { peer.address.ip() } else { client }));
    }
    let Some(sid) = parameter(&query, "sid") else {
        let wire = wire.filter(|_| websocket);
        if let Some(wire) = &wire {
            request.extensions_mut().insert(wire.clone());
        }
        let hands_out_an_id = request.method() == Method::GET && parameter(&query, "transport") == Some("polling");
        let naming = request.extensions().get::<Transport>().map(Transport::naming);
        let response = next.run(request).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            wire.iter().for_each(Wire::becomes_websocket);
        }
        return if hands_out_an_id {
            name_the_node(response, &relay.signaling.cluster.own_tag(), naming.as_ref()).await
        } else {
            response
        };
    };
    // What another node passes on has been counted there.
    if let Some(client) = client.filter(|_| !from_a_node)
        && let Some(wait) = relay.requests.refuses(client)
    {
        metrics::limited(Limit::SessionRequests);
        return come_back("Too many requests, please come back", wait);
    }
    let Some(name) = SessionName::parse(sid) else { return unknown_session() };
    let own_tag = relay.signaling.cluster.own_tag();
    let (id, tag) = (name.text, name.mark.unwrap_or(&own_tag));
    if tag == own_tag {
        if !relay.requests.is_live(name.id) {
            return unknown_session();
        }
        let Ok(uri) = target.replacen(sid, id, 1).parse::<Uri>() else { return unknown_session() };
        *request.uri_mut() = uri;
        return relay.own.serve(id, websocket, wire, request, next).await;
    }
    let from = (client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), name.id);
    match relay.signaling.cluster.address_of(tag).await {
        // A node that does not know itself by this name: nobody will.
        Some(_) if from_a_node => unknown_session(),
        Some(_) if websocket && relay.turns_upgrades_away.load(Ordering::Relaxed) => {
            metrics::limited(Limit::Draining);
            metrics::relayed(Relayed::Refused);
            come_back("This node stops, please come back", Duration::ZERO)
        }
        Some(address) if request.method() == Method::POST => {
            // What a phone says reaches its node, though the phone has gone when this node is at it.
            let tasks = relay.tasks.clone();
            let passed_on = tasks.spawn(async move { relay.pass_on(&address, &target, from, request).await });
            passed_on.await.unwrap_or_else(|_| unknown_session())
        }
        Some(address) => relay.pass_on(&address, &target, from, request).await,
        None => {
            metrics::relayed(Relayed::Unknown);
            unknown_session()
        }
    }
}

/// Adds the node's tag to the session id in the engine's open packet; from now on requests may name it.
async fn name_the_node(response: Response, tag: &str, naming: Option<&Naming>) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, OPEN_PACKET_LIMIT).await else { return unknown_session() };
    const BEFORE: &[u8] = b"0{\"sid\":\"";
    let mut named = bytes.to_vec();
    let place = BEFORE.len() + EngineId::LENGTH;
    if named.starts_with(BEFORE)
        && named.get(place) == Some(&b'"')
        && let Some(id) = std::str::from_utf8(&named[BEFORE.len()..place]).ok().and_then(EngineId::parse)
    {
        naming.iter().for_each(|naming| naming.name(id));
        named.splice(place..place, format!(".{tag}").into_bytes());
    }
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(named.len()));
    Response::from_parts(parts, Body::from(named))
}
