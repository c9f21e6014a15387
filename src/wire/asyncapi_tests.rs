//! Makes `web/asyncapi.json` of the types that are sent and read, and compares it with the file.

use std::fs;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::answers::Ack;
use super::events::Event;
use super::said_tests;
use super::said_tests::Handshake;
use crate::call::WebhookEventKind;
use crate::shapes::{Presence, Webhook, WebhookCall};

/// An event: its name, what it is about, its schema and those that it names, examples.
pub(super) struct Message {
    pub name: &'static str,
    summary: &'static str,
    /// Its own is the last.
    pub schemas: Vec<(String, RefOr<Schema>)>,
    pub examples: Vec<Value>,
}

impl Message {
    pub fn of<T: ToSchema>(name: &'static str, summary: &'static str, examples: &[&str]) -> Self {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        schemas.push((T::name().into_owned(), T::schema()));
        let examples = examples.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
        Self { name, summary: summary.trim(), schemas, examples }
    }
}

/// The `data` that Laravel gave.
#[derive(ToSchema)]
#[expect(dead_code, reason = "nodes pass it on as it is")]
struct AppEvent(Map<String, Value>);

/// An example of each acknowledgement, by its schema.
const ACKNOWLEDGEMENTS: [(&str, &str, &[&str]); 8] = [
    ("ackDone", "Done", &[r#"{"success": true, "callId": "CALL_17642", "state": "active"}"#]),
    (
        "ackHanded",
        "MessageHanded",
        &[r#"{"success": true, "callId": "CALL_17642", "state": "active", "order": 1795368390715000, "kept": true,
            "handedTo": [{"userId": "USR_1002", "devices": 1}]}"#],
    ),
    ("ackRings", "Rings", &[r#"{"success": true, "callId": "CALL_17642", "message": "Call initiated successfully"}"#]),
    (
        "ackPushInstead",
        "PushInstead",
        &[r#"{"success": false, "error": "User offline - FCM notification sent", "useFcmFallback": true}"#],
    ),
    ("ackBusy", "Busy", &[r#"{"success": false, "error": "User is busy", "busy": true}"#]),
    ("ackUsers", "Users", &[r#"{"success": true, "users": {"USR_2002": true, "USR_3003": false}}"#]),
    (
        "ackRefused",
        "Refused",
        &[
            r#"{"success": false, "error": "Call is ended", "code": "invalid_state", "state": "ended",
            "reason": "cancelled"}"#,
            r#"{"success": false, "error": "unknown event", "code": "invalid_payload"}"#,
        ],
    ),
    ("ackNotSupported", "NotSupported", &[r#"{"success": false, "error": "Not supported"}"#]),
];

const WEBHOOKS: [WebhookEventKind; 11] = [
    WebhookEventKind::Initiated,
    WebhookEventKind::PushRequired,
    WebhookEventKind::Ringing,
    WebhookEventKind::Accepted,
    WebhookEventKind::Verify,
    WebhookEventKind::Upgraded,
    WebhookEventKind::Downgraded,
    WebhookEventKind::Rejected,
    WebhookEventKind::Cancelled,
    WebhookEventKind::Missed,
    WebhookEventKind::Ended,
];

fn says(kind: WebhookEventKind) -> &'static str {
    match kind {
        WebhookEventKind::Initiated => "It rings, or it was busy, or a verdict was waiting.",
        WebhookEventKind::PushRequired => "Wake the callee.",
        WebhookEventKind::Ringing => "A device of the callee confirmed.",
        WebhookEventKind::Accepted => "It was accepted.",
        WebhookEventKind::Verify => "A question: somebody was told busy because of this active call.",
        WebhookEventKind::Upgraded => "It is a video call from `at` on.",
        WebhookEventKind::Downgraded => "It is an audio call from `at` on.",
        WebhookEventKind::Rejected => "Declined.",
        WebhookEventKind::Cancelled => "`cancelled`, `superseded` or `caller_gone`.",
        WebhookEventKind::Missed => "`no_answer` or `busy`.",
        WebhookEventKind::Ended => "`hung_up`, `lost` or `max_duration`.",
    }
}

/// The example of a webhook in docs/webhooks.md, or else that of `/openapi.json`.
fn webhook_example(name: &str) -> Value {
    let page = include_str!("../../docs/webhooks.md");
    let blocks = page.split("```json\n").skip(1).filter_map(|block| block.split("```").next());
    let mut documented = blocks.filter_map(|block| serde_json::from_str::<Value>(block).ok());
    let open: Value = serde_json::from_str(include_str!("../http/description.json")).unwrap();
    let content = &open["webhooks"][name]["post"]["requestBody"]["content"]["application/json"];
    documented.find(|example| example["type"] == name).unwrap_or_else(|| content["example"].clone())
}

/// The document while it is put together.
#[derive(Default)]
struct Document {
    schemas: Map<String, Value>,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
}

impl Document {
    /// A receiver passes over what it does not know; what a node sends has no field that is not described.
    fn describe(&mut self, schemas: Vec<(String, RefOr<Schema>)>, is_sent: bool) {
        for (name, schema) in schemas {
            self.schemas.entry(name).or_insert_with(|| plain(serde_json::to_value(schema).unwrap(), is_sent));
        }
    }

    fn speak(&mut self, key: &str, message: Message, is_sent: bool) {
        let (own, _) = message.schemas.last().expect("its own");
        let payload = reference("components/schemas", own);
        let examples: Vec<Value> = message.examples.iter().map(|example| json!({"payload": example})).collect();
        let spoken =
            json!({"name": message.name, "summary": message.summary, "payload": payload, "examples": examples});
        self.messages.insert(key.to_owned(), spoken);
        let summary = message.summary;
        self.operate(key, if is_sent { "send" } else { "receive" }, "phone", summary);
        self.describe(message.schemas, is_sent);
    }

    fn operate(&mut self, key: &str, action: &str, channel: &str, summary: &str) {
        let messages = [reference(&format!("channels/{channel}/messages"), key)];
        let channel = reference("channels", channel);
        let operation = json!({"action": action, "channel": channel, "summary": summary, "messages": messages});
        self.operations.insert(key.to_owned(), operation);
    }

    fn said(&mut self) {
        for said in said_tests::described() {
            let key = key("say", said.message.name, &[':']);
            self.speak(&key, said.message, false);
            let of = |ack: &&str| reference("channels/acknowledgements/messages", ack);
            let messages: Vec<Value> = said.replies.iter().map(of).collect();
            let channel = reference("channels", "acknowledgements");
            self.operations[&key]["reply"] = json!({"channel": channel, "messages": messages});
        }
    }

    fn heard(&mut self) {
        let summary = "What Laravel sends by `POST /api/users/{userId}/emit`: `app:` and a name.";
        let app = Message::of::<AppEvent>("app:*", summary, &[r#"{"minutes": 3}"#]);
        for message in Event::described().into_iter().chain([app]) {
            self.speak(&key("hear", message.name, &[':']), message, true);
        }
    }

    fn acknowledged(&mut self) {
        let mut schemas = Vec::new();
        Ack::schemas(&mut schemas);
        self.describe(schemas, true);
        let one_of = serde_json::to_value(Ack::schema()).unwrap();
        for ack in one_of["oneOf"].as_array().expect("all of them") {
            let reference = ack["$ref"].as_str().expect("each by its name");
            let known = |(_, schema, _): &&(&str, &str, _)| reference.ends_with(&format!("/{schema}"));
            let (key, _, examples) = ACKNOWLEDGEMENTS.iter().find(known).expect("an example of each");
            let examples: Vec<Value> = examples.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            let examples: Vec<Value> = examples.into_iter().map(|example| json!({"payload": example})).collect();
            let mut message = json!({"name": "acknowledgement", "payload": ack, "examples": examples});
            if *key == "ackNotSupported" {
                message["summary"] = "With `VIDEO_SWITCH=off`.".into();
            }
            self.messages.insert((*key).to_owned(), message);
        }
    }

    fn told(&mut self) {
        for of_data in [Message::of::<WebhookCall<'_>>("", "", &[]), Message::of::<Presence<'_>>("", "", &[])] {
            self.describe(of_data.schemas, true);
        }
        let calls = WEBHOOKS.map(|kind| (kind.name(), says(kind), false));
        let presence = [
            ("user.online", "With `WEBHOOK_PRESENCE`.", true),
            ("user.offline", "With `WEBHOOK_PRESENCE`, after 3 s.", true),
        ];
        for (name, summary, of_presence) in calls.into_iter().chain(presence) {
            let message = match of_presence {
                false => Message::of::<Webhook<WebhookCall<'_>>>(name, summary, &[]),
                true => Message::of::<Webhook<Presence<'_>>>(name, summary, &[]),
            };
            let mut schemas = message.schemas;
            let (_, own) = schemas.pop().expect("its own");
            let mut payload = plain(serde_json::to_value(own).unwrap(), true);
            payload["properties"]["type"] = json!({"const": name});
            let key = key("hook", name, &['.', '_']);
            let examples = [json!({"payload": webhook_example(name)})];
            let told = json!({"name": name, "summary": summary, "payload": payload, "examples": examples});
            self.messages.insert(key.clone(), told);
            self.operate(&key, "send", "webhooks", summary);
            self.describe(schemas, true);
        }
    }

    /// The messages whose keys begin so, as a channel lists them.
    fn messages_of(&self, prefixes: &[&str]) -> Value {
        let listed = |key: &&String| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let messages = self.messages.keys().filter(listed);
        messages.map(|key| (key.clone(), reference("components/messages", key))).collect::<Map<_, _>>().into()
    }
}

fn document() -> Value {
    let mut made = Document::default();
    made.describe(Message::of::<Handshake>("", "", &[]).schemas, false);
    made.said();
    made.heard();
    made.acknowledged();
    made.told();
    // Words first, then what is made of them.
    let (objects, words): (Map<_, _>, Map<_, _>) =
        made.schemas.clone().into_iter().partition(|(_, schema)| schema["type"] == "object");
    let schemas: Map<_, _> = words.into_iter().chain(objects).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "onlycare-signaling",
            "version": "1",
            "description": "What phones and nodes say to each other, and what the backend is told. The rules are in docs/protocol.md. An old app may ignore what it does not know; a receiver passes over fields that it does not know.",
            "license": {"name": "MIT"}
        },
        "servers": {
            "node": {
                "host": "signaling.example.com",
                "protocol": "wss",
                "description": "Any node, through any load balancer."
            }
        },
        "defaultContentType": "application/json",
        "channels": {
            "phone": {
                "address": "/socket.io/",
                "title": "A phone's session",
                "description": "Socket.IO protocol 5, polling or websocket. An event is a packet of its name and one object; the CONNECT packet carries `Handshake`.",
                "messages": made.messages_of(&["say", "hear"]),
            },
            "acknowledgements": {
                "address": null,
                "title": "Acknowledgements",
                "description": "On any event whose sender asks for one.",
                "messages": made.messages_of(&["ack"]),
            },
            "webhooks": {
                "address": "{webhookUrl}",
                "title": "Webhooks",
                "description": "Signed by the Standard Webhooks specification; several of one call in the order of `seq`.",
                "parameters": {"webhookUrl": {"description": "`WEBHOOK_URL`."}},
                "messages": made.messages_of(&["hook"]),
            },
        },
        "operations": made.operations,
        "components": {"schemas": schemas, "messages": made.messages},
    })
}

fn reference(place: &str, name: &str) -> Value {
    json!({"$ref": format!("#/{place}/{name}")})
}

/// `call:switch_to_video` is `sayCallSwitch_to_video`, `call.push_required` is `hookCallPushRequired`.
fn key(prefix: &str, name: &str, separators: &[char]) -> String {
    let parts = name.split(separators).map(|part| if part == "*" { "any" } else { part });
    let begun = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    prefix.to_owned() + &parts.map(begun).collect::<String>()
}

/// The keywords of a schema in the order in which they are written.
const KEYWORDS: [&str; 15] = [
    "$ref",
    "const",
    "type",
    "description",
    "enum",
    "format",
    "items",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maxItems",
    "required",
    "properties",
    "additionalProperties",
];

/// A schema of OpenAPI as AsyncAPI has it, without what says nothing about JSON. What a node sends is never null.
fn plain(schema: Value, is_sent: bool) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    schema.retain(|keyword, value| keyword != "propertyNames" && !(keyword == "format" && *value == "int64"));
    if let Some(Value::Array(options)) = schema.get_mut("oneOf") {
        options.retain(|option| !is_sent || option["type"] != "null");
        assert!(options.len() == 1, "what is sent is of one kind: {options:?}");
        let only = options.remove(0);
        schema.shift_remove("oneOf");
        schema.extend(only.as_object().cloned().unwrap_or_default());
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| !is_sent || kind != "null");
        if types.len() == 1 {
            schema["type"] = schema["type"][0].clone();
        }
    }
    if let Some([only]) = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice) {
        return json!({"const": only});
    }
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        fields.values_mut().for_each(|field| *field = plain(field.take(), is_sent));
        schema.entry("additionalProperties").or_insert((!is_sent).into());
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(value) = schema.get_mut(inner) {
            *value = plain(value.take(), is_sent);
        }
    }
    match (schema.get("additionalProperties") == Some(&json!({})), schema.contains_key("properties")) {
        (true, true) => drop(schema.insert("additionalProperties".into(), true.into())),
        (true, false) => drop(schema.shift_remove("additionalProperties")),
        (false, _) => {}
    }
    let unknown: Vec<&String> = schema.keys().filter(|keyword| !KEYWORDS.contains(&keyword.as_str())).collect();
    assert!(unknown.is_empty(), "tests/node/schema.mjs does not check {unknown:?}");
    KEYWORDS.iter().filter_map(|keyword| schema.remove_entry(*keyword)).collect::<Map<_, _>>().into()
}

/// Columns that a line of the file has at most.
const WIDTH: usize = 123;

/// A value on one line.
fn line(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(line).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", json!(name), line(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// A value over as many lines as it takes; `used` are the columns that its first line has already, and the comma.
fn lines(value: &Value, indent: usize, used: usize) -> String {
    let one = line(value);
    let inner: Vec<(String, &Value)> = match value {
        _ if used + one.chars().count() <= WIDTH => return one,
        Value::Array(list) => list.iter().map(|value| (String::new(), value)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (format!("{}: ", json!(name)), value)).collect(),
        _ => return one,
    };
    let (pad, last) = (" ".repeat(indent + 2), inner.len().saturating_sub(1));
    let written = inner.iter().enumerate().map(|(at, (name, value))| {
        let used = pad.len() + name.len() + usize::from(at < last);
        format!("{pad}{name}{}", lines(value, indent + 2, used))
    });
    let written = written.collect::<Vec<_>>().join(",\n");
    let end = " ".repeat(indent);
    if value.is_array() { format!("[\n{written}\n{end}]") } else { format!("{{\n{written}\n{end}}}") }
}

#[test]
fn asyncapi_json_is_what_the_types_say() {
    let made = format!("{}\n", lines(&document(), 0, 0));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/web/asyncapi.json");
    if std::env::var_os("WRITE").is_some() {
        fs::write(file, &made).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(
        made == written,
        "web/asyncapi.json is not what the types say: {differs:?}\nrun: WRITE=1 cargo test --lib asyncapi\n\
         and: node scripts/wire-types.mjs >clients/js/src/wire.ts"
    );
}

#[test]
fn everything_that_is_named_is_described() {
    let document = document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let open: Value = serde_json::from_str(include_str!("../http/description.json")).unwrap();
    let told = document["operations"].as_object().unwrap().keys().filter(|key| key.starts_with("hook"));
    assert_eq!(told.count(), open["webhooks"].as_object().unwrap().len(), "a webhook is missing in WEBHOOKS");
    assert_eq!(document["channels"]["acknowledgements"]["messages"].as_object().unwrap().len(), ACKNOWLEDGEMENTS.len());
}
