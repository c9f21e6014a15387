//! `/api/emit/…`: Laravel's word about a call, a transition each.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Api, error, unavailable};
use crate::call::{Device, Refusal};
use crate::signaling::{Failure, Told, WordOutcome};
use crate::socket::{FieldError, Fields};

const CALLER_ABSENT: &str = "Caller not connected";
const USER_ABSENT: &str = "User not connected";

pub(super) async fn accepted(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        let device = fields.optional_text("deviceId").map(|device| Device::Named(device.into()));
        Ok((fields.call_id()?, fields.user("callerId")?, fields.user("receiverId")?, device))
    };
    match read() {
        Ok((_, caller, receiver, _)) if caller == receiver => same_user(),
        Ok(((id, spelled), caller, receiver, device)) => {
            let told = api.signaling.word_accepted(&id, &spelled, &caller, &receiver, device).await;
            respond(told, CALLER_ABSENT)
        }
        Err(invalid) => bad_request(&invalid),
    }
}

pub(super) async fn cancelled(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        Ok((fields.call_id()?, fields.user("receiverId")?, fields.reason()))
    };
    match read() {
        Ok(((id, spelled), receiver, reason)) => {
            respond(api.signaling.word_cancelled(&id, &spelled, &receiver, reason).await, USER_ABSENT)
        }
        Err(invalid) => bad_request(&invalid),
    }
}

pub(super) async fn rejected(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        Ok((fields.call_id()?, fields.user("callerId")?, fields.user("receiverId")?, fields.reason()))
    };
    match read() {
        Ok((_, caller, receiver, _)) if caller == receiver => same_user(),
        Ok(((id, spelled), caller, receiver, reason)) => {
            let told = api.signaling.word_rejected(&id, &spelled, &caller, &receiver, reason).await;
            respond(told, CALLER_ABSENT)
        }
        Err(invalid) => bad_request(&invalid),
    }
}

pub(super) async fn ended(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        Ok((fields.call_id()?, fields.optional_user("endedBy")?, fields.reason()))
    };
    match read() {
        Ok(((id, _), ended_by, reason)) => {
            respond(api.signaling.word_ended(&id, ended_by.as_ref(), reason).await, USER_ABSENT)
        }
        Err(invalid) => bad_request(&invalid),
    }
}

/// A body that is too large counts as one that can't be read.
type Body = Result<Bytes, BytesRejection>;

fn fields(body: &Body) -> Result<Fields, FieldError> {
    Fields::new(body.as_ref().ok().and_then(|body| serde_json::from_slice(body).ok()))
}

fn bad_request(invalid: &FieldError) -> Response {
    error(StatusCode::BAD_REQUEST, &invalid.to_string(), "invalid_payload")
}

fn same_user() -> Response {
    error(StatusCode::BAD_REQUEST, "callerId and receiverId must differ", "invalid_payload")
}

fn respond(told: WordOutcome, absent: &'static str) -> Response {
    let not_emitted = |reason: &str| json!({"success": true, "emitted": false, "reason": reason});
    let answer = match told {
        Ok(Told::Emitted(true)) => json!({"success": true, "emitted": true}),
        Ok(Told::Emitted(false)) => not_emitted(absent),
        Ok(Told::Refused { refusal, state }) => {
            let mut answer = not_emitted(match refusal {
                Refusal::NotAParticipant => "Not a participant of this call",
                Refusal::AnsweredElsewhere => "Answered elsewhere",
                Refusal::InvalidState | Refusal::Over | Refusal::NotDue => "Call ended",
            });
            answer["state"] = state.into();
            answer
        }
        Err(Failure::NotFound) => not_emitted("Call not found"),
        Err(Failure::Refused { .. }) => not_emitted("Call ended"),
        Err(Failure::Unavailable | Failure::TooManyRings { .. }) => return unavailable(),
    };
    Json(answer).into_response()
}
