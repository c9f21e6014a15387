//! What fields of payloads look like, and the payloads of webhooks: these types write them and describe them in
//! `web/asyncapi.json`. Lies below the rooms and the transports, which both write payloads.

mod webhooks;
mod words;

use serde::Serialize;
use serde_json::Value;

pub use webhooks::{Webhook, WebhookCall, webhook_of_call, webhook_of_presence};
pub use words::{
    CallId, CallStateName, CallType, False, MessageId, MessageOrder, Millis, Presence, ServerCode, ServerReason, Time,
    True, UserId,
};

/// A payload as it is sent; its fields keep the order of the struct.
pub fn payload(shape: &impl Serialize) -> Value {
    serde_json::to_value(shape).unwrap_or_default()
}
