//! `/api/users`: who is online, an event to somebody, somebody to be sent away.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::body::{self, Body, Segment, Unread};
use super::schema::{
    DisconnectAnswer, DisconnectRequest, EmitAnswer, EmitRequest, Guarded, OnlineManyAnswer, OnlineManyRequest, Problem,
};
use super::{Api, unavailable};
use crate::call::UserId;

/// Users asked about at once.
const USERS_AT_ONCE: usize = 1000;

/// Who of these is online
#[utoipa::path(post, path = "/api/users/online", operation_id = "whoIsOnline", tag = "users", request_body = OnlineManyRequest, responses(
    (status = 200, description = "By id, as it was asked for", body = OnlineManyAnswer),
    (status = 400, description = "No list, too many, or something that is no id", body = Problem),
    (status = 503, description = "The store does not answer", body = Problem),
    Guarded,
))]
pub(super) async fn online_many(State(api): State<Arc<Api>>, body: Body) -> Result<Response, Unread> {
    let users = body::fields(&body)?.users_with_wire_ids("userIds", USERS_AT_ONCE)?;
    let (texts, users): (Vec<String>, Vec<UserId>) = users.into_iter().unzip();
    let Ok(online) = api.signaling.backend.who_is_online(&users).await else { return Ok(unavailable()) };
    let users: Map<String, Value> = texts.into_iter().zip(online.into_iter().map(|(_, is)| is.into())).collect();
    Ok(Json(json!({ "users": users })).into_response())
}

/// An event of the application's own to every device of a user
#[utoipa::path(post, path = "/api/users/{userId}/emit", operation_id = "sendEvent", tag = "users", request_body = EmitRequest,
    params(("userId" = String, Path, pattern = "^[A-Za-z0-9_.:-]{1,64}$")),
    responses(
        (status = 200, description = "Handed to every session there is", body = EmitAnswer),
        (status = 400, description = "The name does not begin with `app:`, or the data is no object or too large", body = Problem),
        (status = 503, description = "The store does not answer", body = Problem),
        Guarded,
    ))]
pub(super) async fn emit(State(api): State<Arc<Api>>, user: Segment, body: Body) -> Result<Response, Unread> {
    let ((user, _), fields) = (body::user(user)?, body::fields(&body)?);
    let (event, data) = (fields.app_event()?, fields.app_data()?);
    Ok(match api.signaling.backend.send_to_user(&user, event, data).await {
        Ok(true) => Json(json!({"success": true, "emitted": true})).into_response(),
        Ok(false) => Json(json!({"success": true, "emitted": false, "reason": "User not connected"})).into_response(),
        Err(_) => unavailable(),
    })
}

/// Disconnect every device of a user for good
///
/// For a banned user or revoked tokens, after the backend no longer accepts them. His apps do not come back by
/// themselves, and whoever connects in his name is verified anew.
#[utoipa::path(post, path = "/api/users/{userId}/disconnect", operation_id = "disconnectUser", tag = "users", request_body = DisconnectRequest,
    params(("userId" = String, Path, pattern = "^[A-Za-z0-9_.:-]{1,64}$")),
    responses(
        (status = 200, description = "Sent away, or not here at all", body = DisconnectAnswer),
        (status = 400, description = "No id of a user, or no JSON object", body = Problem),
        (status = 503, description = "The store does not answer: ask again", body = Problem),
        Guarded,
    ))]
pub(super) async fn disconnect(State(api): State<Arc<Api>>, user: Segment, body: Body) -> Result<Response, Unread> {
    let ((user, _), reason) = (body::user(user)?, body::fields(&body)?.reason());
    // First what is remembered of him, so that nobody comes back by it.
    let (authenticate, whom) = (Arc::clone(&api.authenticate), user.clone());
    let forgetting = async move { authenticate.forget(&whom).await };
    let reason = reason.as_deref().unwrap_or_default();
    Ok(match api.signaling.backend.send_away(&user, reason, forgetting).await {
        (true, Ok(disconnected)) => Json(json!({"success": true, "disconnected": disconnected})).into_response(),
        (false, _) | (_, Err(_)) => unavailable(),
    })
}
