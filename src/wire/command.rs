//! What decides of a command, read out of however much came with it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::json;

use super::payload::{CONTAINERS, REASON_LIMIT};
use super::read_json;

/// A command up to this size is read whatever its text looks like.
const COMMAND_LIMIT: usize = 128 * 1024;

/// The text of a command's array without all that came with it, which may be more than an event's and still must not
/// refuse a hang-up; below 4 KiB. Absent where what decides is neither read in passing nor small enough to be read as a
/// whole.
pub fn command_alone(text: &str) -> Option<String> {
    let Command { event, payload } = match text.len() {
        ..=COMMAND_LIMIT => read_json(text.as_bytes(), CONTAINERS)?,
        _ => serde_json::from_str(text).ok()?,
    };
    Some(json!([event.text, {"callId": payload.call_id, "reason": payload.reason}]).to_string())
}

/// An event's array. What comes behind its payload is passed over.
struct Command {
    event: Used,
    payload: Used,
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Command;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event and its payload")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Command, A::Error> {
                let event = parts.next_element::<Used>()?.ok_or_else(|| A::Error::custom("no event"))?;
                let payload = parts.next_element::<Used>()?.unwrap_or_default();
                IgnoredAny.visit_seq(parts)?;
                Ok(Command { event, payload })
            }
        }

        deserializer.deserialize_seq(Parts)
    }
}

/// What is used of a value: a text's beginning, and an object's fields that decide of a command. All else is passed
/// over and not built up: a list of a megabyte would take many.
#[derive(Debug, Default, PartialEq)]
struct Used {
    text: Option<String>,
    call_id: Option<String>,
    reason: Option<String>,
}

impl<'de> Deserialize<'de> for Used {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Used::default())
    }
}

impl<'de> Visitor<'de> for Used {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self, E> {
        Ok(Self { text: Some(text.chars().take(REASON_LIMIT).collect()), ..self })
    }

    /// Of two fields of one name the second counts.
    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Self, A::Error> {
        while let Some(name) = fields.next_key::<Used>()? {
            match name.text.as_deref() {
                Some("callId") => self.call_id = fields.next_value::<Used>()?.text,
                Some("reason") => self.reason = fields.next_value::<Used>()?.text,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self, A::Error> {
        IgnoredAny.visit_seq(list)?;
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{self, MapDeserializer, SeqDeserializer};
    use serde::forward_to_deserialize_any;
    use serde_json::{Map, Value};

    use super::*;

    /// A value that must not be built up.
    struct PassedOver;

    impl<'de> IntoDeserializer<'de> for PassedOver {
        type Deserializer = Self;

        fn into_deserializer(self) -> Self {
            self
        }
    }

    impl<'de> Deserializer<'de> for PassedOver {
        type Error = value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
            Err(value::Error::custom("it was built up"))
        }

        fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
            visitor.visit_unit()
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map struct enum identifier
        }
    }

    #[test]
    fn what_is_not_used_of_a_command_is_not_built_up() {
        let many = || (0..600_000).map(|_| PassedOver);
        let list = Used::deserialize(SeqDeserializer::<_, value::Error>::new(many()));
        assert_eq!(list, Ok(Used::default()));
        let fields = many().map(|value| ("unneeded", value));
        let object = Used::deserialize(MapDeserializer::<_, value::Error>::new(fields));
        assert_eq!(object, Ok(Used::default()));
    }

    #[test]
    fn what_is_kept_of_a_command_is_small() {
        let odd = "\u{0}".repeat(100_000);
        let begin = &odd[..200];
        let zeros = vec![0; 500_000];
        for (event, payload, kept) in [
            ("call:end", json!({"callId": "1", "reason": zeros}), json!({"callId": "1", "reason": null})),
            ("call:end", json!(zeros), json!({"callId": null, "reason": null})),
            ("call:end", json!({"a": zeros, "callId": {"callId": "1"}}), json!({"callId": null, "reason": null})),
            ("call:end", json!({"callId": 1, "reason": odd}), json!({"callId": null, "reason": begin})),
            (odd.as_str(), json!({"callId": odd, "reason": odd}), json!({"callId": begin, "reason": begin})),
        ] {
            let alone = command_alone(&json!([event, payload, zeros]).to_string()).expect("a command");
            assert!(alone.len() < 4096, "{} bytes are kept", alone.len());
            assert_eq!(alone, json!([&event[..event.len().min(200)], kept]).to_string());
        }
        assert!(command_alone(r#"["call:end""#).is_none() && command_alone("[]").is_none());
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            r"\PC{0,8}".prop_map(Value::from)
        ];
        let value = leaf.prop_recursive(3, 12, 4, |inner| {
            let names = prop_oneof![Just("callId".to_owned()), Just("reason".to_owned()), "[a-c]"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((names, inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect()))
            ]
        });
        // Half of a pair is what the library does not read.
        (value, any::<bool>()).prop_map(|(value, odd)| value.to_string() + if odd { r#","\ud83d""# } else { "" })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever comes instead of an object: no panic, and what is left is a command about one call or none, as it
        /// would be read from the whole.
        #[test]
        fn a_command_is_read_whatever_came_with_it(payload in json()) {
            let text = format!(r#"["call:end",{payload}]"#);
            let alone = command_alone(&text).expect("a command");
            let read: (String, Map<String, Value>) = serde_json::from_str(&alone).expect("a command");
            prop_assert_eq!((read.0.as_str(), read.1.len()), ("call:end", 2));
            let whole: Vec<Value> = read_json(text.as_bytes(), CONTAINERS).expect("JSON");
            for name in ["callId", "reason"] {
                prop_assert_eq!(read.1[name].as_str(), whole[1][name].as_str(), "{}", name);
            }
        }
    }
}
