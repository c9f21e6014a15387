//! `/api/emit/…`: Laravel's word about a call, a transition each.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body::{Body, Unread, fields};
use super::schema::{AcceptedRequest, CancelledRequest, EmitAnswer, EndedRequest, Problem, RejectedRequest};
use super::{Api, error, traced, unavailable};
use crate::call::{Device, Refusal};
use crate::signaling::{Failure, Told, WordOutcome};
use crate::telemetry::trace;

const CALLER_ABSENT: &str = "Caller not connected";
const USER_ABSENT: &str = "User not connected";

/// The callee accepted over REST
///
/// A call that was never initiated here becomes active.
#[utoipa::path(post, path = "/api/emit/call-accepted", tag = "transitions", request_body = AcceptedRequest, responses(
    (status = 200, description = "Done, repeated or refused", body = EmitAnswer),
    (status = 400, description = "A field is missing or of no use", body = Problem),
    (status = 401, description = "No secret, or a wrong one", body = Problem),
    (status = 413, description = "The body is too large", body = Problem),
    (status = 429, description = "Too many requests from this address", body = Problem),
    (status = 503, description = "The store does not answer: kept, and tried again for a minute", body = Problem),
))]
pub(super) async fn accepted(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        let device = fields.optional_text("deviceId").map(|device| Device::Named(device.into()));
        Ok::<_, Unread>((fields.call_id()?, fields.user("callerId")?, fields.user("receiverId")?, device))
    };
    match read() {
        Ok::<_, Unread>((_, caller, receiver, _)) if caller == receiver => same_user(),
        Ok::<_, Unread>(((id, spelled), caller, receiver, device)) => {
            let told = api.signaling.word_accepted(&id, &spelled, &caller, &receiver, device);
            traced(&api, "POST /api/emit/call-accepted", &id, Some(&receiver), respond(told, CALLER_ABSENT)).await
        }
        Err(unread) => unread.into_response(),
    }
}

/// The caller cancelled over REST
///
/// Kept for a call that is not initiated yet.
#[utoipa::path(post, path = "/api/emit/call-cancelled", tag = "transitions", request_body = CancelledRequest, responses(
    (status = 200, description = "Done, repeated or refused", body = EmitAnswer),
    (status = 400, description = "A field is missing or of no use", body = Problem),
    (status = 401, description = "No secret, or a wrong one", body = Problem),
    (status = 413, description = "The body is too large", body = Problem),
    (status = 429, description = "Too many requests from this address", body = Problem),
    (status = 503, description = "The store does not answer: kept, and tried again for a minute", body = Problem),
))]
pub(super) async fn cancelled(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        Ok::<_, Unread>((fields.call_id()?, fields.user("receiverId")?, fields.reason()))
    };
    match read() {
        Ok::<_, Unread>(((id, spelled), receiver, reason)) => {
            let told = api.signaling.word_cancelled(&id, &spelled, &receiver, reason);
            traced(&api, "POST /api/emit/call-cancelled", &id, None, respond(told, USER_ABSENT)).await
        }
        Err(unread) => unread.into_response(),
    }
}

/// The callee rejected over REST
///
/// Recorded for a call that is not initiated yet.
#[utoipa::path(post, path = "/api/emit/call-rejected", tag = "transitions", request_body = RejectedRequest, responses(
    (status = 200, description = "Done, repeated or refused", body = EmitAnswer),
    (status = 400, description = "A field is missing or of no use", body = Problem),
    (status = 401, description = "No secret, or a wrong one", body = Problem),
    (status = 413, description = "The body is too large", body = Problem),
    (status = 429, description = "Too many requests from this address", body = Problem),
    (status = 503, description = "The store does not answer: kept, and tried again for a minute", body = Problem),
))]
pub(super) async fn rejected(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        Ok::<_, Unread>((fields.call_id()?, fields.user("callerId")?, fields.user("receiverId")?, fields.reason()))
    };
    match read() {
        Ok::<_, Unread>((_, caller, receiver, _)) if caller == receiver => same_user(),
        Ok::<_, Unread>(((id, spelled), caller, receiver, reason)) => {
            let told = api.signaling.word_rejected(&id, &spelled, &caller, &receiver, reason);
            traced(&api, "POST /api/emit/call-rejected", &id, Some(&receiver), respond(told, CALLER_ABSENT)).await
        }
        Err(unread) => unread.into_response(),
    }
}

/// The call ended over REST
///
/// By one party, or by nobody in particular.
#[utoipa::path(post, path = "/api/emit/call-ended", tag = "transitions", request_body = EndedRequest, responses(
    (status = 200, description = "Done, repeated or refused", body = EmitAnswer),
    (status = 400, description = "A field is missing or of no use", body = Problem),
    (status = 401, description = "No secret, or a wrong one", body = Problem),
    (status = 413, description = "The body is too large", body = Problem),
    (status = 429, description = "Too many requests from this address", body = Problem),
    (status = 503, description = "The store does not answer: kept, and tried again for a minute", body = Problem),
))]
pub(super) async fn ended(State(api): State<Arc<Api>>, body: Body) -> Response {
    let read = || {
        let fields = fields(&body)?;
        Ok::<_, Unread>((fields.call_id()?, fields.optional_user("endedBy")?, fields.reason()))
    };
    match read() {
        Ok::<_, Unread>(((id, _), ended_by, reason)) => {
            let told = api.signaling.word_ended(&id, ended_by.as_ref(), reason);
            traced(&api, "POST /api/emit/call-ended", &id, ended_by.as_ref(), respond(told, USER_ABSENT)).await
        }
        Err(unread) => unread.into_response(),
    }
}

fn same_user() -> Response {
    error(StatusCode::BAD_REQUEST, "callerId and receiverId must differ", "invalid_payload")
}

async fn respond(told: impl Future<Output = WordOutcome>, absent: &'static str) -> Response {
    let told = told.await;
    trace::note("outcome", || match &told {
        Ok(Told::Emitted(true)) => "ok",
        Ok(Told::Emitted(false)) => "offline",
        Ok(Told::Refused { .. }) => "refused",
        Err(failure) => failure.code().name(),
    });
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
