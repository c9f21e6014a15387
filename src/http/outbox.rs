//! Operators look at what could not be delivered, and have it sent again.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::admin::Admin;
use super::{error, unavailable};
use crate::call::{CallId, Timestamp};
use crate::signaling::{Replayed, Which};

const LISTED: usize = 200;

/// The newest dead letters.
pub(super) async fn dead(State(admin): State<Arc<Admin>>) -> Response {
    match admin.signaling.operators.dead_letters(LISTED).await {
        Ok(dead) => {
            let letters: Vec<Value> = dead
                .into_iter()
                .map(|dead| {
                    // A webhook's body is JSON; it is shown as such.
                    let body = serde_json::from_str(&dead.letter.body).unwrap_or(Value::String(dead.letter.body));
                    json!({
                        "id": dead.letter.id,
                        "call": dead.letter.call,
                        "queue": dead.letter.queue,
                        "writtenAt": dead.letter.at,
                        "diedAt": dead.died_at,
                        "attempts": dead.attempts,
                        "error": dead.error,
                        "body": hide_token(body),
                    })
                })
                .collect();
            Json(json!({"dead": letters})).into_response()
        }
        Err(_) => unavailable(),
    }
}

/// Sends dead letters again: `{"id": …}`, `{"call": …}` or `{"since": milliseconds}`. `more` says that this was not all.
pub(super) async fn replay(State(admin): State<Arc<Admin>>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = body["call"].as_str().and_then(|call| CallId::parse(call).ok());
    let which = match (body["id"].as_str(), call, body["since"].as_u64()) {
        (Some(id), None, None) => Which::Id(id.to_owned()),
        (None, Some(call), None) => Which::Call(call),
        (None, None, Some(since)) => Which::Since(Timestamp::from_millis(since)),
        _ => return error(StatusCode::BAD_REQUEST, "give one of id, call, since", "invalid_payload"),
    };
    match admin.signaling.operators.replay_letters(&which).await {
        Ok(Replayed { letters, more: true }) => Json(json!({"replayed": letters, "more": true})).into_response(),
        Ok(Replayed { letters, more: false }) => Json(json!({"replayed": letters})).into_response(),
        Err(_) => unavailable(),
    }
}

/// Webhooks are wanted again after a 410.
pub(super) async fn on(State(admin): State<Arc<Admin>>) -> Response {
    match admin.signaling.operators.webhooks_on().await {
        Ok(()) => Json(json!({"success": true})).into_response(),
        Err(_) => unavailable(),
    }
}

/// The media token is nobody's to read.
fn hide_token(mut body: Value) -> Value {
    if let Some(token) = body.pointer_mut("/data/agoraToken") {
        *token = "***".into();
    }
    body
}
