use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use ipnet::IpNet;
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

use super::Peer;
use super::forwarded::{Unread, hops as hops_of};
use crate::telemetry::metrics;

/// `100::/64`, which nobody has (RFC 6666).
const NOBODY: u128 = 0x0100 << 112;

/// Finds the address of a client behind proxies that are trusted; what others claim is not believed.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Vec<IpNet>,
    warned: Arc<AtomicBool>,
}

impl ClientAddress {
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted, warned: Arc::default() }
    }

    /// Whether this peer is a trusted proxy.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let address = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The address of a connection of which nothing was read yet.
    pub(super) fn without_headers(&self, peer: IpAddr) -> IpAddr {
        self.of(peer, &HeaderMap::new())
    }

    /// The last address that no trusted proxy vouches for; IPv6 by its /64.
    pub fn of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        let mut hops = None;
        while self.trusted.iter().any(|network| network.contains(&address)) {
            match hops.get_or_insert_with(|| hops_of(headers)).pop() {
                Some(Ok(before)) => address = before,
                Some(Err(Unread::Unnamed)) => return self.nobody(),
                // What no proxy writes is its client's own, who gets no limits of his own by it.
                Some(Err(Unread::Misquoted)) | None => break,
            }
        }
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        }
    }

    /// An address of its own for a request whose proxy does not say who it is from: one that stood for all of them, such
    /// as the proxy's, would let them use up each other's shares. The bounds of the node hold all the same.
    fn nobody(&self) -> IpAddr {
        metrics::client_unnamed();
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a proxy of TRUSTED_PROXIES names a client in a form that is not understood: limits per address do not \
                 hold for such clients, let it send X-Forwarded-For with addresses"
            );
        }
        IpAddr::V6(Ipv6Addr::from_bits(NOBODY | u128::from(rand::random::<u64>())))
    }
}

/// Whether an address is one of those that a request has whose proxy does not say who it is from.
pub(super) fn is_nobody(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_bits() & !u128::from(u64::MAX) == NOBODY)
}

impl KeyExtractor for ClientAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &axum::http::Request<T>) -> Result<IpAddr, GovernorError> {
        let peer = request.extensions().get::<ConnectInfo<Peer>>().ok_or(GovernorError::UnableToExtractKey)?;
        Ok(self.of(peer.0.address.ip(), request.headers()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(forwarded: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let addresses = ClientAddress::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let of = |peer: &str, forwarded: &[&str]| addresses.of(peer.parse().unwrap(), &headers(forwarded)).to_string();
        assert_eq!(of("1.2.3.4", &["9.9.9.9"]), "1.2.3.4", "a stranger claims what he likes");
        assert_eq!(of("10.0.0.1", &["6.6.6.6, 9.9.9.9"]), "9.9.9.9", "what the client itself wrote is not believed");
        assert_eq!(of("10.0.0.1", &["9.9.9.9, 10.1.1.1"]), "9.9.9.9", "two proxies");
        assert_eq!(of("10.0.0.1", &["9.9.9.9", "10.1.1.1"]), "9.9.9.9", "in two headers");
        assert_eq!(of("2001:db8::1:2:3:4", &[]), "2001:db8::", "one household, one key");
        assert_eq!(of("::ffff:10.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        for forged in ["\"", "\"9.9.9.9%", "\"9.9.9.9:_", "\"2001:db8::1%", "\"9.9.9.9", "\\\"", "\"a, b"] {
            assert_eq!(of("10.0.0.1", &[&format!("{forged}, 1.2.3.4")]), "1.2.3.4", "{forged}");
            assert_eq!(of("10.0.0.1", &[&format!("{forged}, 1.2.3.4, 10.1.1.1")]), "1.2.3.4", "{forged}: two proxies");
            assert_eq!(of("10.0.0.1", &[forged, "1.2.3.4"]), "1.2.3.4", "{forged}: in two headers");
            assert_eq!(of("10.0.0.1", &[forged, &format!("{forged}, 1.2.3.4")]), "1.2.3.4", "{forged}: in both");
        }
    }

    /// A proxy that hands on what its client wrote and adds nothing: all that its clients get is its own limits.
    #[test]
    fn no_proxy_writes_half_a_quote() {
        let addresses = ClientAddress::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for broken in ["\"", "\"9.9.9.9", "9.9.9.9, \"9.9.9.9%"] {
            assert_eq!(addresses.of("10.0.0.1".parse().unwrap(), &headers(&[broken])).to_string(), "10.0.0.1");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever text a client sends, alone or in front of what its proxy adds, it is who its proxy says.
        #[test]
        fn a_client_has_the_address_that_its_proxy_wrote(
            line in r#"(["\\,;=%:_. \[\]0-9a-f]|for=|9\.9\.9\.9|\PC){0,40}"#,
            before in r#"(["\\,;=]|for=9\.9\.9\.9|\PC){0,40}"#,
        ) {
            let addresses = ClientAddress::new(vec!["10.0.0.0/8".parse().unwrap()]);
            for (name, added, address) in [
                ("x-forwarded-for", "1.2.3.4", "1.2.3.4"),
                ("x-forwarded-for", "1.2.3.4, 10.1.1.1:80", "1.2.3.4"),
                ("forwarded", "for=1.2.3.4", "1.2.3.4"),
                ("forwarded", "for=\"[2001:db8::1]:4711\";proto=https,for=10.1.1.1", "2001:db8::"),
            ] {
                let joined = format!("{line}, {added}");
                let (before, line, joined) = (before.as_str(), line.as_str(), joined.as_str());
                for lines in [vec![joined], vec![before, joined], vec![before, line, added]] {
                    let mut headers = HeaderMap::new();
                    for line in &lines {
                        headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
                    }
                    let found = addresses.of("10.0.0.1".parse().unwrap(), &headers).to_string();
                    prop_assert_eq!(&found, address, "{} {:?}", name, lines);
                }
            }
        }
    }

    #[test]
    fn who_is_not_named_is_nobody_else() {
        let addresses = ClientAddress::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let of = |peer: &str, forwarded: &[&str]| addresses.of(peer.parse().unwrap(), &headers(forwarded));
        let discarded: IpNet = "100::/64".parse().unwrap();
        for form in ["unknown", "_x", "nonsense", "1.2.3.4:port", "9.9.9.9, unknown", "unknown, 10.1.1.1"] {
            let (one, other) = (of("10.0.0.1", &[form]), of("10.0.0.1", &[form]));
            assert!(one != other && discarded.contains(&one) && discarded.contains(&other), "{form}: {one}, {other}");
            assert_eq!(of("1.2.3.4", &[form]).to_string(), "1.2.3.4", "{form}: a stranger does not choose");
        }
        assert_eq!(of("10.0.0.1", &["unknown, 9.9.9.9"]).to_string(), "9.9.9.9", "what nobody vouches for is not read");
        assert_eq!(of("10.0.0.1", &["9.9.9.9:1234, [fd00::1]:80"]).to_string(), "9.9.9.9");
        assert_eq!(of("fd00::1", &["\"[2001:db8::1:2:3:4]:443\""]).to_string(), "2001:db8::");
        assert_eq!(of("10.0.0.1", &[]).to_string(), "10.0.0.1", "a client of our own network");
        assert_eq!(of("10.0.0.1", &["9.9.9.9", ""]).to_string(), "9.9.9.9");
    }
}
