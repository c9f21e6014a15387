//! Addresses as they are configured: what can't be reached, or would match nobody, is an error and says what to write.
//! No error shows the value, which may hold a password.

use hyper::Uri;
use hyper::http::uri::Scheme;

use super::reader::items;

/// `ALLOWED_ORIGINS` as browsers spell them; none: any.
pub(super) fn origins(list: &str) -> Result<Vec<String>, Vec<String>> {
    let given: Vec<&str> = items(list).collect();
    if given.iter().all(|origin| *origin == "*") {
        return Ok(Vec::new());
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for item in given {
        match origin(item) {
            Ok(origin) => found.push(origin),
            Err(why) => errors.push(format!("ALLOWED_ORIGINS: {item:?} {why}")),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Scheme, host and port, as in the header that a browser sends: no slash, small letters, no port where it is the usual.
fn origin(text: &str) -> Result<String, &'static str> {
    // What pages in a sandbox and from files send.
    if text == "null" {
        return Ok(text.into());
    }
    if text.contains('*') {
        return Err("is no origin: list each one, or * alone for any");
    }
    let (scheme, rest) = text.split_once("://").ok_or("has no scheme: write it as https://app.example.com")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("has a path, and an origin has none: write it as https://app.example.com");
    }
    if authority.contains('@') {
        return Err("has a user, and an origin has none");
    }
    let uri: Uri = format!("{scheme}://{authority}").parse().map_err(|_| "is no origin")?;
    let host = named_host(&uri).ok_or("names no host, or no port")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let port = uri.port_u16().filter(|port| Some(*port) != usual);
    Ok(format!("{scheme}://{host}{}", port.map(|port| format!(":{port}")).unwrap_or_default()))
}

/// `LARAVEL_API_URL` without the part of it that is the same everywhere.
pub(super) fn laravel(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("LARAVEL_API_URL {why}: write it as https://api.example.com");
    // Curl and browsers would take spaces, the parser of addresses of requests strips some.
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("holds a blank"));
    }
    let uri: Uri = text.parse().map_err(|_| wrong("is no address"))?;
    if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
        return Err(wrong("must begin with http:// or https://"));
    }
    if named_host(&uri).is_none() {
        return Err(wrong("names no host, or no port"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(wrong("has a query or a fragment"));
    }
    Ok(text.trim_end_matches('/').trim_end_matches("/api/v1").trim_end_matches('/').to_owned())
}

/// `REDIS_URL` as far as it can be judged without asking anybody.
pub(super) fn redis(text: &str) -> Result<(), String> {
    const FORMS: &str = "write it as redis://user:password@10.0.0.5:6379/0, or with rediss://, redis-sentinel:// or \
                         redis-cluster://; what is special in a password is percent-encoded";
    // The library leaves them out, and so changes a password.
    if text.contains(|c: char| c.is_control()) {
        return Err("REDIS_URL holds a tab or another character that can't be seen: in a password a tab is %09".into());
    }
    crate::store::redis::check(text).map_err(|why| format!("REDIS_URL {why}: {FORMS}"))
}

/// What may follow a `?` and is no secret.
const HARMLESS: [&str; 3] = ["node", "sentinelServiceName", "sentinelUsername"];

/// An address as it may be shown: whole, so that two can be compared, but for what may be a secret in it.
pub(super) fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            // A token, or a password that lacks its colon.
            None => format!("***@{host}"),
        },
        None => authority.to_owned(),
    };
    let item = |item: &str| match item.split_once('=') {
        Some((name, _)) if HARMLESS.contains(&name) => item.to_owned(),
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    };
    let query = query.map(|query| format!("?{}", query.split('&').map(item).collect::<Vec<_>>().join("&")));
    format!("{scheme}://{authority}{path}{}", query.unwrap_or_default())
}

/// The same of a receiver's address, whose path may be what lets in whoever knows it.
pub(super) fn without_path(text: &str) -> String {
    let shown = without_secrets(text);
    let behind_scheme = shown.find("://").map_or(0, |at| at + 3);
    match shown[behind_scheme..].find(['/', '?', '#']) {
        Some(end) if shown[behind_scheme + end..].len() > 1 => format!("{}/***", &shown[..behind_scheme + end]),
        Some(_) | None => shown,
    }
}

/// The host in small letters, where there is one and its port, if any, is one.
fn named_host(uri: &Uri) -> Option<String> {
    let authority = uri.authority()?.as_str();
    let place = authority.rsplit('@').next().unwrap_or_default();
    let after = place.rsplit(']').next().unwrap_or_default();
    let port_is_one = !after.contains(':') || uri.port_u16().is_some_and(|port| port > 0);
    uri.host().filter(|host| !host.is_empty() && port_is_one).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_spelled_as_browsers_do() {
        for (given, spelled) in [
            ("https://a.test/", "https://a.test"),
            ("HTTPS://A.test", "https://a.test"),
            ("https://a.test:443", "https://a.test"),
            ("http://a.test:80/", "http://a.test"),
            ("https://a.test:8443", "https://a.test:8443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("null", "null"),
        ] {
            assert_eq!(origins(given), Ok(vec![spelled.to_owned()]), "{given}");
        }
        assert_eq!(
            origins("https://a.test , http://b.test/"),
            Ok(vec!["https://a.test".into(), "http://b.test".into()])
        );
        assert_eq!((origins(""), origins("*")), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for wrong in [
            "https://a.test/app",
            "https://a.test//",
            "https://a.test?x=1",
            "https://a.test#x",
            "a.test",
            "//a.test",
            "https://",
            "https:///",
            "https://*.a.test",
            "https://a b.test",
            "https://a.test:port",
            "https://a.test:0",
            "https://a.test:99999",
            "https://user@a.test",
            "https://a.test,*",
        ] {
            let errors = origins(wrong).unwrap_err();
            assert!(errors.iter().all(|error| error.starts_with("ALLOWED_ORIGINS: ")), "{wrong}: {errors:?}");
        }
    }

    #[test]
    fn a_laravel_that_nobody_can_ask_is_an_error() {
        for (given, base) in [
            ("https://l.test/api/v1/", "https://l.test"),
            ("https://l.test//", "https://l.test"),
            ("http://10.0.0.1:8000/backend/api/v1", "http://10.0.0.1:8000/backend"),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("https://user:hush@l.test", "https://user:hush@l.test"),
        ] {
            assert_eq!(laravel(given), Ok(base.into()), "{given}");
        }
        for wrong in [
            "l.test",
            "l.test:8000",
            "/api/v1",
            "ftp://l.test",
            "https://",
            "https:///api/v1",
            "https:l.test",
            "https://:8000",
            "https://hush:l.test",
            "https://l.test:0",
            "https://l.test:80000",
            "https://l .test/hush",
            "https://l.test\thush",
            "https://l.test?hush",
            "https://l.test/#hush",
        ] {
            let error = laravel(wrong).unwrap_err();
            assert!(error.starts_with("LARAVEL_API_URL ") && !error.contains("hush"), "{wrong}: {error}");
        }
    }

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        for (text, shown) in [
            ("redis://u:hush@r:6379/0", "redis://u:***@r:6379/0"),
            ("redis://:hu:s@h@r", "redis://:***@r"),
            (
                "redis-sentinel://:hush@a:1?sentinelServiceName=s&sentinelPassword=hush",
                "redis-sentinel://:***@a:1?sentinelServiceName=s&sentinelPassword=***",
            ),
            ("https://u:hush@l.test/api/v1?api_key=hush&a=hush", "https://u:***@l.test/api/v1?api_key=***&a=***"),
            ("https://l.test/x?sig=hush&auth=hush&pwd=hush&hush", "https://l.test/x?sig=***&auth=***&pwd=***&***"),
            ("https://hush@l.test", "https://***@l.test"),
            ("redis://hush@r:6379", "redis://***@r:6379"),
            ("redis-cluster://a:1?node=b:1&node=c:1", "redis-cluster://a:1?node=b:1&node=c:1"),
            ("https://l.test/@scope/a:b", "https://l.test/@scope/a:b"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
        for (text, shown) in [
            ("https://u:hush@l.test:8443/hooks/hush?sig=hush", "https://u:***@l.test:8443/***"),
            ("https://l.test?hush", "https://l.test/***"),
            ("https://l.test/", "https://l.test/"),
            ("https://l.test", "https://l.test"),
            ("", ""),
        ] {
            assert_eq!(without_path(text), shown);
        }
    }

    #[test]
    fn a_redis_that_cannot_be_named_is_an_error() {
        for given in [
            "redis://r",
            "redis://r:6379/3",
            "rediss://u:p@r:6379",
            "redis://:a b\"c'd%09%23@r",
            "redis://[::1]:6379",
            "redis-sentinel://:p@a:26379?sentinelServiceName=s&node=b:26379",
            "rediss-cluster://a:1?node=b:1",
        ] {
            assert_eq!(redis(given), Ok(()), "{given}");
        }
        for wrong in [
            "r:6379",
            "r",
            "redis://",
            "redis:///0",
            "redis:r:6379",
            "http://r:6379",
            "redis://r:port",
            "redis://r:0",
            "redis://r:66666",
            "redis://r:6379/hush",
            "redis://r:6379/0/1",
            "redis-cluster://r:1/3",
            "redis+unix:///run/redis.sock",
            "redis://u:hush#hush@r:6379",
            "redis://u:hush/hush@r:6379",
            "redis://u:hush?hush@r:6379",
            "redis://u:hu\tsh@r:6379",
            "redis-sentinel://a:26379",
            "redis-cluster://a:1?node=b",
            "redis-cluster://a:1?nodes=b:1",
            "redis://r:6379?password=hush",
        ] {
            let error = redis(wrong).expect_err(wrong);
            assert!(error.starts_with("REDIS_URL ") && !error.contains("hush"), "{wrong}: {error}");
        }
    }
}
