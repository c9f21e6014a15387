//! Acknowledgements: docs/protocol.md 3.1 and 3.2.

use std::time::Duration;

use serde_json::Value;

use super::FieldError;
use super::answers::{
    Ack, Busy, Done, HandedTo, Initiation, MessageHanded, NotSupported, PushInstead, Refused, Rings, Unsupported, Users,
};
use crate::call::{Call, ErrorCode, Refusal, UserId};
use crate::shapes::{CallId, False, MessageOrder, Millis, True};
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
    Ack::Done(Done { success: True, call_id: CallId(wire_id), state: (&call.state).into() }).body()
}

/// To whom a message was handed: nobody, where no device of the other side is there.
pub fn handed(wire_id: &str, handed: &Handed) -> Value {
    let to = HandedTo { user_id: (&handed.to).into(), devices: handed.devices };
    let ack = MessageHanded {
        success: True,
        call_id: CallId(wire_id),
        state: (&handed.call.state).into(),
        handed_to: if handed.devices > 0 { vec![to] } else { Vec::new() },
        order: MessageOrder(handed.order),
        kept: handed.kept.then_some(True),
        repeat: handed.again.then_some(True),
    };
    Ack::Handed(ack).body()
}

/// Who is online of those asked for.
pub fn presence(users: &[(UserId, bool)]) -> Value {
    let users = users.iter().map(|(user, online)| (user.to_string(), (*online).into())).collect();
    Ack::Users(Users { success: True, users }).body()
}

pub fn initiated(wire_id: &str, answer: &Initiated) -> Value {
    let ack = match answer {
        Initiated::Ringing | Initiated::Settled(_) => {
            Ack::Rings(Rings { success: True, call_id: CallId(wire_id), message: Initiation::Succeeded })
        }
        Initiated::Offline => {
            let error = "User offline - FCM notification sent";
            Ack::PushInstead(PushInstead { success: False, error, use_fcm_fallback: True })
        }
        Initiated::Busy { ringing } => Ack::Busy(Busy {
            success: False,
            error: "User is busy",
            busy: True,
            ringing_call_id: ringing.as_deref().map(CallId),
        }),
    };
    ack.body()
}

pub fn failed(failure: &Failure) -> RefusedAck {
    match failure {
        Failure::NotFound => error("Call not found", failure.code()),
        Failure::RateLimited { wait } => rate_limited(*wait),
        Failure::Unavailable => error("Service unavailable, please try again", failure.code()),
        Failure::Refused { refusal, call } => match refusal {
            Refusal::NotAParticipant => error("Not a participant of this call", failure.code()),
            Refusal::InvalidState | Refusal::AnsweredElsewhere | Refusal::Over | Refusal::NotDue => refused(
                failure.code(),
                Refused {
                    state: Some((&call.state).into()),
                    reason: call.end().map(|end| (&end.reason).into()),
                    ..plain(&format!("Call is {}", call.state.name()), failure.code())
                },
            ),
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
    Ack::NotSupported(NotSupported { success: False, error: Unsupported::NotSupported }).body()
}

pub fn contradicted() -> RefusedAck {
    error("Call is not known to the backend", ErrorCode::NotAParticipant)
}

/// `wait` until the next is free.
pub fn rate_limited(wait: Duration) -> RefusedAck {
    let Millis(wait) = Millis::from(wait);
    let code = ErrorCode::RateLimited;
    refused(code, Refused { retry_after_ms: Some(Millis(wait.max(1))), ..plain("Too many requests", code) })
}

fn error(text: &str, code: ErrorCode) -> RefusedAck {
    refused(code, plain(text, code))
}

fn refused(code: ErrorCode, ack: Refused<'_>) -> RefusedAck {
    RefusedAck { code, body: Ack::Refused(ack).body() }
}

/// A refusal that says no more than why.
fn plain(text: &str, code: ErrorCode) -> Refused<'_> {
    Refused { success: False, error: text, code: code.into(), state: None, reason: None, retry_after_ms: None }
}
