use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Api, error, unavailable};
use crate::call::UserId;

/// `{userId, isOnline, socketId}`. A text that can be no user's id names nobody.
pub(super) async fn online(State(api): State<Arc<Api>>, Path(text): Path<String>) -> Response {
    let Ok(user) = UserId::parse(&text) else {
        return error(
            StatusCode::BAD_REQUEST,
            "userId must be 1 to 64 characters of A-Z a-z 0-9 _ . : -",
            "invalid_payload",
        );
    };
    match api.signaling.session_id(&user).await {
        Ok(session) => {
            let online = session.is_some();
            let socket_id = session.map_or(Value::Null, Value::String);
            Json(json!({"userId": text, "isOnline": online, "socketId": socket_id})).into_response()
        }
        Err(_) => unavailable(),
    }
}

/// `{count, users}` of the whole cluster.
pub(super) async fn connected_users(State(api): State<Arc<Api>>) -> Response {
    match api.signaling.connected_users().await {
        Ok(users) => Json(json!({"count": users.len(), "users": users})).into_response(),
        Err(_) => unavailable(),
    }
}
