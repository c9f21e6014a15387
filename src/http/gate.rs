//! What stands before Socket.IO: handshakes of the node, as it keeps up with them, and of an address, sessions of the node. A
//! refusal is a 503 with a hint, never a CONNECT_ERROR: the client comes back by itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::middleware::NoOpMiddleware;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_governor::GovernorLayer;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};

use super::admission::Admission;
use super::handshake::parameter;
use super::per_address::PerAddress;
use super::{ClientAddress, Peer, Relay, come_back, error};
use crate::signaling::Signaling;
use crate::socket::{Transport, Transports};
use crate::telemetry::metrics::{self, Handshake, Limit};

/// A full node is not full a second later.
const WHEN_FULL: Duration = Duration::from_secs(5);
const WHEN_BUSY: Duration = Duration::from_secs(1);
/// Another node takes the client at once, if its load balancer asks one.
const WHEN_DRAINING: Duration = Duration::ZERO;

/// Bounds of new sockets; 0 means none.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// However well the node keeps up.
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
    admission: Option<Admission>,
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
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let admission = Some(bounds.handshakes_per_second).filter(|limit| *limit > 0).map(|limit| {
            let clock = signaling.clock().clone();
            Admission::new(limit, bounds.sessions, clock, Arc::clone(&transports), tasks.clone(), stop.clone())
        });
        Self {
            signaling,
            transports,
            relay,
            addresses,
            admission,
            address: PerAddress::new(bounds.handshakes_per_address),
            sessions: bounds.sessions,
            closed: AtomicBool::new(false),
        }
    }

    /// No new socket from now on: the node lets its phones go.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(admission) = &self.admission {
            admission.close();
        }
    }

    /// Forgets addresses whose allowance is whole again.
    pub fn clean(&self) {
        self.address.clean();
        if let Some(admission) = &self.admission {
            admission.fairness().clean(self.signaling.clock().elapsed());
        }
    }

    /// Returns when a handshake of this client may go on; why not, and when it may be tried again, where it may not.
    async fn let_in(&self, client: IpAddr) -> Result<(), (Limit, Duration)> {
        self.refuses_all()?;
        let Some(admission) = &self.admission else { return self.address_refuses(client) };
        let weight = admission.fairness().ask(client, self.signaling.clock().elapsed());
        self.address_refuses(client)?;
        let is_let_in = admission.let_in(weight).await;
        self.refuses_all()?;
        if is_let_in { Ok(()) } else { Err((Limit::Handshakes, WHEN_BUSY)) }
    }

    fn refuses_all(&self) -> Result<(), (Limit, Duration)> {
        if self.closed.load(Ordering::Relaxed) {
            return Err((Limit::Draining, WHEN_DRAINING));
        }
        // A relay costs a node two connections. One of a stranger fills no node: it has its own bound, and ends.
        let load = self.transports.open() + 2 * self.relay.settled_websockets();
        if self.sessions > 0 && load >= self.sessions {
            return Err((Limit::Sessions, WHEN_FULL));
        }
        Ok(())
    }

    fn address_refuses(&self, client: IpAddr) -> Result<(), (Limit, Duration)> {
        self.address.refuses(client).map_or(Ok(()), |wait| Err((Limit::Address, wait)))
    }

    fn begin(&self, client: IpAddr) -> Transport {
        let fairness = self.admission.as_ref();
        let fairness = fairness.map(|admission| (Arc::clone(admission.fairness()), self.signaling.clock().clone()));
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
    if let Err((limit, wait)) = gate.let_in(client).await {
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
