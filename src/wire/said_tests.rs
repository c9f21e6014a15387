//! What a phone says, as `web/asyncapi.json` describes it, held against what reads it.

#![expect(dead_code, reason = "these types only describe: `said.rs` reads the fields one by one")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType};

use super::asyncapi_tests::Message;
use super::{FieldError, Fields, read_command, read_initiate, read_message, read_switch, read_users};
use crate::call;
use crate::call::{Actor, Device};
use crate::shapes::{CallId, CallType, MessageId, UserId};
use crate::signaling::MAX_SUBSCRIPTIONS;

/// What the CONNECT packet carries.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Handshake {
    /// Laravel's bearer token.
    #[schema(max_length = 8192)]
    token: String,
    user_id: UserId<'static>,
    /// The same for every connection of one installation; over 64 bytes of UTF-8 it counts as none.
    #[schema(max_length = 64, nullable = false)]
    device_id: Option<String>,
    #[schema(schema_with = acks)]
    acks: Option<bool>,
}

fn acks() -> Object {
    let values = [json!(true), json!("true"), json!(false), json!("false")];
    let text = "This app acknowledges `call:incoming` at once.";
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(text)).enum_values(Some(values)).build()
}

/// Up to 4 KiB of further fields reach the callee.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct Initiate {
    receiver_id: UserId<'static>,
    call_id: CallId<'static>,
    call_type: CallType<'static>,
    #[schema(min_length = 1, max_length = 2048)]
    channel_name: String,
    #[schema(max_length = 2048)]
    agora_token: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CallOnly {
    call_id: CallId<'static>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CallWithReason {
    call_id: CallId<'static>,
    /// Cut at 200 characters; missing, `""` and `null` are the same.
    reason: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct SendMessage {
    call_id: CallId<'static>,
    /// Any JSON but null, up to 4 KiB.
    data: Value,
    /// `true`: told again to a device that joins or returns.
    keep: Option<Value>,
    #[schema(nullable = false)]
    message_id: Option<MessageId<'static>>,
}

/// Whom it concerns is in the call's record; what else the app sends is passed over.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct AskForVideo {
    call_id: CallId<'static>,
    /// Passed over.
    receiver_id: Option<Value>,
    /// Passed over.
    sender_id: Option<Value>,
    /// Passed over.
    timestamp: Option<Value>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct AnswerVideo {
    call_id: CallId<'static>,
    /// `true` or `false`, also as text.
    accepted: Value,
    /// Why not; `User declined` if nothing is said.
    reason: Option<Value>,
    /// Passed over.
    timestamp: Option<Value>,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct UserIds {
    #[schema(max_items = 500)]
    user_ids: Vec<UserId<'static>>,
}

/// An event of a phone, and how it is acknowledged.
pub(super) struct Said {
    pub message: Message,
    pub replies: &'static [&'static str],
    read: fn(&str, Fields) -> Result<String, FieldError>,
}

const OF_COMMANDS: &[&str] = &["ackDone", "ackRefused"];
const OF_VIDEO: &[&str] = &["ackDone", "ackRefused", "ackNotSupported"];
const OF_PRESENCE: &[&str] = &["ackUsers", "ackRefused"];

/// Every event that a phone says: its name, what it does, and examples.
pub(super) fn described() -> Vec<Said> {
    let call = r#"{"callId": "CALL_17642"}"#;
    let as_the_app =
        r#"{"callId": "CALL_17642", "receiverId": "USR_1002", "senderId": "USR_1001", "timestamp": 1795368400715}"#;
    let initiate = r#"{"receiverId": "USR_1002", "callId": "CALL_17642", "callType": "VIDEO",
        "channelName": "channel-17642", "agoraToken": "006a"}"#;
    let message = r#"{"callId": "CALL_17642", "messageId": "m1", "keep": true,
        "data": {"type": "chat", "text": "Two minutes, please"}}"#;
    let answers = [
        r#"{"callId": "CALL_17642", "accepted": true}"#,
        r#"{"callId": "CALL_17642", "accepted": false, "reason": "Not now"}"#,
    ];
    let command = |message| Said { message, replies: OF_COMMANDS, read: command };
    let video = |message| Said { message, replies: OF_VIDEO, read: switch };
    let presence = |message| Said { message, replies: OF_PRESENCE, read: users };
    vec![
        Said {
            message: Message::of::<Initiate>(
                "call:initiate",
                "Dials. `call:busy` follows where the callee is busy.",
                &[initiate],
            ),
            replies: &["ackRings", "ackPushInstead", "ackBusy", "ackRefused"],
            read: dial,
        },
        command(Message::of::<CallOnly>("call:ringing", "This device shows its ring screen.", &[call])),
        command(Message::of::<CallOnly>("call:accept", "Answers.", &[call])),
        command(Message::of::<CallWithReason>(
            "call:reject",
            "Declines. `call:reject:confirmed` follows if it was done.",
            &[r#"{"callId": "CALL_17642", "reason": "In a meeting"}"#],
        )),
        command(Message::of::<CallWithReason>(
            "call:cancel",
            "The caller gives up; of an accepted call, hangs up.",
            &[call],
        )),
        command(Message::of::<CallOnly>("call:end", "Hangs up.", &[call])),
        Said {
            message: Message::of::<SendMessage>("call:message", "Says something to the other party.", &[message]),
            replies: &["ackHanded", "ackRefused"],
            read: say,
        },
        presence(Message::of::<UserIds>(
            "presence:subscribe",
            "Watches users, 500 in all.",
            &[r#"{"userIds": ["USR_2002", "USR_3003"]}"#],
        )),
        presence(Message::of::<UserIds>(
            "presence:unsubscribe",
            "Watches them no more.",
            &[r#"{"userIds": ["USR_3003"]}"#],
        )),
        video(Message::of::<AskForVideo>(
            "call:upgrade",
            "Asks the other side of an accepted audio call for video.",
            &[call],
        )),
        video(Message::of::<AskForVideo>("call:switchToVideo", "The same.", &[as_the_app])),
        video(Message::of::<AskForVideo>("call:switch_to_video", "The same.", &[as_the_app])),
        video(Message::of::<AnswerVideo>("call:upgrade:response", "Answers the other side's request.", &answers)),
        Said {
            message: Message::of::<CallOnly>("call:downgrade", "Back to audio, without asking.", &[call]),
            replies: OF_COMMANDS,
            read: switch,
        },
    ]
}

fn shown<T: Debug>(read: Result<T, FieldError>) -> Result<String, FieldError> {
    read.map(|read| format!("{read:?}"))
}

fn dial(_: &str, fields: Fields) -> Result<String, FieldError> {
    let caller = call::UserId::parse("USR_1").unwrap();
    let read = read_initiate(fields, &caller, "Ana");
    // Further fields reach the callee, whatever they are called.
    shown(read.map(|mut initiate| {
        initiate.ring_details.extra.clear();
        initiate
    }))
}

/// The reason decides nothing but what is said of the two that have one.
fn command(event: &str, fields: Fields) -> Result<String, FieldError> {
    let has_reason = matches!(event, "call:reject" | "call:cancel");
    shown(read_command(&fields).map(|(id, wire_id, reason)| (id, wire_id, reason.filter(|_| has_reason))))
}

fn say(_: &str, fields: Fields) -> Result<String, FieldError> {
    shown(read_message(&fields))
}

fn switch(event: &str, fields: Fields) -> Result<String, FieldError> {
    let user = call::UserId::parse("USR_1").unwrap();
    let by = Actor { user, device: Device::Unnamed, acks: true, session: None, token: None };
    shown(read_switch(event, &fields, by))
}

fn users(_: &str, fields: Fields) -> Result<String, FieldError> {
    shown(read_users(&fields))
}

impl Said {
    fn reads(&self, payload: &Map<String, Value>) -> Result<String, FieldError> {
        (self.read)(self.message.name, Fields::new(Some(Value::Object(payload.clone())))?)
    }

    fn schema(&self) -> Value {
        let (_, schema) = self.message.schemas.last().expect("its own");
        serde_json::to_value(schema).unwrap()
    }

    /// An example with every field that is described.
    fn full(&self) -> Map<String, Value> {
        let example = self.message.examples.last().and_then(Value::as_object).expect("an object");
        let mut full = example.clone();
        for name in self.schema()["properties"].as_object().expect("fields").keys() {
            full.entry(name).or_insert(json!("x"));
        }
        full
    }
}

fn probes() -> [Value; 9] {
    let long = "x".repeat(3000);
    [
        json!(5),
        json!("y"),
        json!("false"),
        json!(""),
        json!(true),
        json!([5]),
        json!({"a": "b"}),
        json!(null),
        json!(long),
    ]
}

/// What is wrong for a field of any described type; what counts as missing instead refuses nothing.
const WRONG: [fn() -> Value; 3] = [|| json!(5), || json!([5]), || json!({"a": "b"})];
const FORGIVEN: [&str; 1] = ["reason"];

#[test]
fn what_is_described_is_what_is_read() {
    for said in described() {
        let (name, schema, full) = (said.message.name, said.schema(), said.full());
        for example in &said.message.examples {
            said.reads(example.as_object().expect("an object")).expect("an example is read");
        }
        let read = said.reads(&full);
        assert!(read.is_ok(), "{name}: {read:?}");
        let required = schema["required"].as_array().expect("one at least");
        for (field, described) in schema["properties"].as_object().expect("fields") {
            let with = |value: Value| {
                let mut changed = full.clone();
                changed.insert(field.clone(), value);
                said.reads(&changed)
            };
            let mut without = full.clone();
            without.remove(field);
            let is_required = required.iter().any(|required| required == field);
            assert_eq!(said.reads(&without).is_err(), is_required, "{name} without {field}");
            let passed_over = described["description"] == "Passed over.";
            let differs = probes().into_iter().any(|value| with(value) != read);
            assert_ne!(differs, passed_over, "{name}: whether {field} makes a difference");
            let is_typed = described.get("$ref").is_some() || described.get("type").is_some();
            for wrong in WRONG.iter().filter(|_| is_typed) {
                let refused = with(wrong()).is_err();
                assert_eq!(refused, !FORGIVEN.contains(&field.as_str()), "{name} with {field} {}", wrong());
            }
        }
    }
}

/// Every word that stands in the code of the readers is tried as the name of a field.
#[test]
fn what_is_not_described_is_not_read() {
    let code = [include_str!("said.rs"), include_str!("payload.rs")].concat();
    let is_name = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let words: BTreeSet<&str> = code.split('"').filter(is_name).collect();
    assert!(words.contains("callId") && words.contains("messageId") && words.len() > 15, "{words:?}");
    for said in described() {
        let full = said.full();
        let read = said.reads(&full);
        for word in words.iter().filter(|word| !full.contains_key(**word)) {
            for value in probes() {
                let mut more = full.clone();
                more.insert((*word).to_owned(), value);
                assert_eq!(said.reads(&more), read, "{} reads {word}", said.message.name);
            }
        }
    }
}

#[test]
fn no_more_users_are_read_than_are_described() {
    let many = |count: usize| json!({"userIds": vec!["USR_1"; count]});
    for said in described().iter().filter(|said| said.message.name.starts_with("presence:")) {
        assert_eq!(said.schema()["properties"]["userIds"]["maxItems"], MAX_SUBSCRIPTIONS);
        assert!(said.reads(many(MAX_SUBSCRIPTIONS).as_object().unwrap()).is_ok());
        assert!(said.reads(many(MAX_SUBSCRIPTIONS + 1).as_object().unwrap()).is_err());
    }
}
