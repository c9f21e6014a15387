//! What stands before Socket.IO: handshakes per second of the node, shared fairly, and of an address, sessions of the node. A refusal
//! is a 503 with a hint, never a CONNECT_ERROR: the client comes back by itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::middleware::NoOpMiddleware;
use tower_governor::GovernorLayer;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};

use super::handshake::parameter;
use super::per_address::PerAddress;
use super::{ClientAddress, Peer, Relay, come_back, error};
use crate::fairness::Fairness;
use crate::signaling::Signaling;
use crate::socket::{Transport, Transports};
use crate::telemetry::metrics::{self, Handshake, Limit};

/// A full node is not full a second later.
const WHEN_FULL: Duration = Duration::from_secs(5);
/// Another node takes the client at once, if its load balancer asks one.
const WHEN_DRAINING: Duration = Duration::ZERO;

/// Bounds of new sockets; 0 means none.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub handshakes_per_second: u32,
    /// Generous: carrier NAT puts thousands of phones behind one address.
    pub handshakes_per_address: u32,
    pub sessions: usize,
}

pub struct Gate {
    signaling: Arc<Signaling>,
    transports: Arc<Transports>,
    relay: Arc<Relay>,
    addresses: ClientAddress,
    /// What the node takes a second, and who gets it.
    fairness: Option<Arc<Fairness>>,
    address: PerAddress,
    sessions: usize,
    closed: AtomicBool,
}

impl Gate {
    pub fn new(
        signaling: Arc<Signaling>,
        transports: Arc<Transports>,
        relay: Arc<Relay>,
        addresses: ClientAddress,
        bounds: Bounds,
    ) -> Self {
        Self {
            signaling,
            transports,
            relay,
            addresses,
            fairness: Some(bounds.handshakes_per_second).filter(|limit| *limit > 0).map(Fairness::new).map(Arc::new),
            address: PerAddress::new(bounds.handshakes_per_address),
            sessions: bounds.sessions,
            closed: AtomicBool::new(false),
        }
    }

    /// No new socket from now on: the node lets its phones go.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Forgets addresses whose allowance is whole again.
    pub fn clean(&self) {
        self.address.clean();
        if let Some(fairness) = &self.fairness {
            fairness.clean(self.signaling.clock().elapsed());
        }
    }

    fn refuses(&self, client: IpAddr) -> Option<(Limit, Duration)> {
        if self.closed.load(Ordering::Relaxed) {
            return Some((Limit::Draining, WHEN_DRAINING));
        }
        // A relay costs a node two connections.
        let load = self.transports.open() + 2 * self.relay.websockets();
        if self.sessions > 0 && load >= self.sessions {
            return Some((Limit::Sessions, WHEN_FULL));
        }
        let now = self.signaling.clock().elapsed();
        if let Some(wait) = self.address.refuses(client) {
            if let Some(fairness) = &self.fairness {
                fairness.note(client, 1, now);
            }
            return Some((Limit::Address, wait));
        }
        let wait = self.fairness.as_ref()?.take(client, now).err()?;
        Some((Limit::Handshakes, wait))
    }

    fn begin(&self, client: IpAddr) -> Transport {
        let fairness = self.fairness.as_ref().map(|fairness| (Arc::clone(fairness), self.signaling.clock().clone()));
        self.transports.begin(client, fairness)
    }
}

/// Lets a request through unless it opens a new socket beyond the bounds.
pub async fn guard(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    if !opens_a_socket(&request) {
        return next.run(request).await;
    }
    let client = gate.addresses.of(peer.address.ip(), request.headers());
    if let Some((limit, wait)) = gate.refuses(client) {
        metrics::limited(limit);
        metrics::handshake(Handshake::Limited);
        return come_back("Too many connections, please come back", wait);
    }
    request.extensions_mut().insert(gate.begin(client));
    next.run(request).await
}

fn opens_a_socket(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.uri().path().starts_with("/socket.io") && parameter(query, "sid").is_none()
}

/// Limits of HTTP requests by client address.
pub type ApiLimit = GovernorConfig<ClientAddress, NoOpMiddleware>;

/// `per_second` 0: no limit.
pub fn api_limit(addresses: ClientAddress, per_second: u32) -> Option<ApiLimit> {
    let period = Duration::from_secs(1).checked_div(per_second)?;
    GovernorConfigBuilder::default().period(period).burst_size(per_second).key_extractor(addresses).finish()
}

/// The layer of an [`ApiLimit`]; a refusal has the shape of every error.
pub fn api_layer(limit: &Arc<ApiLimit>) -> GovernorLayer<ClientAddress, NoOpMiddleware, axum::body::Body> {
    GovernorLayer::new(Arc::clone(limit)).error_handler(|_| {
        metrics::limited(Limit::Api);
        let mut response = error(StatusCode::TOO_MANY_REQUESTS, "Too many requests", "rate_limited");
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
        response
    })
}
