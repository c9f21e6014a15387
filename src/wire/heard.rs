//! What a phone hears, field by field: docs/protocol.md 4.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::call;
use crate::shapes::{
    CallId, CallStateName, CallType, MessageId, MessageOrder, Millis, ServerReason, Time, True, UserId,
};

/// With the further fields of the initiate.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Incoming<'a> {
    pub call_id: CallId<'a>,
    pub caller_id: UserId<'a>,
    pub caller_name: &'a str,
    // Known of every call that rings.
    #[schema(value_type = CallType, required)]
    pub call_type: Option<CallType<'a>>,
    pub channel_name: &'a str,
    pub agora_token: &'a str,
    pub timestamp: Time,
    pub expires_in_ms: Millis,
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ringing<'a> {
    pub call_id: CallId<'a>,
    pub timestamp: Time,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted<'a> {
    pub call_id: CallId<'a>,
    pub timestamp: Time,
    pub receiver_id: UserId<'a>,
    /// Said once more, for apps without `acks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told<'a> {
    pub call_id: CallId<'a>,
    /// In words.
    pub reason: &'a str,
    pub timestamp: Time,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended<'a> {
    pub call_id: CallId<'a>,
    /// In words.
    pub reason: &'a str,
    pub timestamp: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<UserId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<Millis>,
}

#[derive(Serialize, ToSchema)]
pub(super) enum NoAnswer {
    #[serde(rename = "No answer")]
    NoAnswer,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeout<'a> {
    pub call_id: CallId<'a>,
    #[schema(inline)]
    pub reason: NoAnswer,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AboutCall<'a> {
    pub call_id: CallId<'a>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message<'a> {
    pub call_id: CallId<'a>,
    pub sender_id: UserId<'a>,
    /// Any JSON.
    pub data: &'a Value,
    pub timestamp: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<MessageOrder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub kept: Option<True>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VideoAsked<'a> {
    pub call_id: CallId<'a>,
    pub sender_id: UserId<'a>,
    pub timestamp: Time,
    pub expires_in_ms: Millis,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VideoAnswered<'a> {
    pub call_id: CallId<'a>,
    pub accepted: bool,
    pub timestamp: Time,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackToAudio<'a> {
    pub call_id: CallId<'a>,
    pub sender_id: UserId<'a>,
    pub timestamp: Time,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Role {
    Caller,
    Callee,
}

impl From<call::Role> for Role {
    fn from(role: call::Role) -> Self {
        match role {
            call::Role::Caller => Self::Caller,
            call::Role::Callee => Self::Callee,
        }
    }
}

/// The user's live call. `expiresInMs` only while it rings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LiveCall<'a> {
    pub call_id: CallId<'a>,
    #[schema(inline)]
    pub role: Role,
    pub state: CallStateName,
    pub peer_id: UserId<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_type: Option<CallType<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<Millis>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PastCall<'a> {
    pub call_id: CallId<'a>,
    #[schema(value_type = ServerReason)]
    pub reason: &'a str,
    pub ended_at: Time,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ready<'a> {
    pub session_id: &'a str,
    pub server_time: Time,
    #[schema(max_items = 5)]
    pub ended: Vec<PastCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<LiveCall<'a>>,
}
