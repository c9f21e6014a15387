//! A proxy before this node that `TRUSTED_PROXIES` does not name: all phones behind it are one address, which nothing
//! would say until a limit of that address refuses them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use parking_lot::Mutex;

use super::access::{is_private, refuse_forwarded};
use super::{ClientAddress, Peer};
use crate::clock::Clock;
use crate::config::Auth;
use crate::telemetry::metrics;

/// It is said this often.
const PAUSE: Duration = Duration::from_secs(600);

/// Puts before a router what looks at forwarded requests.
pub fn watch_forwarded(router: Router, auth: &Auth, addresses: ClientAddress, clock: &Clock) -> Router {
    match auth {
        Auth::LocalDevelopment => router.layer(from_fn(refuse_forwarded)),
        // There no proxy can be named.
        Auth::Dev => router,
        Auth::Insecure | Auth::Laravel { .. } => {
            let unlisted = Arc::new(Unlisted::new(addresses, clock.clone()));
            router.layer(from_fn_with_state(unlisted, notice_unlisted))
        }
    }
}

/// Notices requests that were forwarded by who is not trusted to say for whom.
struct Unlisted {
    addresses: ClientAddress,
    clock: Clock,
    said: Mutex<Option<Duration>>,
}

impl Unlisted {
    fn new(addresses: ClientAddress, clock: Clock) -> Self {
        Self { addresses, clock, said: Mutex::default() }
    }

    fn forwards(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let is_forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED);
        is_forwarded && !self.addresses.trusts(peer)
    }

    /// Whether it is to be said now. A peer from elsewhere is a phone that writes what it likes.
    fn is_news(&self, peer: IpAddr) -> bool {
        if !is_private(peer) {
            return false;
        }
        let now = self.clock.uptime();
        let mut said = self.said.lock();
        let is_due = said.is_none_or(|said| now.saturating_sub(said) >= PAUSE);
        if is_due {
            *said = Some(now);
        }
        is_due
    }
}

async fn notice_unlisted(
    State(unlisted): State<Arc<Unlisted>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let address = peer.address.ip();
    let forwards = unlisted.forwards(address, request.headers());
    let response = next.run(request).await;
    // By now it is known whether another node passed it on, which has noticed it itself.
    if forwards && !peer.place.is_a_nodes() {
        metrics::forwarder_unlisted();
        if unlisted.is_news(address) {
            let client = unlisted.addresses.without_headers(address);
            tracing::warn!(
                %client,
                "requests are forwarded by an address that TRUSTED_PROXIES does not name: all phones behind it share \
                 the limits of one address; if it is a proxy of yours, name it there"
            );
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Timestamp;

    #[test]
    fn a_proxy_that_was_forgotten_is_said_now_and_then() {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let addresses = ClientAddress::new(vec!["10.0.0.1".parse::<IpAddr>().unwrap().into()]);
        let unlisted = Unlisted::new(addresses, clock.clone());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (name, peer, forwards) in [
            ("x-forwarded-for", "10.0.0.2", true),
            ("forwarded", "::ffff:10.0.0.2", true),
            ("x-forwarded-for", "203.0.113.7", true),
            ("x-forwarded-for", "10.0.0.1", false),
            ("x-forwarded-for", "::ffff:10.0.0.1", false),
            ("accept", "10.0.0.2", false),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), "192.0.2.1".parse().unwrap())]);
            assert_eq!(unlisted.forwards(ip(peer), &headers), forwards, "{name} of {peer}");
        }
        assert!(!unlisted.is_news(ip("203.0.113.7")), "a phone may write it");
        assert!(unlisted.is_news(ip("10.0.0.2")) && !unlisted.is_news(ip("fd00::1")));
        clock.advance(PAUSE);
        assert!(unlisted.is_news(ip("fd00::1")) && !unlisted.is_news(ip("127.0.0.1")));
    }
}
