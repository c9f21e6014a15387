//! `/api/emit/…`: Laravel's commands about a call, a transition each.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body::{Body, Unread, fields};
use super::schema::{AcceptedRequest, CancelledRequest, EndedRequest, Guarded, Judged, RejectedRequest};
use super::{Api, traced, unavailable};
use crate::call::{CallId, Device, Refusal, UserId};
use crate::fault_injection::{self, Bug};
use crate::signaling::{BackendCommand, CommandAnswer, CommandOutcome, Failure};
use crate::telemetry::trace;
use crate::wire::Fields;

const CALLER_ABSENT: &str = "Caller not connected";
const USER_ABSENT: &str = "User not connected";

/// The callee accepted over REST
///
/// A call that was never initiated here becomes active.
#[utoipa::path(post, path = "/api/emit/call-accepted", operation_id = "reportCallAccepted", tag = "transitions",
    request_body = AcceptedRequest, responses(Judged, Guarded))]
pub(super) async fn accepted(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Unread> {
    let fields = fields(&body)?;
    let ((id, wire_id), caller, receiver) = parties(&fields)?;
    let device = fields.optional_text("deviceId").and_then(Device::named);
    let command = BackendCommand::Accepted { wire_id, caller, receiver: receiver.clone(), device };
    let answer = api.signaling.backend.obey(&id, command);
    Ok(traced(&api, "POST /api/emit/call-accepted", &id, Some(&receiver), respond(answer, CALLER_ABSENT)).await)
}

/// The caller cancelled over REST
///
/// Kept for a call that is not initiated yet.
#[utoipa::path(post, path = "/api/emit/call-cancelled", operation_id = "reportCallCancelled", tag = "transitions",
    request_body = CancelledRequest, responses(Judged, Guarded))]
pub(super) async fn cancelled(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Unread> {
    let fields = fields(&body)?;
    let ((id, wire_id), receiver) = (fields.call_id()?, fields.user("receiverId")?);
    let answer =
        api.signaling.backend.obey(&id, BackendCommand::Cancelled { wire_id, receiver, reason: fields.reason() });
    Ok(traced(&api, "POST /api/emit/call-cancelled", &id, None, respond(answer, USER_ABSENT)).await)
}

/// The callee rejected over REST
///
/// Recorded for a call that is not initiated yet.
#[utoipa::path(post, path = "/api/emit/call-rejected", operation_id = "reportCallRejected", tag = "transitions",
    request_body = RejectedRequest, responses(Judged, Guarded))]
pub(super) async fn rejected(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Unread> {
    let fields = fields(&body)?;
    let ((id, wire_id), caller, receiver) = parties(&fields)?;
    let command = BackendCommand::Rejected { wire_id, caller, receiver: receiver.clone(), reason: fields.reason() };
    let answer = api.signaling.backend.obey(&id, command);
    Ok(traced(&api, "POST /api/emit/call-rejected", &id, Some(&receiver), respond(answer, CALLER_ABSENT)).await)
}

/// The call ended over REST
///
/// By one party, or by nobody in particular.
#[utoipa::path(post, path = "/api/emit/call-ended", operation_id = "reportCallEnded", tag = "transitions",
    request_body = EndedRequest, responses(Judged, Guarded))]
pub(super) async fn ended(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Unread> {
    let fields = fields(&body)?;
    let ((id, _), ended_by) = (fields.call_id()?, fields.optional_user("endedBy"));
    let answer =
        api.signaling.backend.obey(&id, BackendCommand::Ended { by: ended_by.clone(), reason: fields.reason() });
    Ok(traced(&api, "POST /api/emit/call-ended", &id, ended_by.as_ref(), respond(answer, USER_ABSENT)).await)
}

/// The call with its spelling, its caller and its callee.
fn parties(fields: &Fields) -> Result<((CallId, String), UserId, UserId), Unread> {
    let (call, caller, receiver) = (fields.call_id()?, fields.user("callerId")?, fields.user("receiverId")?);
    if caller == receiver {
        return Err(Unread::Invalid("callerId and receiverId must differ".into()));
    }
    Ok((call, caller, receiver))
}

async fn respond(answer: impl Future<Output = CommandOutcome>, absent: &'static str) -> Response {
    if fault_injection::is_on(Bug::DropOnDisconnect) {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let answer = answer.await;
    trace::note("outcome", || match &answer {
        Ok(CommandAnswer::Emitted(true)) => "ok",
        Ok(CommandAnswer::Emitted(false)) => "offline",
        Ok(CommandAnswer::Refused { .. }) => "refused",
        Err(failure) => failure.code().name(),
    });
    let not_emitted = |reason: &str| json!({"success": true, "emitted": false, "reason": reason});
    let answer = match answer {
        Ok(CommandAnswer::Emitted(true)) => json!({"success": true, "emitted": true}),
        Ok(CommandAnswer::Emitted(false)) => not_emitted(absent),
        Ok(CommandAnswer::Refused { refusal, state }) => {
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
        Err(Failure::Unavailable | Failure::RateLimited { .. }) => return unavailable(),
    };
    Json(answer).into_response()
}
