//! What another version wrote in a form that this one does not know (docs/adr/0010-what-another-version-wrote.md).
//!
//! A variant whose absence changes no rule has an `Other` beside it, the last of its enum. `State`, `Role` and whatever
//! has no such variant make the record *foreign*: it can't be read, so nothing here decides on it or writes over it.

use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A variant that this version does not know. What it was is forgotten; written again, it is `other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Foreign;

impl Serialize for Foreign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("other")
    }
}

impl<'de> Deserialize<'de> for Foreign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A value that this version does not know, kept as JSON and written again as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verbatim(Arc<str>);

impl Serialize for Verbatim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.0).unwrap_or_default().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(value.to_string().into()))
    }
}

/// Reads an optional part of a record; one in a form that this version does not know is absent.
pub fn optional<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or(None))
}
