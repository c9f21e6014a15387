//! What is wrong with an address of Redis before anybody is asked: the library passes over what it does not know, and
//! would go to another database, or without a password, in silence.

use std::str::FromStr;

use super::connection::builder;

const SCHEMES: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];
const QUERY: [&str; 4] = ["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"];

/// Why the address can't be used, without any part of it.
pub fn check(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("has no scheme")?;
    let (base, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
    if !SCHEMES.contains(&base) || !["", "sentinel", "cluster"].contains(&kind) {
        return Err("has a scheme that is none of Redis");
    }
    if rest.contains('#') {
        return Err("holds a #, which in a password is %23");
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    let server = authority.rsplit('@').next().unwrap_or_default();
    is_server(server, false)?;
    let is_number = u8::from_str(database).is_ok();
    if !database.is_empty() && (!is_number || (kind == "cluster" && database != "0")) {
        return Err(if is_number {
            "names a database, and a cluster has only 0"
        } else {
            "names no database by its number"
        });
    }
    let mut service = false;
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        if !QUERY.contains(&name) {
            return Err("has something after its ? that is none of node, sentinelServiceName, sentinelUsername and \
                        sentinelPassword");
        }
        if name == "node" {
            is_server(value, true)?;
        }
        service |= name == "sentinelServiceName" && !value.is_empty();
    }
    if (kind == "sentinel") != service {
        return Err("needs a sentinelServiceName with redis-sentinel://, and only there");
    }
    builder(url).map(|_| ()).map_err(|_| "can't be read")
}

/// A host and a port, which may be left to the usual one.
fn is_server(text: &str, with_port: bool) -> Result<(), &'static str> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err("names no host");
    }
    match port {
        None if with_port => Err("names a node without its port"),
        Some(port) if u16::from_str(port).map_or(true, |port| port == 0) => {
            Err("has a port that is no number, or in a password one of / ? : @ unescaped")
        }
        _ => Ok(()),
    }
}
