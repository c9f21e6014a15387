//! The nodes that are loaded, and whether they may be.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};

/// Resolves `--nodes`; refuses what is neither loopback nor private unless the nodes are `own`.
pub fn resolve(nodes: &[String], own: bool) -> anyhow::Result<Vec<SocketAddr>> {
    nodes.iter().map(|node| address(node, own)).collect()
}

fn address(node: &str, own: bool) -> anyhow::Result<SocketAddr> {
    let (scheme, rest) = node.split_once("://").unwrap_or(("http", node));
    if !matches!(scheme, "http" | "ws") {
        bail!("{node}: only http:// and ws:// are spoken, point it at a node behind its TLS proxy");
    }
    let host = rest.split('/').next().unwrap_or_default();
    let found: Vec<SocketAddr> =
        host.to_socket_addrs().with_context(|| format!("{node}: not an address like http://127.0.0.1:3001"))?.collect();
    let first = *found.first().with_context(|| format!("{node}: has no address"))?;
    match found.iter().find(|found| !is_near(found.ip())) {
        Some(public) if !own => {
            bail!("{node}: {} is no loopback or private address; --i-own-these-nodes if they are yours", public.ip())
        }
        _ => Ok(first),
    }
}

fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_near(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(node: &str) -> bool {
        address(node, false).is_ok()
    }

    #[test]
    fn loopback_and_private_addresses_only() {
        for node in ["127.0.0.1:3001", "http://10.1.2.3:80", "ws://192.168.0.9:1/", "http://[::1]:3001", "[fd00::1]:1"]
        {
            assert!(allowed(node), "{node}");
        }
        for node in ["8.8.8.8:80", "http://172.32.0.1:80", "[2001:db8::1]:80", "[::ffff:8.8.8.8]:80"] {
            assert!(!allowed(node), "{node}");
        }
        assert!(address("8.8.8.8:80", true).is_ok());
    }

    #[test]
    fn what_is_no_address_is_told() {
        for node in ["https://10.0.0.1:443", "10.0.0.1", "http://", ""] {
            assert!(address(node, true).is_err(), "{node}");
        }
    }
}
