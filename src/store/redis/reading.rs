//! Reads what the store holds, of whatever version wrote it. What can't be read is counted and named by its key, never
//! by its contents: there are tokens among them. In a batch it is passed over, so that it concerns nobody else.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fred::types::Value;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::call::{Call, CallId, EarlyCommand, Timestamp, UserId, Version};
use crate::store::{LastKept, StoreError};
use crate::telemetry::{Who, metrics};

/// Of each kind one is named in the log in this time, with how many were not.
const NAMED_EVERY: Duration = Duration::from_secs(10);

/// When one of a kind was last named, and how many were met since.
static NAMED: LazyLock<Mutex<HashMap<&'static str, (Instant, u64)>>> = LazyLock::new(Mutex::default);

/// Under what something is kept, as logs may name it.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    Call(&'a CallId),
    User(&'a UserId),
    Other(&'a str),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Call(id) => id.fmt(f),
            Key::User(user) => Who(user).fmt(f),
            Key::Other(key) => f.write_str(key),
        }
    }
}

/// Reads one record under its key; `what` is one of the documented values of the metric.
pub fn parse_at<T: DeserializeOwned>(what: &'static str, key: Key<'_>, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        // The error's own words may quote what was read.
        let reason = format!("{:?} at column {}", error.classify(), error.column()).to_lowercase();
        passed_over(what, key, &reason);
        StoreError::Corrupt { what, reason }
    })
}

pub fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    parse_at(what, Key::Other(""), text)
}

/// Those of a batch that can be read.
pub fn readable<T: DeserializeOwned>(
    what: &'static str,
    key: Key<'_>,
    texts: impl IntoIterator<Item = impl AsRef<str>>,
) -> Vec<T> {
    texts.into_iter().filter_map(|text| parse_at(what, key, text.as_ref()).ok()).collect()
}

/// Counts one that can't be read, and names it unless another of its kind was named a moment ago.
pub fn passed_over(what: &'static str, key: Key<'_>, reason: &str) {
    metrics::unreadable(what);
    let now = Instant::now();
    let unnamed = {
        let mut named = NAMED.lock();
        let (at, unnamed) = named.entry(what).or_insert((now, 0));
        let first = *at == now && *unnamed == 0;
        if !first && now.duration_since(*at) < NAMED_EVERY {
            *unnamed += 1;
            return;
        }
        *at = now;
        std::mem::take(unnamed)
    };
    tracing::warn!(what, %key, reason, unnamed, "what the store holds can't be read by this version, passed over");
}

/// A record, where the script returned one.
pub fn optional(key: Key<'_>, text: &str) -> Result<Option<Call>, StoreError> {
    if text.is_empty() { Ok(None) } else { parse_at("call", key, text).map(Some) }
}

/// An early command with the time under which it is kept, `time|command`. One that can't be read keeps its place:
/// the time is part of what the script is shown as seen.
pub fn early_command(text: &str, user: &UserId) -> Result<EarlyCommand, StoreError> {
    let (at, json) = text.split_once('|').unwrap_or(("", text));
    let Ok(at) = at.parse().map(Timestamp::from_millis) else {
        return Err(StoreError::Corrupt { what: "verdict", reason: "not time|verdict".into() });
    };
    let read = parse_at("verdict", Key::User(user), json);
    Ok(read.map_or_else(|_| EarlyCommand::unreadable(user, at), |early| EarlyCommand { at, ..early }))
}

pub(super) fn duration(value: Duration) -> Value {
    value.as_millis().to_string().into()
}

pub fn number(value: u64) -> Value {
    value.to_string().into()
}

pub fn json(what: &'static str, value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt { what, reason: error.to_string() })
}

pub fn unexpected(what: &'static str, reply: &[String]) -> StoreError {
    StoreError::Corrupt { what, reason: format!("unexpected reply of {} parts", reply.len()) }
}

pub(super) fn flag(value: bool) -> Value {
    if value { "1".into() } else { "0".into() }
}

pub(super) fn version_text(version: Version) -> String {
    format!("{}:{}", version.counter, version.nonce)
}

pub(super) fn parse_version(id: &CallId, text: &str) -> Version {
    let parsed = text
        .split_once(':')
        .and_then(|(counter, nonce)| Some(Version { counter: counter.parse().ok()?, nonce: nonce.parse().ok()? }));
    if parsed.is_none() {
        passed_over("version", Key::Call(id), "not counter:nonce");
    }
    parsed.unwrap_or_default()
}

pub(super) fn order_in(text: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { what: "order", reason: "not a number".into() })
}

/// The orders of the last kept messages, of what a call has of them: one of another form has none.
pub(super) fn last_kept(text: &str) -> LastKept {
    let mut orders = text.split(' ').map(|word| word.parse().unwrap_or_default());
    LastKept { caller: orders.next().unwrap_or_default(), callee: orders.next().unwrap_or_default() }
}

/// The braces are the hash tag.
pub(super) fn tag(prefix: &str) -> String {
    format!("{{{prefix}:c}}:")
}
