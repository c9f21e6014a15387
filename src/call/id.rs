use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Verbatim;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// docs/protocol.md 2 allows 1 to 64 of `[A-Za-z0-9_.:-]`.
    #[error("must be 1 to 64 characters of A-Z a-z 0-9 _ . : -")]
    Characters,
    /// The backend's paths carry a call's id, where this would name something else.
    #[error("must not be a part of a path that means something else")]
    Reserved,
}

/// What stands behind `calls/` in the backend's routes for something else than a call, or behind a call for what is done
/// to it. `GET calls/<such an id>/…` would be another request.
const RESERVED: [&str; 23] = [
    ".",
    "..",
    "accept",
    "active",
    "availability",
    "busy",
    "cancel",
    "cancelled",
    "connected",
    "create",
    "end",
    "history",
    "incoming",
    "initiate",
    "join",
    "notify-cancelled",
    "outgoing",
    "rate",
    "recent",
    "recent-callers",
    "reject",
    "status",
    "upgrade",
];

/// Whether a call's id is safe as a segment of a path.
fn is_reserved(id: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(id))
}

fn valid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// An id as this cluster stored it: it is in its normal form already, and stays as it is.
            pub fn stored(text: &str) -> Result<Self, InvalidId> {
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId::Characters) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A user of the app, usually `USR_` and digits.
    UserId
}
text_id! {
    /// A call in its normal form, without any `CALL_` prefix: `CALL_CALL_123`, `CALL_123` and `123` are one call.
    CallId
}
text_id! {
    /// One start of one process.
    NodeId
}
text_id! {
    /// One authenticated live socket. Random, never the transport's own session id.
    SessionId
}

impl UserId {
    /// Reads a user id; the doubled prefix of some builds (`USR_USR_1`) is read as one. The normal form reads as itself.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let mut text = text;
        while text.starts_with("USR_USR_") {
            text = &text[4..];
        }
        if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId::Characters) }
    }
}

impl CallId {
    /// Reads a call id in any spelling; what is nothing but the prefix names no call, nor what names a route of the
    /// backend. The normal form reads as itself.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let bare = text.trim_start_matches("CALL_");
        // The length is that of the text as it was sent.
        if !valid(text) || bare.is_empty() {
            Err(InvalidId::Characters)
        } else if is_reserved(bare) {
            Err(InvalidId::Reserved)
        } else {
            Ok(Self(bare.into()))
        }
    }
}

impl CallId {
    /// The id escaped to be one segment of a path; absent where it would be another one, as only a record of an older node
    /// may have it.
    pub fn segment(&self) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let escaped = self.0.bytes().map(|byte| match byte {
            byte if is_plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        (!is_reserved(&self.0)).then(|| Self(escaped.collect::<String>().into()))
    }
}

impl NodeId {
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        Self::stored(text)
    }
}

impl SessionId {
    /// A session id from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }
}

/// A bearer token's hash: what may be stored and compared where the token itself may not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash from its SHA-256 digest.
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A bearer token that only nodes of this cluster can open: what may be stored where the token itself may not.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedToken(Arc<str>);

impl SealedToken {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken(…)")
    }
}

/// The device of a party. All sessions of a user that named none count as one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// It acted over HTTP: matches any device of the user.
    #[default]
    Unknown,
    /// A socket that gave no `deviceId`.
    Unnamed,
    Named(Arc<str>),
    /// It named itself in a way that this version does not know: it is itself and no other, and stays so in the record.
    #[serde(untagged)]
    Other(Verbatim),
}

impl Device {
    const NAME_LIMIT: usize = 64;

    /// A device by the name it gave itself; absent where that is empty or longer than 64 bytes.
    pub fn named(name: &str) -> Option<Self> {
        (1..=Self::NAME_LIMIT).contains(&name.len()).then(|| Device::Named(name.into()))
    }

    pub fn is_known(&self) -> bool {
        match self {
            Device::Unknown => false,
            Device::Unnamed | Device::Named(_) | Device::Other(_) => true,
        }
    }

    /// Whether both may be the same device.
    pub fn matches(&self, other: &Device) -> bool {
        !self.is_known() || !other.is_known() || self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_of_a_path_or_none() {
        for (id, expected) in [
            ("17642", Some("17642")),
            ("a:b", Some("a%3Ab")),
            ("...", Some("...")),
            ("call-1_x.y", Some("call-1_x.y")),
            ("..", None),
            (".", None),
            ("Cancel", None),
        ] {
            let stored = CallId::stored(id).expect("of the alphabet");
            assert_eq!(stored.segment().as_ref().map(CallId::as_str), expected, "{id}");
            assert_eq!(CallId::parse(id).is_ok(), expected.is_some(), "{id}");
        }
        let route = CallId::parse("CALL_CALL_notify-cancelled");
        assert_eq!(route, Err(InvalidId::Reserved));
    }
}
