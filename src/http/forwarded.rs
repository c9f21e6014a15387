//! Who a request was forwarded for, as proxies write it: `X-Forwarded-For` in the forms that are met, `Forwarded` by
//! RFC 7239.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::HeaderMap;

/// A client as a proxy names it; absent where that names nobody: `unknown`, `_hidden`, nonsense.
pub(super) type Hop = Option<IpAddr>;

/// The clients that proxies name, in the order in which they were passed. `Forwarded` is looked at where there is no
/// `X-Forwarded-For`: a proxy that writes the one may let through what a client wrote into the other.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let elements = |name| {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        values.iter().flat_map(|list| unquoted_split(list, ',')).map(str::to_owned).collect::<Vec<_>>()
    };
    let listed = elements("x-forwarded-for");
    if !listed.is_empty() {
        return listed.iter().map(|hop| address(hop)).collect();
    }
    elements("forwarded").iter().map(|element| address(forwarded_for(element)?)).collect()
}

/// The value of `for` in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    unquoted_split(element, ';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    })
}

/// The parts between separators outside of quotes; empty ones are none (RFC 9110, 5.6.1).
fn unquoted_split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

/// An address with or without quotes, brackets, port and zone.
fn address(text: &str) -> Hop {
    let text = text.trim().trim_matches('"').trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let is_port = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
            is_port.then_some(inside)?
        }
        None => text,
    };
    // A zone means something on the proxy's machine only.
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    if let Ok(v6) = bare.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(v6).to_canonical());
    }
    let bare = match bare.split_once(':') {
        Some((v4, port)) => is_port(port).then_some(v4)?,
        None => bare,
    };
    bare.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// Digits, or what hides them (RFC 7239, 6.2).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => !hidden.is_empty(),
        None => text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, values: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        hops(&headers).into_iter().map(|hop| hop.map_or("?".into(), |address| address.to_string())).collect()
    }

    #[test]
    fn every_form_of_an_address() {
        for (text, address) in [
            ("1.2.3.4", "1.2.3.4"),
            (" 1.2.3.4:5678 ", "1.2.3.4"),
            ("\"1.2.3.4\"", "1.2.3.4"),
            ("\"1.2.3.4:5678\"", "1.2.3.4"),
            ("1.2.3.4:_gazonk", "1.2.3.4"),
            ("[1.2.3.4]:80", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:DB8::1]:443\"", "2001:db8::1"),
            ("\" [::1] \"", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25en0]:1", "fe80::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:5", "1.2.3.4"),
            ("unknown", "?"),
            ("_hidden", "?"),
            ("\"_SEVKISEK:1\"", "?"),
            ("1.2.3", "?"),
            ("1.2.3.4.5", "?"),
            ("1.2.3.4:", "?"),
            ("1.2.3.4:99999", "?"),
            ("[2001:db8::1", "?"),
            ("[2001:db8::1]443", "?"),
            ("[]", "?"),
            ("host.example", "?"),
            ("\u{e9}", "?"),
            ("\"", "?"),
        ] {
            assert_eq!(read("x-forwarded-for", &[text]), [address], "{text}");
            if !text.trim().contains(' ') {
                assert_eq!(read("forwarded", &[&format!("For={text}")]), [address], "{text}");
            }
        }
    }

    #[test]
    fn lists_in_one_header_or_several() {
        assert_eq!(
            read("x-forwarded-for", &["1.1.1.1,2.2.2.2:1", "", " , \"[::3]:1\" ,"]),
            ["1.1.1.1", "2.2.2.2", "::3"]
        );
        let standard =
            ["for=192.0.2.43, FOR=\"[2001:db8:cafe::17]:4711\";by=203.0.113.60", "proto=https;for=9.9.9.9:1"];
        assert_eq!(read("forwarded", &standard), ["192.0.2.43", "2001:db8:cafe::17", "9.9.9.9"]);
        assert_eq!(read("forwarded", &["proto=https", "by=\"a,b;for=1.1.1.1\""]), ["?", "?"], "an element names a hop");
        assert!(read("x-real-ip", &["1.1.1.1"]).is_empty());
    }

    #[test]
    fn one_header_is_believed_not_both() {
        let mut headers = HeaderMap::new();
        headers.append("forwarded", "for=6.6.6.6".parse().unwrap());
        headers.append("x-forwarded-for", "1.1.1.1".parse().unwrap());
        assert_eq!(hops(&headers), [Some(IpAddr::from([1, 1, 1, 1]))]);
    }
}
