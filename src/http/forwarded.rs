//! Who a request was forwarded for, as proxies write it: `X-Forwarded-For` in the forms that are met, `Forwarded` by
//! RFC 7239. A proxy puts its own element behind whatever its client wrote, which may be anything: none of that reaches
//! into what comes after it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::HeaderMap;

/// A client as a proxy names it.
pub(super) type Hop = Result<IpAddr, Unread>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It names nobody: `unknown`, `_hidden`, nonsense.
    Unnamed,
    /// With a quote that has no other, as no proxy writes it.
    Misquoted,
}

/// The clients that proxies name, in the order in which they were passed. `Forwarded` is looked at where there is no
/// `X-Forwarded-For`: a proxy that writes the one may let through what a client wrote into the other.
pub(super) fn hops(headers: &HeaderMap) -> Vec<Hop> {
    let values = |name| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let listed: Vec<Hop> = values("x-forwarded-for")
        // It knows no quotes: each comma parts two elements.
        .flat_map(|list| filled(list.split(',')).map(hop).collect::<Vec<_>>())
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    values("forwarded")
        .flat_map(|list| filled(unquoted_split(&list, b',').into_iter()).map(forwarded_for).collect::<Vec<_>>())
        .collect()
}

/// The client in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Hop {
    let quotes = (0..element.len()).filter(|at| is_quote(element, *at)).count();
    if !quotes.is_multiple_of(2) {
        return Err(Unread::Misquoted);
    }
    let value = filled(unquoted_split(element, b';').into_iter()).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    hop(value.ok_or(Unread::Unnamed)?)
}

/// Elements that are none are left out (RFC 9110, 5.6.1).
fn filled<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// The parts between separators outside of quotes. They are found from the end: a quote that a client wrote does not
/// pair with one of the proxy behind it.
fn unquoted_split(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut end, mut quoted) = (Vec::new(), text.len(), false);
    for (at, byte) in text.bytes().enumerate().rev() {
        quoted ^= is_quote(text, at);
        if byte == separator && !quoted {
            parts.push(&text[at + 1..end]);
            end = at;
        }
    }
    parts.push(&text[..end]);
    parts.reverse();
    parts
}

/// Whether a quote stands here that no backslash escapes.
fn is_quote(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let escapes = || bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    bytes[at] == b'"' && escapes().is_multiple_of(2)
}

/// An address with or without quotes around all of it.
fn hop(text: &str) -> Hop {
    let text = text.trim();
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if inside.contains('"') { Err(Unread::Misquoted) } else { address(inside.trim()).ok_or(Unread::Unnamed) }
}

/// An address with or without brackets, port and zone.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let is_port = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
            is_port.then_some(inside)?
        }
        None => text,
    };
    // A zone means something on the proxy's machine only.
    let bare = match bare.split_once('%') {
        Some((address, zone)) => is_name(zone).then_some(address)?,
        None => bare,
    };
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
        Some(hidden) => is_name(hidden),
        None => text.parse::<u16>().is_ok(),
    }
}

/// Of the characters that hidden ports have (RFC 7239, 6.3), as zones do.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
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
            ("\"1.2.3.4", "?"),
            ("1.2.3.4%", "?"),
            ("1.2.3.4%eth0\"", "?"),
            ("fe80::1%", "?"),
            ("fe80::1%a/b", "?"),
            ("1.2.3.4:_", "?"),
            ("1.2.3.4:_a:b", "?"),
            ("\"1.2.3.4:_\"", "?"),
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

    /// An attacker's part, and behind it the proxy's.
    #[test]
    fn what_a_client_wrote_ends_where_its_proxys_element_begins() {
        for (list, named) in [
            ("\"9.9.9.9%, 1.2.3.4", "1.2.3.4"),
            ("\"9.9.9.9:_, \"1.2.3.4\"", "1.2.3.4"),
            ("\"2001:db8::1%,1.2.3.4:80", "1.2.3.4"),
            ("a\"b\", \"9.9.9.9, [2001:db8::2]:80", "2001:db8::2"),
        ] {
            assert_eq!(read("x-forwarded-for", &[list]).last().unwrap(), named, "{list}");
        }
        for (list, named) in [
            ("for=\"9.9.9.9%, for=1.2.3.4", "1.2.3.4"),
            ("for=9.9.9.9;x=\", for=\"[2001:db8::2]:4711\"", "2001:db8::2"),
            ("for=9.9.9.9;x=\\\", for=\"[2001:db8::2]:4711\";proto=https", "2001:db8::2"),
            ("for=9.9.9.9;x=\", host=\"a\\\",for=9.9.9.9;x=\\\"\";for=1.2.3.4", "1.2.3.4"),
            ("for=9.9.9.9;x=\"\\, host=\"a;for=9.9.9.9,\";for=1.2.3.4;proto=http", "1.2.3.4"),
        ] {
            assert_eq!(read("forwarded", &[list]).last().unwrap(), named, "{list}");
        }
    }

    #[test]
    fn what_no_proxy_writes_is_told_from_what_names_nobody() {
        let unread = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(name, value.parse().unwrap());
            hops(&headers).pop().unwrap().unwrap_err()
        };
        for (value, why) in [
            ("unknown", Unread::Unnamed),
            ("\"_x:1\"", Unread::Unnamed),
            ("1.2.3.4:port", Unread::Unnamed),
            ("\"", Unread::Misquoted),
            ("\"1.2.3.4", Unread::Misquoted),
            ("1.2.3.4\"", Unread::Misquoted),
            ("\"1.2.3.4\" \"", Unread::Misquoted),
        ] {
            assert_eq!(unread("x-forwarded-for", value), why, "{value}");
        }
        for (value, why) in [
            ("for=unknown", Unread::Unnamed),
            ("for=\"_x:1\";by=\"a\"", Unread::Unnamed),
            ("proto=https", Unread::Unnamed),
            ("for=1.2.3.4;by=\"", Unread::Misquoted),
            ("for=\"1.2.3.4\"\"\"", Unread::Misquoted),
        ] {
            assert_eq!(unread("forwarded", value), why, "{value}");
        }
    }

    #[test]
    fn one_header_is_believed_not_both() {
        let mut headers = HeaderMap::new();
        headers.append("forwarded", "for=6.6.6.6".parse().unwrap());
        headers.append("x-forwarded-for", "1.1.1.1".parse().unwrap());
        assert_eq!(hops(&headers), [Ok(IpAddr::from([1, 1, 1, 1]))]);
    }
}
