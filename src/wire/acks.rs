//! Acknowledgements: docs/protocol.md 3.1 and 3.2.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::FieldError;
use crate::call::{Call, ErrorCode, Refusal, UserId};
use crate::signaling::{Failure, Handed, Initiated};
use crate::telemetry::call_log;
use crate::telemetry::metrics;

/// An acknowledgement that says no.
pub struct RefusedAck {
    pub code: ErrorCode,
    pub body: Value,
}

impl RefusedAck {
    /// Counts it, and tells of it where somebody tries the server out.
    pub fn noted(&self, user: &UserId) {
        metrics::event_refused(self.code);
        call_log::refused(user, self.code.name());
    }
}

pub fn done(wire_id: &str, call: &Call) -> Value {
    json!({"success": true, "callId": wire_id, "state": call.state.name()})
}

/// To whom a message was handed: nobody, where no device of the other side is there.
pub fn handed(wire_id: &str, handed: &Handed) -> Value {
    let mut ack = done(wire_id, &handed.call);
    let to = json!({"userId": handed.to, "devices": handed.devices});
    ack["handedTo"] = if handed.devices > 0 { json!([to]) } else { json!([]) };
    ack["order"] = handed.order.into();
    if handed.kept {
        ack["kept"] = true.into();
    }
    if handed.again {
        ack["repeat"] = true.into();
    }
    ack
}

/// Who is online of those asked for.
pub fn presence(users: &[(UserId, bool)]) -> Value {
    let users: Map<String, Value> = users.iter().map(|(user, online)| (user.to_string(), (*online).into())).collect();
    json!({"success": true, "users": users})
}

pub fn initiated(wire_id: &str, answer: &Initiated) -> Value {
    match answer {
        Initiated::Ringing | Initiated::Settled(_) => {
            json!({"success": true, "callId": wire_id, "message": "Call initiated successfully"})
        }
        Initiated::Offline => {
            json!({"success": false, "error": "User offline - FCM notification sent", "useFcmFallback": true})
        }
        Initiated::Busy { ringing } => {
            let mut ack = json!({"success": false, "error": "User is busy", "busy": true});
            if let Some(ringing) = ringing {
                ack["ringingCallId"] = ringing.as_str().into();
            }
            ack
        }
    }
}

pub fn failed(failure: &Failure) -> RefusedAck {
    match failure {
        Failure::NotFound => error("Call not found", failure.code()),
        Failure::RateLimited { wait } => rate_limited(*wait),
        Failure::Unavailable => error("Service unavailable, please try again", failure.code()),
        Failure::Refused { refusal, call } => match refusal {
            Refusal::NotAParticipant => error("Not a participant of this call", failure.code()),
            Refusal::InvalidState | Refusal::AnsweredElsewhere | Refusal::Over | Refusal::NotDue => {
                let state = call.state.name();
                let mut ack = error(&format!("Call is {state}"), failure.code());
                ack.body["state"] = state.into();
                if let Some(end) = call.end() {
                    ack.body["reason"] = end.reason.name().into();
                }
                ack
            }
        },
    }
}

/// An acknowledgement in a word, for traces.
pub fn outcome(ack: &Value) -> String {
    let word = match ack["code"].as_str() {
        Some(code) => code,
        None if ack["success"] == true => "ok",
        None if ack["busy"] == true => "busy",
        None if ack["useFcmFallback"] == true => "offline",
        None => "not_supported",
    };
    word.to_owned()
}

pub fn invalid(invalid: &FieldError) -> RefusedAck {
    invalid_text(&invalid.to_string())
}

pub fn invalid_text(text: &str) -> RefusedAck {
    error(text, ErrorCode::InvalidPayload)
}

pub fn not_supported() -> Value {
    json!({"success": false, "error": "Not supported"})
}

pub fn contradicted() -> RefusedAck {
    error("Call is not known to the backend", ErrorCode::NotAParticipant)
}

/// `wait` until the next is free.
pub fn rate_limited(wait: Duration) -> RefusedAck {
    let mut ack = error("Too many requests", ErrorCode::RateLimited);
    ack.body["retryAfterMs"] = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1).into();
    ack
}

fn error(text: &str, code: ErrorCode) -> RefusedAck {
    RefusedAck { code, body: json!({"success": false, "error": text, "code": code.name()}) }
}
