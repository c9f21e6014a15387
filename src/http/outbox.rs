//! Operators look at what could not be delivered, and have it sent again.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::admin::Admin;
use super::schema::{DeadLetters, Done, Problem, ReplayAnswer, ReplayRequest};
use super::{error, unavailable};
use crate::call::{CallId, Timestamp};
use crate::signaling::{Replayed, Which};
use crate::wire::read_json;

const LISTED: usize = 200;

/// The newest dead letters
///
/// What was given up after all attempts, or can't be sent at all: 200 at most, without media tokens.
#[utoipa::path(get, path = "/outbox/dead", operation_id = "listDeadLetters", tag = "operations", security(()), responses(
    (status = 200, description = "Newest first", body = DeadLetters),
    (status = 405, description = "Not asked with GET", body = Problem),
    (status = 503, description = "The store does not answer", body = Problem),
))]
pub(super) async fn dead(State(admin): State<Arc<Admin>>) -> Response {
    match admin.signaling.operators.dead_letters(LISTED).await {
        Ok(dead) => {
            let messages: Vec<Value> = dead
                .into_iter()
                .map(|dead| {
                    // A webhook's body is JSON; it is shown as such.
                    let body = serde_json::from_str(&dead.message.body).unwrap_or(Value::String(dead.message.body));
                    json!({
                        "id": dead.message.id,
                        "call": dead.message.call,
                        "queue": dead.message.queue,
                        "writtenAt": dead.message.at,
                        "diedAt": dead.died_at,
                        "attempts": dead.attempts,
                        "error": dead.error,
                        "body": hide_token(body),
                    })
                })
                .collect();
            Json(json!({"dead": messages})).into_response()
        }
        Err(_) => unavailable(),
    }
}

/// Send dead letters again
///
/// One, those of a call, or all that died since a time.
#[utoipa::path(post, path = "/outbox/replay", operation_id = "replayDeadLetters", tag = "operations", security(()),
    request_body = ReplayRequest, responses(
    (status = 200, description = "They are due", body = ReplayAnswer),
    (status = 400, description = "Not one of `id`, `call` and `since`", body = Problem),
    (status = 405, description = "Not asked with POST", body = Problem),
    (status = 413, description = "The body is too large", body = String, content_type = "text/plain"),
    (status = 503, description = "The store does not answer", body = Problem),
))]
pub(super) async fn replay(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let body: Value = read_json(&body, 1).unwrap_or_default();
    let call = body["call"].as_str().and_then(|call| CallId::parse(call).ok());
    let which = match (body["id"].as_str(), call, whole(&body["since"])) {
        (Some(id), None, None) => Which::Id(id.to_owned()),
        (None, Some(call), None) => Which::Call(call),
        (None, None, Some(since)) => Which::Since(Timestamp::from_millis(since)),
        _ => return error(StatusCode::BAD_REQUEST, "give one of id, call, since", "invalid_payload"),
    };
    match admin.signaling.operators.replay_dead_letters(&which).await {
        Ok(Replayed { messages, more: true }) => Json(json!({"replayed": messages, "more": true})).into_response(),
        Ok(Replayed { messages, more: false }) => Json(json!({"replayed": messages})).into_response(),
        Err(_) => unavailable(),
    }
}

/// Webhooks are wanted again after a 410
///
/// What was kept meanwhile is sent.
#[utoipa::path(post, path = "/outbox/on", operation_id = "switchWebhooksOn", tag = "operations", security(()), responses(
    (status = 200, description = "They are sent again, by all nodes", body = Done),
    (status = 405, description = "Not asked with POST", body = Problem),
    (status = 503, description = "The store does not answer", body = Problem),
))]
pub(super) async fn on(State(admin): State<Arc<Admin>>) -> Response {
    match admin.signaling.operators.webhooks_on().await {
        Ok(()) => Json(json!({"success": true})).into_response(),
        Err(_) => unavailable(),
    }
}

/// A whole number, however it is written, that every JSON library can hold.
fn whole(value: &Value) -> Option<u64> {
    const MOST: f64 = 9_007_199_254_740_991.0;
    value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=MOST).contains(number)).map(|number| number as u64)
}

/// The media token is nobody's to read.
fn hide_token(mut body: Value) -> Value {
    if let Some(token) = body.pointer_mut("/data/agoraToken") {
        *token = "***".into();
    }
    body
}
