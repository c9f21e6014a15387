use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, Segment, Unread};
use super::schema::{ConnectedUsers, Online, Problem};
use super::{Api, unavailable};
use crate::call::UserId;
use crate::signaling::Page;

/// Users on a page.
const PAGE_LIMIT: usize = 1000;

/// Is this user online?
#[utoipa::path(get, path = "/api/users/{userId}/online", operation_id = "isOnline", tag = "users",
    params(("userId" = String, Path, pattern = "^[A-Za-z0-9_.:-]{1,64}$")),
    security((), ("secret" = [])),
    responses(
        (status = 200, description = "Whether some device of his is connected", body = Online),
        (status = 400, description = "No id of a user", body = Problem),
        (status = 401, description = "No secret, and `OPEN_QUERIES` does not let this peer ask without", body = Problem),
        (status = 429, description = "Too many requests from this address", body = Problem),
        (status = 503, description = "The store does not answer", body = Problem),
    ))]
pub(super) async fn online(State(api): State<Arc<Api>>, user: Segment) -> Result<Response, Unread> {
    let (user, text) = body::user(user)?;
    Ok(match api.signaling.backend.session_id(&user).await {
        Ok(session) => {
            let online = session.is_some();
            let socket_id = session.map_or(Value::Null, Value::String);
            Json(json!({"userId": text, "isOnline": online, "socketId": socket_id})).into_response()
        }
        Err(_) => unavailable(),
    })
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// All users of the cluster
///
/// Without `limit` and `cursor` the whole list.
#[utoipa::path(get, path = "/api/connected-users", operation_id = "listConnectedUsers", tag = "users",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before", pattern = "^(6[0-3]|[1-5]?[0-9])[.][A-Za-z0-9_.:-]{1,64}$"),
    ),
    security((), ("secret" = [])),
    responses(
        (status = 200, description = "Users with a session", body = ConnectedUsers),
        (status = 400, description = "No limit from 1 to 1000, or a cursor that no page gave", body = Problem),
        (status = 401, description = "No secret, and `OPEN_QUERIES` does not let this peer ask without", body = Problem),
        (status = 429, description = "Too many requests from this address", body = Problem),
        (status = 503, description = "The store does not answer", body = Problem),
    ))]
pub(super) async fn connected_users(
    State(api): State<Arc<Api>>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Unread> {
    let (limit, after) = read(query)?;
    let Some(limit) = limit else {
        return Ok(match api.signaling.backend.connected_users().await {
            Ok(users) => Json(json!({"count": users.len(), "users": users})).into_response(),
            Err(_) => unavailable(),
        });
    };
    let Ok((count, users, next)) = api.signaling.backend.connected_page(after.as_ref(), limit).await else {
        return Ok(unavailable());
    };
    let mut answer = json!({"count": count, "users": users});
    if let Some(next) = next {
        answer["nextCursor"] = format!("{}.{}", next.shard, next.user).into();
    }
    Ok(Json(answer).into_response())
}

/// The limit, absent where the whole list is wanted, and the place to go on.
fn read(query: Result<Query<PageQuery>, QueryRejection>) -> Result<(Option<usize>, Option<Page>), Unread> {
    let no_limit = || Unread::Invalid(format!("limit must be a whole number from 1 to {PAGE_LIMIT}"));
    let Query(PageQuery { limit, cursor }) = query.map_err(|_| no_limit())?;
    if limit.is_some_and(|limit| !(1..=PAGE_LIMIT).contains(&limit)) {
        return Err(no_limit());
    }
    let page = |text: String| {
        let (shard, user) = text.split_once('.')?;
        Some(Page { shard: shard.parse().ok()?, user: UserId::parse(user).ok()? })
    };
    let after = match cursor.map(page) {
        Some(None) => return Err(Unread::Invalid("cursor must be a nextCursor".into())),
        Some(after) => after,
        None => None,
    };
    Ok((limit.or(after.as_ref().map(|_| PAGE_LIMIT)), after))
}
