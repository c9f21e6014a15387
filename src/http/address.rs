use std::net::{IpAddr, Ipv6Addr};

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use ipnet::IpNet;
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

use super::Peer;

/// Finds the address of a client behind proxies that are trusted; what others claim is not believed.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Vec<IpNet>,
}

impl ClientAddress {
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted }
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
        let lists = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = lists.flat_map(|list| list.split(',')).collect();
        for hop in hops.iter().rev() {
            if !self.trusted.iter().any(|network| network.contains(&address)) {
                break;
            }
            let Ok(before) = hop.trim().parse::<IpAddr>() else { break };
            address = before.to_canonical();
        }
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        }
    }
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
        assert_eq!(of("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(of("2001:db8::1:2:3:4", &[]), "2001:db8::", "one household, one key");
        assert_eq!(of("::ffff:10.0.0.1", &["9.9.9.9"]), "9.9.9.9");
    }
}
