use std::net::{IpAddr, Ipv6Addr};

/// `NODE_ADDRESS` as an address that can be asked: an IPv6 address gets its brackets. What nobody can reach is an error.
pub(super) fn node_address(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("NODE_ADDRESS {why}: set what other nodes reach, as http://10.1.2.3:3001");
    let place = text.strip_prefix("http://").ok_or_else(|| wrong("must begin with http://"))?.trim_end_matches('/');
    if place.is_empty() || place.contains(['/', '?', '#', '@', ' ', '%']) {
        return Err(wrong("must be a host and a port"));
    }
    let place = match place.rsplit_once(':') {
        Some((address, port)) if is_v6(address) && port.parse::<u16>().is_ok() => format!("[{address}]:{port}"),
        _ if is_v6(place) => format!("[{place}]"),
        _ => place.to_owned(),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place.as_str(), None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if host.is_empty() || bare.is_some_and(|bare| !is_v6(bare)) || (bare.is_none() && host.contains([':', '[', ']'])) {
        return Err(wrong("names no host"));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err()) {
        return Err(wrong("has no port"));
    }
    if bare.unwrap_or(host).parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_unspecified()) {
        return Err(wrong("is the address of no machine"));
    }
    Ok(format!("http://{place}"))
}

fn is_v6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_can_be_reached() {
        for (given, address) in [
            ("http://10.1.2.3:3001", "http://10.1.2.3:3001"),
            ("http://10.1.2.3:3001/", "http://10.1.2.3:3001"),
            ("http://node-a.internal:3001", "http://node-a.internal:3001"),
            ("http://n", "http://n"),
            ("http://[2001:db8::1]:3001", "http://[2001:db8::1]:3001"),
            ("http://2001:db8::1:3001", "http://[2001:db8::1]:3001"),
            ("http://2001:db8:1:2:3:4:5:6:3001", "http://[2001:db8:1:2:3:4:5:6]:3001"),
            ("http://2001:db8:1:2:3:4:5:6", "http://[2001:db8:1:2:3:4:5:6]"),
            ("http://[::1]:3001", "http://[::1]:3001"),
        ] {
            assert_eq!(node_address(given).as_deref(), Ok(address));
        }
    }

    #[test]
    fn what_nobody_reaches_is_an_error_that_says_what_to_set() {
        for given in [
            "10.1.2.3:3001",
            "https://10.1.2.3:3001",
            "http://",
            "http://:3001",
            "http://0.0.0.0:3001",
            "http://[::]:3001",
            "http://:::3001",
            "http://n:port",
            "http://n:0",
            "http://n:99999",
            "http://[n]:1",
            "http://[::1:3001",
            "http://a:b:c",
            "http://n:1/path",
            "http://user@n:1",
        ] {
            let error = node_address(given).expect_err(given);
            assert!(error.contains("NODE_ADDRESS") && error.contains("http://10.1.2.3:3001"), "{error}");
        }
    }
}
