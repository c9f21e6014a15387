//! Where other nodes reach this one.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use hyper::Uri;

use super::AppError;
use crate::config::Config;

/// An address outside of this machine that a packet would leave to; none is sent (RFC 5737, RFC 3849).
const OUTSIDE: [(&str, &str); 2] = [("[::]:0", "[2001:db8::1]:9"), ("0.0.0.0:0", "192.0.2.1:9")];

/// What this node registers for others: what was configured, or the address by which it would leave the machine.
pub(super) fn own_address(config: &Config, bound: SocketAddr) -> Result<String, AppError> {
    let shared = config.redis_url.is_some();
    let address = match &config.node_address {
        Some(address) => address.clone(),
        None => {
            let leaving = reachable(bound.ip(), leaving).or((!shared).then_some(loopback(bound.ip())));
            let ip = leaving.ok_or(AppError::Unreachable { host: config.host })?;
            format!("http://{}", SocketAddr::new(ip, bound.port()))
        }
    };
    if shared && is_loopback(&address) {
        tracing::warn!(
            "other nodes reach this one at {address}, so only on the same machine: else set NODE_ADDRESS, or HOST to an \
             address of the network"
        );
    }
    Ok(address)
}

/// The bound address, or, where that is any of the machine's, one of those that others can use.
fn reachable(bound: IpAddr, leaving: impl Fn(&str, &str) -> Option<IpAddr>) -> Option<IpAddr> {
    if !bound.is_unspecified() {
        return Some(bound);
    }
    let ways = OUTSIDE.iter().filter(|(from, _)| bound.is_ipv6() || !from.starts_with('['));
    ways.filter_map(|(from, to)| leaving(from, to)).find(|ip| others_can_use(*ip))
}

fn leaving(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

/// Not an address that means something on this machine or on one cable only.
fn others_can_use(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !ip.is_unspecified() && !ip.is_loopback() && !is_link_local
}

fn loopback(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

fn is_loopback(address: &str) -> bool {
    let uri = address.parse::<Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Where a node says whether it is ready: at its address, on the admin port.
pub(super) fn probe_of(address: &str, admin_port: u16) -> String {
    let uri = address.parse::<Uri>().unwrap_or_default();
    format!("http://{}:{admin_port}/ready", uri.host().unwrap_or("127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_use_is_found_or_none() {
        let of = |bound: &str, v6: Option<&str>, v4: Option<&str>| {
            let machine =
                |from: &str, _: &str| if from.starts_with('[') { v6 } else { v4 }.map(|ip| ip.parse().unwrap());
            reachable(bound.parse().unwrap(), machine).map(|ip| ip.to_string())
        };
        let some = |ip: &str| Some(ip.to_owned());
        assert_eq!(of("0.0.0.0", Some("2001:db8::7"), Some("10.0.0.7")), some("10.0.0.7"));
        assert_eq!(of("::", Some("2001:db8::7"), Some("10.0.0.7")), some("2001:db8::7"), "dual stack");
        assert_eq!(of("::", Some("2001:db8::7"), None), some("2001:db8::7"), "IPv6 only");
        assert_eq!(of("::", None, Some("10.0.0.7")), some("10.0.0.7"));
        assert_eq!(of("::", Some("fe80::7"), Some("169.254.1.1")), None);
        assert_eq!(of("0.0.0.0", Some("2001:db8::7"), None), None, "it does not listen there");
        assert_eq!(of("127.0.0.1", None, None), some("127.0.0.1"));
    }

    #[test]
    fn loopback_in_every_spelling() {
        for address in ["http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1", "http://localhost:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["http://10.0.0.1:1", "http://[2001:db8::1]:1", "http://node:1"] {
            assert!(!is_loopback(address), "{address}");
        }
        assert_eq!(probe_of("http://[2001:db8::1]:3001", 9001), "http://[2001:db8::1]:9001/ready");
    }
}
