//! JSON as senders write it: what a browser's `JSON.stringify` yields, and what its `JSON.parse` takes, is read. A text
//! that is cut in the middle of an emoji must not refuse a hang-up.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

/// Far below what the JSON library reads: a value that goes deeper is read as null.
const DEPTH_LIMIT: usize = 100;

/// Reads a JSON text whose fields lie in so many containers. Half of a surrogate pair becomes U+FFFD; a number that no
/// double holds, and a field that is nested deeper than 100, become null. Absent where it is no JSON at all.
pub fn read_json<T: DeserializeOwned>(text: &[u8], containers: usize) -> Option<T> {
    let text = String::from_utf8_lossy(text);
    // What is written strictly, as nearly everything is, is read once.
    serde_json::from_str(&text).ok().or_else(|| serde_json::from_str(&mended(&text, containers)).ok())
}

/// The same values, as far as the JSON library can hold them. What is no JSON stays none.
fn mended(text: &str, containers: usize) -> String {
    let mut mended = Mended { text: String::with_capacity(text.len()), depth: 0, field: None, dropping: false };
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let (token, behind) = rest.split_at(length_of_token(rest, first));
        rest = behind;
        match first {
            b'"' => mended.push(&whole_characters(token)),
            b'[' | b'{' => mended.open(token, containers),
            b']' | b'}' => mended.close(token, containers),
            b'-' | b'0'..=b'9' if token.parse().is_ok_and(f64::is_infinite) => mended.push("null"),
            _ => mended.push(token),
        }
    }
    mended.text
}

fn length_of_token(text: &str, first: u8) -> usize {
    let bytes = text.as_bytes();
    match first {
        b'"' => {
            let mut end = 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            // The end of a text that is cut off; else behind the quote. Never inside of a character.
            (end + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len())
        }
        b'-' | b'0'..=b'9' => {
            let of_number = |byte: &&u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
            bytes.iter().take_while(of_number).count()
        }
        _ => text.chars().next().map_or(1, char::len_utf8),
    }
}

struct Mended {
    text: String,
    depth: usize,
    /// Where the container that is a field's value begins.
    field: Option<usize>,
    /// The field is nested too deeply, and its place taken by null.
    dropping: bool,
}

impl Mended {
    fn push(&mut self, token: &str) {
        if !self.dropping {
            self.text.push_str(token);
        }
    }

    fn open(&mut self, token: &str, containers: usize) {
        if self.depth == containers {
            self.field = Some(self.text.len());
        }
        self.depth += 1;
        if let (true, false, Some(begin)) = (self.depth > DEPTH_LIMIT, self.dropping, self.field) {
            self.text.truncate(begin);
            self.text.push_str("null");
            self.dropping = true;
        }
        self.push(token);
    }

    fn close(&mut self, token: &str, containers: usize) {
        self.push(token);
        self.depth = self.depth.saturating_sub(1);
        if self.depth == containers {
            self.field = None;
            self.dropping = false;
        }
    }
}

/// A JSON string in which each escaped half of a surrogate pair that has no other half is U+FFFD.
fn whole_characters(string: &str) -> Cow<'_, str> {
    if !string.contains("\\u") {
        return Cow::Borrowed(string);
    }
    let mut whole = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.push('\u{fffd}');
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Another escape: with the character behind it, which may be a backslash.
            (None, _) => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        whole.push_str(&escape[..length]);
        rest = &escape[length..];
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// The code unit of an escape that the text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Option<Value> {
        read_json(text.as_bytes(), 1)
    }

    #[test]
    fn half_a_pair_is_replaced_and_a_whole_one_kept() {
        for (text, expected) in [
            (r#"{"a":"x \ud83d"}"#, "x \u{fffd}"),
            (r#"{"a":"\ude00 x"}"#, "\u{fffd} x"),
            (r#"{"a":"\ud83d\ude00"}"#, "\u{1f600}"),
            (r#"{"a":"\uD83D\uD83D\uDE00"}"#, "\u{fffd}\u{1f600}"),
            (r#"{"a":"\ud83d\\ude00"}"#, "\u{fffd}\\ude00"),
            (r#"{"a":"\\ud83d"}"#, "\\ud83d"),
            (r#"{"a":"\ud83d\n"}"#, "\u{fffd}\n"),
            (r#"{"a":"\ud83d\"[{"}"#, "\u{fffd}\"[{"),
            (r#"{"a":"\ud83dé\u00e9"}"#, "\u{fffd}éé"),
        ] {
            assert_eq!(read(text), Some(json!({"a": expected})), "{text}");
        }
        assert_eq!(read(r#"{"\ud83d":1}"#), Some(json!({"\u{fffd}": 1})), "in a name too");
    }

    #[test]
    fn what_no_double_holds_is_null() {
        let digits = "9".repeat(400);
        let text = format!(r#"{{"a":1e400,"b":-1E+999,"c":[{digits}],"d":1e308,"e":"1e400","f":-0.5}}"#);
        let expected = json!({"a": null, "b": null, "c": [null], "d": 1e308, "e": "1e400", "f": -0.5});
        assert_eq!(read(&text), Some(expected));
    }

    #[test]
    fn a_field_that_goes_too_deep_is_null_and_no_other() {
        let deep = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(3000), close.repeat(3000));
        for deep in [deep("[", "1", "]"), deep("{\"x\":", "[\"]}\"]", "}")] {
            let text = format!(r#"{{"a":[1],"b":{deep},"c":{{"d":2}},"e":{deep}}}"#);
            assert_eq!(read(&text), Some(json!({"a": [1], "b": null, "c": {"d": 2}, "e": null})));
            let event: Option<Vec<Value>> = read_json(format!(r#"["call:end",{text}]"#).as_bytes(), 2);
            assert_eq!(event.expect("an event")[1]["a"], json!([1]));
        }
    }

    #[test]
    fn what_is_no_json_is_not_made_any() {
        for text in [
            "",
            "{",
            "}",
            "{\"a\"}",
            "[1,]",
            "{\"a\":01}",
            "\"\\ud8",
            "{\"a\":\"\\ud83",
            "{\"a\":1e400",
            "nul",
            "{\"\\",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever comes: no panic, and what the library reads is read as it reads it.
        #[test]
        fn strict_json_is_read_as_it_is(text in r#"([\[\]{}",:0-9eE.\\u dD8cnul-]|\PC){0,60}"#) {
            let strict: Option<Value> = serde_json::from_str(&text).ok();
            let mended: Option<Value> = serde_json::from_str(&mended(&text, 1)).ok();
            if strict.is_some() {
                prop_assert_eq!(&mended, &strict);
            }
        }
    }
}
