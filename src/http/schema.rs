//! Bodies as `/openapi.json` describes them. Requests are read field by field (`socket::Fields`), so nothing here is
//! ever made of one; schemathesis compares both.

#![expect(dead_code, reason = "most of these only describe")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoResponses, ToSchema};

mod outbox;
mod words;

pub use outbox::{DeadLetters, Done, ReplayAnswer, ReplayRequest};
use words::{CallState, Ending, Happening, RingRefusal};

/// What every error looks like.
#[derive(ToSchema)]
pub struct Problem {
    /// For people; may change.
    error: String,
    code: Code,
}

/// For programs.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Code {
    InvalidPayload,
    Unauthorized,
    Forbidden,
    NotFound,
    CallNotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    RateLimited,
    Unavailable,
    Internal,
}

/// How else a request that needs the secret is answered.
#[derive(IntoResponses)]
pub enum Guarded {
    #[response(status = 401, description = "No secret, or a wrong one")]
    Unauthorized(Problem),
    #[response(status = 413, description = "The body is too large")]
    TooLarge(Problem),
    #[response(status = 429, description = "Too many requests from this address")]
    TooMany(Problem),
}

/// What becomes of Laravel's word about a call.
#[derive(IntoResponses)]
pub enum Judged {
    #[response(status = 200, description = "Done, repeated or refused")]
    Done(EmitAnswer),
    #[response(status = 400, description = "A field is missing or of no use")]
    Invalid(Problem),
    #[response(status = 503, description = "The store does not answer: kept, and tried again for a minute")]
    Kept(Problem),
}

/// Counts of the whole cluster; may be a second old.
#[derive(ToSchema)]
pub struct Health {
    #[schema(pattern = "^OK$")]
    status: String,
    #[schema(rename = "connectedUsers")]
    connected_users: u64,
    #[schema(rename = "activeCalls")]
    active_calls: u64,
    /// Milliseconds since the epoch.
    timestamp: u64,
    /// The store does not answer, these are the last known counts. Else absent.
    #[schema(nullable = false)]
    stale: Option<bool>,
}

#[derive(ToSchema)]
pub struct Online {
    /// As it was asked for.
    #[schema(rename = "userId")]
    user_id: String,
    #[schema(rename = "isOnline")]
    is_online: bool,
    /// The newest session, opaque.
    #[schema(rename = "socketId", required)]
    socket_id: Option<String>,
}

#[derive(ToSchema)]
pub struct ConnectedUsers {
    /// In the whole cluster.
    count: u64,
    users: Vec<String>,
    /// Where the next page begins; absent on the last.
    #[schema(rename = "nextCursor", nullable = false)]
    next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct AcceptedRequest {
    #[schema(rename = "callId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    call_id: String,
    #[schema(rename = "callerId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    caller_id: String,
    #[schema(rename = "receiverId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    receiver_id: String,
    /// A text: the device that accepted. Others of the callee are then told "Answered elsewhere".
    #[schema(rename = "deviceId")]
    device_id: Option<Value>,
}

#[derive(ToSchema)]
pub struct RejectedRequest {
    #[schema(rename = "callId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    call_id: String,
    #[schema(rename = "callerId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    caller_id: String,
    #[schema(rename = "receiverId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    receiver_id: String,
    /// A text; what is none counts as missing.
    reason: Option<Value>,
}

#[derive(ToSchema)]
pub struct CancelledRequest {
    #[schema(rename = "callId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    call_id: String,
    #[schema(rename = "receiverId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    receiver_id: String,
    /// A text; what is none counts as missing.
    reason: Option<Value>,
}

#[derive(ToSchema)]
pub struct EndedRequest {
    #[schema(rename = "callId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    call_id: String,
    /// The id of the party who hung up; without it both are told. What names no user counts as missing.
    #[schema(rename = "endedBy")]
    ended_by: Option<Value>,
    /// A text; what is none counts as missing.
    reason: Option<Value>,
}

#[derive(ToSchema)]
pub struct EmitAnswer {
    success: bool,
    /// Whether the user to be told has a session.
    emitted: bool,
    /// Why nothing was emitted.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// The state of the call, where the transition was refused.
    #[schema(nullable = false)]
    state: Option<CallState>,
}

/// Further fields reach the callee's phone as they are, up to 4 KiB.
#[derive(ToSchema)]
pub struct InitiateRequest {
    #[schema(rename = "callId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    call_id: String,
    #[schema(rename = "callerId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    caller_id: String,
    /// Not the caller.
    #[schema(rename = "receiverId", pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    receiver_id: String,
    /// Without it: `Unknown`.
    #[schema(rename = "callerName", max_length = 2048)]
    caller_name: Option<String>,
    /// `AUDIO` or `VIDEO`, in any letter case.
    #[schema(rename = "callType", pattern = "^([Aa][Uu][Dd][Ii][Oo]|[Vv][Ii][Dd][Ee][Oo])$")]
    call_type: String,
    #[schema(rename = "channelName", min_length = 1, max_length = 2048)]
    channel_name: String,
    #[schema(rename = "agoraToken", max_length = 2048)]
    agora_token: String,
    /// Instead of the configured ring timeout.
    #[schema(rename = "ringTimeoutMs", minimum = 5000, maximum = 180_000)]
    ring_timeout_ms: Option<u32>,
}

/// The acknowledgement of `call:initiate`.
#[derive(ToSchema)]
pub struct InitiateAnswer {
    success: bool,
    #[schema(rename = "callId", nullable = false)]
    call_id: Option<String>,
    #[schema(nullable = false)]
    message: Option<String>,
    #[schema(nullable = false)]
    error: Option<String>,
    #[schema(nullable = false)]
    code: Option<RingRefusal>,
    /// Nobody to ring: the call is tracked, and a push has to wake a phone.
    #[schema(rename = "useFcmFallback", nullable = false)]
    use_fcm_fallback: Option<bool>,
    #[schema(nullable = false)]
    busy: Option<bool>,
    /// The receiver rings the caller in this call.
    #[schema(rename = "ringingCallId", nullable = false)]
    ringing_call_id: Option<String>,
    #[schema(rename = "retryAfterMs", nullable = false)]
    retry_after_ms: Option<u64>,
    #[schema(nullable = false)]
    state: Option<CallState>,
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// A call as it stands. Times are milliseconds since the epoch; what there is not is left out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// As it was initiated.
    pub call_id: String,
    /// The number of its last event: rises within a call, as in webhooks.
    pub seq: u64,
    #[schema(value_type = CallState)]
    pub state: &'static str,
    pub caller_id: String,
    pub receiver_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub call_type: Option<String>,
    pub created_at: u64,
    /// When the ring ends, while it rings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ringing_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub accepted_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub duration_ms: Option<u64>,
    /// Like `durationMs`, until the last moment both were there: what to bill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub talk_ms: Option<u64>,
    /// The same by type: what was sent when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub talk_ms_by_type: Option<BTreeMap<&'static str, u64>>,
    /// From the first word of it to its answer, or to its end without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ring_ms: Option<u64>,
    /// From the first word of it to the first device that rang.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub confirm_ms: Option<u64>,
    /// How often the caller came back after an absence; left out for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub caller_reconnects: Option<u64>,
    /// How long the caller was away in all; left out for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub caller_away_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub receiver_reconnects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub receiver_away_ms: Option<u64>,
    /// Since when a party was away that did not come back before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub absent_since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Ending>)]
    pub reason: Option<&'static str>,
    /// The words of who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended_by: Option<String>,
    /// The last 64 milestones in order of time; best effort, nothing is decided by it.
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    pub at: u64,
    #[schema(value_type = Happening)]
    pub what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub user_id: Option<String>,
    /// The `deviceId` that the phone gave, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

#[derive(ToSchema)]
pub struct OnlineManyRequest {
    #[schema(rename = "userIds", max_items = 1000, schema_with = user_ids)]
    user_ids: Vec<String>,
}

fn user_ids() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_.:-]{1,64}$"));
    ArrayBuilder::new().items(id).max_items(Some(1000)).build()
}

#[derive(ToSchema)]
pub struct OnlineManyAnswer {
    users: BTreeMap<String, bool>,
}

#[derive(ToSchema)]
pub struct EmitRequest {
    #[schema(pattern = "^app:[A-Za-z0-9_.:-]{1,60}$")]
    event: String,
    /// At most 16 KiB; without it an empty object, as an empty list is (PHP writes one).
    data: Option<Map<String, Value>>,
}

#[derive(ToSchema)]
pub struct DisconnectRequest {
    /// A text, for the log; what is none counts as missing.
    reason: Option<Value>,
}

#[derive(ToSchema)]
pub struct DisconnectAnswer {
    success: bool,
    /// Sessions that were there.
    disconnected: u64,
}
