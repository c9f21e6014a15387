//! Who may ask: the shared secret, private peers, the local development mode.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

use super::{Api, ClientAddress, Peer, error};
use crate::clock::Clock;
use crate::config::{OpenQueries, Secret};
use crate::telemetry::metrics;

pub(super) const SECRET_HEADER: &str = "x-internal-secret";
/// Refused secrets are logged this often.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Which requests are let in.
pub struct Access {
    /// None: the guarded routes are off.
    pub secrets: Vec<Secret>,
    pub open_queries: OpenQueries,
    /// Local development: the guarded routes are open.
    pub open: bool,
    pub refused: RefusedSecrets,
}

/// Complains in the log, of each mistake once a minute: the likeliest ones of the first day.
pub struct RefusedSecrets {
    clock: Clock,
    addresses: ClientAddress,
    last: Mutex<HashMap<&'static str, Duration>>,
}

impl RefusedSecrets {
    pub fn new(clock: Clock, addresses: ClientAddress) -> Self {
        Self { clock, addresses, last: Mutex::default() }
    }

    fn complain(&self, hint: &'static str, peer: &Peer, headers: &HeaderMap) {
        metrics::secret_refused();
        let now = self.clock.elapsed();
        let mut last = self.last.lock();
        if last.get(hint).is_none_or(|last| now.saturating_sub(*last) >= COMPLAINT_PAUSE) {
            last.insert(hint, now);
            let client = self.addresses.of(peer.address.ip(), headers);
            tracing::warn!(%client, "a request to /api/ was refused: {hint}");
        }
    }
}

impl Access {
    fn has_secret(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(SECRET_HEADER) else { return false };
        // Every secret is compared, in constant time.
        let matches = self.secrets.iter().map(|secret| secret.expose().as_bytes().ct_eq(given.as_bytes()));
        bool::from(matches.fold(subtle::Choice::from(0), |any, one| any | one))
    }
}

pub(super) async fn require_secret(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let access = &api.access;
    if access.open || access.has_secret(request.headers()) {
        return next.run(request).await;
    }
    let hint = match access.secrets.is_empty() {
        true => "LARAVEL_API_SECRET is not set, the /api/ routes are off",
        false => "Laravel's WEBSOCKET_SECRET differs from LARAVEL_API_SECRET",
    };
    access.refused.complain(hint, &peer, request.headers());
    unauthorized()
}

pub(super) async fn require_secret_or_open(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let access = &api.access;
    let open = match access.open_queries {
        OpenQueries::Always => true,
        OpenQueries::Never => false,
        OpenQueries::Private => is_private(peer.address.ip()) && !is_forwarded(request.headers()),
    };
    // Without any secret the routes are off, however private the peer is.
    let open = open && !access.secrets.is_empty();
    if access.open || open || access.has_secret(request.headers()) {
        return next.run(request).await;
    }
    let hint = "a query came without the secret; OPEN_QUERIES decides who may ask without one";
    access.refused.complain(hint, &peer, request.headers());
    unauthorized()
}

/// In local development mode no proxy may stand before the node: it would open it to the world.
pub(super) async fn refuse_forwarded(request: Request, next: Next) -> Response {
    if is_forwarded(request.headers()) {
        return error(
            StatusCode::FORBIDDEN,
            "Local development mode does not serve forwarded requests, set LARAVEL_API_URL",
            "forbidden",
        );
    }
    next.run(request).await
}

fn unauthorized() -> Response {
    error(StatusCode::UNAUTHORIZED, "Unauthorized", "unauthorized")
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    // Some load balancers name no client, but leave marks of their own.
    const MARKS: [&str; 7] =
        ["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "x-amzn-trace-id", "x-cloud-trace-context"];
    const FAMILIES: [&str; 5] = ["x-forwarded-", "cf-", "x-envoy-", "x-azure-", "fly-"];
    let is_mark = |name: &str| MARKS.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family));
    headers.keys().any(|name| is_mark(name.as_str()))
}

pub(super) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}
