//! `/api/calls`: Laravel rings somebody, and asks what became of it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::body::{self, Body, Segment, Unread};
use super::schema::{CallRecord, Guarded, InitiateAnswer, InitiateRequest, Problem, TimelineEntry};
use super::{Api, error, traced, unavailable};
use crate::call::{Call, Device, Milestone, Role, Timestamp, UNNAMED, UserId, events_so_far};
use crate::signaling::{Failure, Initiate};
use crate::telemetry::trace;
use crate::wire::acks::{failed, initiated, outcome};
use crate::wire::read_initiate;

/// Ring the callee at once
///
/// Does not wait for the caller's socket. Answered like a phone's `call:initiate`: a decision against the ring is an
/// answer, not an error. Asking again with the same `callId` changes nothing.
#[utoipa::path(post, path = "/api/calls", operation_id = "ringCall", tag = "calls", request_body = InitiateRequest, responses(
    (status = 200, description = "What was decided", body = InitiateAnswer),
    (status = 400, description = "A field is missing or of no use", body = Problem),
    (status = 503, description = "The store does not answer: ask again with the same id", body = Problem),
    Guarded,
))]
pub(super) async fn initiate(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Unread> {
    let (caller, request) = read(&body)?;
    let id = request.id.clone();
    Ok(traced(&api, "POST /api/calls", &id, Some(&caller), ring(&api, &caller, request)).await)
}

async fn ring(api: &Api, caller: &UserId, request: Initiate) -> Response {
    let wire_id = request.wire_id.clone();
    let answer = match api.signaling.backend.initiate(caller, request).await {
        Ok(answer) => initiated(&wire_id, &answer),
        Err(failure @ Failure::Unavailable) => {
            trace::note("outcome", || failure.code().name());
            return unavailable();
        }
        Err(refused) => failed(&refused).body,
    };
    trace::note("outcome", || outcome(&answer));
    Json(answer).into_response()
}

fn read(body: &Body) -> Result<(UserId, Initiate), Unread> {
    let mut fields = body::fields(body)?;
    let caller = fields.user("callerId")?;
    let name = fields.optional_name("callerName")?.unwrap_or_else(|| UNNAMED.into());
    let ring_timeout = fields.take_ring_timeout()?;
    let request = read_initiate(fields, &caller, &name)?;
    Ok((caller, Initiate { ring_timeout, ..request }))
}

/// A call with its timeline
///
/// Known while it lives and for some minutes after. Why did this phone not ring? The timeline says whether the callee
/// had a session, which device on which node was handed the call, which confirmed it, and who answered.
#[utoipa::path(get, path = "/api/calls/{callId}", operation_id = "getCall", tag = "calls",
    params(("callId" = String, Path, description = "With or without `CALL_`", pattern = "^[A-Za-z0-9_.:-]{1,64}$")),
    responses(
        (status = 200, description = "The call as it stands", body = CallRecord),
        (status = 400, description = "No id of a call", body = Problem),
        (status = 401, description = "No secret, or a wrong one", body = Problem),
        (status = 404, description = "No such call, or ended long ago", body = Problem),
        (status = 429, description = "Too many requests from this address", body = Problem),
        (status = 503, description = "The store does not answer", body = Problem),
    ))]
pub(super) async fn show(State(api): State<Arc<Api>>, id: Segment) -> Result<Response, Unread> {
    Ok(match api.signaling.backend.history(&body::call(id)?).await {
        Ok((call, timeline)) => Json(record(&call, &timeline)).into_response(),
        Err(Failure::NotFound) => error(StatusCode::NOT_FOUND, "Call not found", "call_not_found"),
        Err(Failure::Unavailable | Failure::Refused { .. } | Failure::RateLimited { .. }) => unavailable(),
    })
}

pub(super) fn record(call: &Call, timeline: &[Milestone]) -> CallRecord {
    let end = call.end();
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    CallRecord {
        call_id: call.wire_id.clone(),
        seq: events_so_far(call).last().map_or(1, |event| event.seq),
        state: call.state.name(),
        caller_id: call.caller.user.to_string(),
        receiver_id: call.callee.user.to_string(),
        call_type: call.call_type.clone(),
        created_at: call.created_at.as_millis(),
        expires_at: call.is_ringing().then(|| call.ring_until.as_millis()),
        ringing_at: call.rang_at.map(Timestamp::as_millis),
        accepted_at: call.accepted_at().map(Timestamp::as_millis),
        ended_at: end.map(|end| end.at.as_millis()),
        duration_ms: call.duration().map(millis),
        talk_ms: call.talk().map(millis),
        talk_ms_by_type: Some(call.talk_shown()).filter(|times| !times.is_empty()),
        ring_ms: call.ring_time().map(millis),
        confirm_ms: call.time_to_confirm().map(millis),
        caller_reconnects: some(call.caller.reconnects),
        caller_away_ms: some(millis(call.time_away(Role::Caller))),
        receiver_reconnects: some(call.callee.reconnects),
        receiver_away_ms: some(millis(call.time_away(Role::Callee))),
        absent_since: call.absent_since().map(Timestamp::as_millis),
        reason: end.map(|end| end.reason.name()),
        text: end.and_then(|end| end.text.clone()),
        ended_by: call.ended_by().map(ToString::to_string),
        timeline: timeline.iter().map(|milestone| entry(call, milestone)).collect(),
    }
}

fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn entry(call: &Call, milestone: &Milestone) -> TimelineEntry {
    TimelineEntry {
        at: milestone.at.as_millis(),
        what: milestone.what.name(),
        user_id: milestone.party.map(|party| call.party(party).user.to_string()),
        device: named(&milestone.device),
        node: milestone.node.as_ref().map(ToString::to_string),
        reason: milestone.reason.clone(),
    }
}

/// The name that a phone gave its device, if it gave one.
pub(super) fn named(device: &Device) -> Option<String> {
    match device {
        Device::Named(device) => Some(device.to_string()),
        Device::Unknown | Device::Unnamed | Device::Other(_) => None,
    }
}
