//! Acknowledgements, field by field: docs/protocol.md 3.1 and 3.2.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::shapes::{
    CallId, CallStateName, False, MessageOrder, Millis, ServerCode, ServerReason, True, UserId, payload,
};

/// All of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Ack<'a> {
    Done(Done<'a>),
    Handed(MessageHanded<'a>),
    Rings(Rings<'a>),
    PushInstead(PushInstead),
    Busy(Busy<'a>),
    Users(Users),
    Refused(Refused<'a>),
    NotSupported(NotSupported),
}

impl Ack<'_> {
    pub fn body(&self) -> Value {
        payload(self)
    }
}

/// It was done.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done<'a> {
    #[schema(inline)]
    pub success: True,
    pub call_id: CallId<'a>,
    pub state: CallStateName,
}

/// It was handed to these.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageHanded<'a> {
    #[schema(inline)]
    pub success: True,
    pub call_id: CallId<'a>,
    pub state: CallStateName,
    #[schema(inline)]
    pub handed_to: Vec<HandedTo<'a>>,
    pub order: MessageOrder,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub kept: Option<True>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub repeat: Option<True>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HandedTo<'a> {
    pub user_id: UserId<'a>,
    #[schema(minimum = 1)]
    pub devices: usize,
}

#[derive(Serialize, ToSchema)]
pub(super) enum Initiation {
    #[serde(rename = "Call initiated successfully")]
    Succeeded,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rings<'a> {
    #[schema(inline)]
    pub success: True,
    pub call_id: CallId<'a>,
    #[schema(inline)]
    pub message: Initiation,
}

/// The callee has no session: the call is there, a push has to ring him.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushInstead {
    #[schema(inline)]
    pub success: False,
    pub error: &'static str,
    #[schema(inline)]
    pub use_fcm_fallback: True,
}

/// `ringingCallId`: the callee is calling this very user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Busy<'a> {
    #[schema(inline)]
    pub success: False,
    pub error: &'static str,
    #[schema(inline)]
    pub busy: True,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ringing_call_id: Option<CallId<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Users {
    #[schema(inline)]
    pub success: True,
    /// Who is online.
    #[schema(value_type = BTreeMap<String, bool>)]
    pub users: Map<String, Value>,
}

/// `state` with `invalid_state`, `reason` if it has ended, `retryAfterMs` with `rate_limited`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused<'a> {
    #[schema(inline)]
    pub success: False,
    pub error: &'a str,
    pub code: ServerCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<CallStateName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ServerReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<Millis>,
}

#[derive(Serialize, ToSchema)]
pub(super) enum Unsupported {
    #[serde(rename = "Not supported")]
    NotSupported,
}

#[derive(Serialize, ToSchema)]
pub(super) struct NotSupported {
    #[schema(inline)]
    pub success: False,
    #[schema(inline)]
    pub error: Unsupported,
}
