//! Nodes of two versions share one store and one bus. `store/golden/versions.json` holds every stored and bus type as
//! it is written, each variant and each field of it: a new one has to be added there, an old one stays.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::bus::Envelope;
use crate::call::{Call, Callback, EarlyCommand, End, Milestone};
use crate::store::{CallOutcome, KnownToken, Lease, OutboxMessage, SessionRecord};

/// What is read there comes from Laravel or from who asks over HTTP; all else is stored or sent between nodes.
const FROM_OUTSIDE: [&str; 2] = ["http", "laravel"];

/// Reads, writes again, reads that, and returns what was written.
type Read = fn(&Value) -> Result<Value, String>;

const TYPES: [(&str, Read); 11] = [
    ("call", read::<Call>),
    ("end", read::<End>),
    ("outcome", read::<CallOutcome>),
    ("milestone", read::<Milestone>),
    ("verdict", read::<EarlyCommand>),
    ("callback", read::<Callback>),
    ("session", read::<SessionRecord>),
    ("token", read::<KnownToken>),
    ("lease", read::<Lease>),
    ("letter", read::<OutboxMessage>),
    ("envelope", read::<Envelope>),
];

/// Where an unknown variant makes the whole foreign: dropped, passed over, or left to nodes of its version.
const FOREIGN: [&str; 7] = [
    "call/state",
    "callback/ask",
    "callback/by",
    "envelope/body/call/state",
    "envelope/body/kind",
    "envelope/body/word/say",
    "letter/queue",
];

/// What was there from the first version on. Never grows: a new field has a default.
const REQUIRED: &[&str] = &[
    "call/callee",
    "call/callee/user",
    "call/caller",
    "call/caller/user",
    "call/created_at",
    "call/id",
    "call/ring_until",
    "call/spelled",
    "call/state",
    "call/state/active/accepted_at",
    "call/state/ended/at",
    "call/state/ended/reason",
    "call/terms",
    "call/terms/accept_hold",
    "call/terms/call_grace",
    "call/terms/caller_grace",
    "call/terms/max",
    "call/version",
    "call/version/counter",
    "call/version/nonce",
    "callback/ask",
    "callback/ask/cancel/reason",
    "callback/ask/cancel/unless_reported",
    "callback/ask/reject/reason",
    "callback/by",
    "callback/due",
    "callback/until",
    "end/at",
    "end/reason",
    "envelope/body",
    "envelope/body/call",
    "envelope/body/kind",
    "envelope/body/nonce",
    "envelope/body/online",
    "envelope/body/session",
    "envelope/body/token",
    "envelope/body/user",
    "envelope/body/users",
    "envelope/body/word",
    "envelope/body/word/call_id",
    "envelope/body/word/data",
    "envelope/body/word/event",
    "envelope/body/word/reason",
    "envelope/body/word/say",
    "envelope/body/word/sender",
    "envelope/expires_at",
    "lease/address",
    "lease/epoch",
    "lease/expires_at",
    "lease/node",
    "letter/at",
    "letter/body",
    "letter/due",
    "letter/id",
    "letter/queue",
    "milestone/at",
    "milestone/what",
    "outcome/call_id",
    "outcome/ended_at",
    "outcome/reason",
    "outcome/spelled",
    "session/connected_at",
    "session/epoch",
    "session/id",
    "session/node",
    "session/user",
    "token/user",
    "token/verified_at",
    "verdict/at",
    "verdict/kind",
    "verdict/user",
];

fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &Value) -> Result<Value, String> {
    let text = value.to_string();
    let read: T = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let written = serde_json::to_string(&read).expect("it can be written");
    let again: T = serde_json::from_str(&written).expect("what is written can be read");
    assert_eq!(again, read, "written and read again");
    Ok(serde_json::from_str(&written).unwrap())
}

fn samples() -> Vec<(&'static str, Read, Value)> {
    let golden: Map<String, Value> = serde_json::from_str(include_str!("store/golden/versions.json")).unwrap();
    assert!(golden.keys().eq(TYPES.iter().map(|(name, _)| name)), "each type has samples");
    let of = |(name, read): (&'static str, Read)| {
        let samples = golden[name].as_array().unwrap().clone();
        samples.into_iter().map(move |sample| (name, read, sample))
    };
    TYPES.into_iter().flat_map(of).collect()
}

/// What the sources declare as readable.
#[derive(Default)]
struct Declared {
    variants: BTreeSet<String>,
    fields: BTreeSet<String>,
}

fn declared() -> Declared {
    let mut declared = Declared::default();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut declared);
    assert!(declared.variants.contains("hung_up") && declared.fields.contains("ring_until"), "the sources are read");
    declared
}

fn collect(directory: &Path, declared: &mut Declared) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if !FROM_OUTSIDE.iter().any(|outside| path.ends_with(outside)) {
                collect(&path, declared);
            }
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if !(line.starts_with("#[derive(") && line.contains("Deserialize")) {
                continue;
            }
            let Some(head) = lines.find(|line| line.starts_with("pub ")) else { break };
            if head.ends_with('{') {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
                declared.add(head.contains(" enum "), &body);
            }
        }
    }
}

impl Declared {
    /// By the names under which they are stored.
    fn add(&mut self, is_enum: bool, body: &[&str]) {
        let mut renamed: Option<String> = None;
        for line in body.iter().map(|line| line.trim_start()) {
            if line.starts_with("#[") {
                let name = line.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
                renamed = name.map(|(name, _)| name.to_owned()).or(renamed);
                continue;
            }
            let name: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if is_enum && name.starts_with(char::is_uppercase) && name != "Other" {
                self.variants.insert(renamed.take().unwrap_or_else(|| snake(&name)));
                // The fields of a variant on one line.
                for part in line.split(['{', ',']).skip(1) {
                    self.field(part.trim(), &mut None);
                }
            } else {
                self.field(line, &mut renamed);
            }
        }
    }

    fn field(&mut self, text: &str, renamed: &mut Option<String>) {
        let text = text.strip_prefix("pub ").unwrap_or(text);
        if let Some((name, _)) = text.split_once(": ")
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            self.fields.insert(renamed.take().unwrap_or_else(|| name.to_owned()));
        }
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// Every place of a document: its pointer, and the value there.
fn places(value: &Value, at: String, found: &mut Vec<(String, Value)>) {
    found.push((at.clone(), value.clone()));
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| places(value, format!("{at}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, value)| places(value, format!("{at}/{place}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn all_places(sample: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    places(sample, String::new(), &mut found);
    found
}

/// A variant: a word of its own, or a word that has content.
fn variant<'v>(value: &'v Value, declared: &Declared) -> Option<&'v str> {
    let word = match value {
        Value::String(word) => word,
        Value::Object(fields) if fields.len() == 1 => fields.keys().next()?,
        _ => return None,
    };
    declared.variants.contains(word.as_str()).then_some(word.as_str())
}

fn replaced(sample: &Value, pointer: &str, value: Value) -> Value {
    let mut sample = sample.clone();
    *sample.pointer_mut(pointer).unwrap() = value;
    sample
}

/// Neither a type nor a variant nor a field can be forgotten here.
#[test]
fn every_variant_and_every_field_has_a_sample() {
    let declared = declared();
    let (mut variants, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, sample) in samples() {
        for (_, value) in all_places(&sample) {
            variants.extend(variant(&value, &declared).map(str::to_owned));
            if let Value::Object(fields) = value {
                keys.extend(fields.into_iter().map(|(name, _)| name));
            }
        }
    }
    // The one variant that is written only as absence.
    variants.insert("unwanted".into());
    let missing: Vec<_> = declared.variants.difference(&variants).chain(declared.fields.difference(&keys)).collect();
    assert!(missing.is_empty(), "add them to store/golden/versions.json: {missing:?}");
}

/// A newer node reads what an older one wrote, and loses nothing of it when it writes it again.
#[test]
fn what_was_written_is_read_and_kept() {
    fn holds(new: &Value, old: &Value) -> bool {
        match (new, old) {
            (Value::Object(new), Value::Object(old)) => {
                old.iter().all(|(name, old)| new.get(name).is_some_and(|new| holds(new, old)))
            }
            (new, old) => new == old,
        }
    }
    for (name, read, sample) in samples() {
        let written = read(&sample).unwrap_or_else(|error| panic!("{name} {sample}: {error}"));
        assert!(holds(&written, &sample), "{name}: {sample} became {written}");
    }
}

/// As an older node reads a newer one's.
#[test]
fn a_new_field_is_passed_over() {
    for (name, read, sample) in samples() {
        for (at, value) in all_places(&sample) {
            let Value::Object(fields) = value else { continue };
            // The word of a variant, not a struct.
            if fields.len() == 1 && !at.is_empty() {
                continue;
            }
            for news in [json!("x"), json!({"from_tomorrow": [1]}), json!(null)] {
                let mut fields = fields.clone();
                fields.insert("from_tomorrow".into(), news);
                let newer = replaced(&sample, &at, Value::Object(fields));
                let written = read(&newer).unwrap_or_else(|error| panic!("{name}{at}: {error}"));
                assert_eq!(written, read(&sample).unwrap(), "{name}{at}");
            }
        }
    }
}

#[test]
fn an_unknown_variant_is_read_as_another_or_makes_the_record_foreign() {
    let declared = declared();
    let mut foreign = BTreeSet::new();
    for (name, read, sample) in samples() {
        for (at, value) in all_places(&sample) {
            if variant(&value, &declared).is_none() {
                continue;
            }
            for news in [json!("from_tomorrow"), json!({"from_tomorrow": {"x": 1}}), json!({"from_tomorrow": 7})] {
                if read(&replaced(&sample, &at, news)).is_err() {
                    foreign.insert(format!("{name}{at}"));
                }
            }
        }
    }
    assert_eq!(foreign, FOREIGN.map(str::to_owned).into());
}

/// A device of another version is that device in every record, else its user would count as absent.
#[test]
fn an_unknown_device_is_kept_as_it_is() {
    let device = json!({"from_tomorrow": {"x": [1, null]}});
    let (_, read, sample) = samples().into_iter().find(|(name, ..)| *name == "session").unwrap();
    assert_eq!(read(&replaced(&sample, "/device", device.clone())).unwrap()["device"], device);
}

#[test]
fn only_what_was_always_there_is_required() {
    let declared = declared();
    let mut required = BTreeSet::new();
    for (name, read, sample) in samples() {
        for (at, value) in all_places(&sample) {
            let Value::Object(fields) = &value else { continue };
            if variant(&value, &declared).is_some() {
                continue;
            }
            for field in fields.keys() {
                let mut fewer = fields.clone();
                fewer.shift_remove(field);
                let required_field = format!("{name}{at}/{field}");
                // A call is one wherever it is.
                if !required_field.starts_with("envelope/body/call/")
                    && read(&replaced(&sample, &at, Value::Object(fewer))).is_err()
                {
                    required.insert(required_field);
                }
            }
        }
    }
    let expected: BTreeSet<String> = REQUIRED.iter().map(|field| (*field).to_owned()).collect();
    assert_eq!(required, expected);
}
