//! The call inspector on the admin port: nodes, live calls, people, and why a phone did not ring. Reads only; off unless
//! `INSPECTOR` is `on`, since it names users.

mod ask;
mod course;
mod nodes;
mod people;
mod shared;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::body::{self, Segment, Unread};
use super::schema::CallRecord;
use super::standing::Readiness;
use super::{calls, error, page, peers, unavailable};
use crate::call::{Call, CallId, Milestone, why};
use crate::signaling::{Failure, Signaling};

pub use ask::{AskError, ask_about};
use shared::Inspector;

const FILES: [(&str, &str, &str); 4] = [
    ("/inspector/style.css", "text/css", include_str!("../../../web/style.css")),
    ("/inspector/inspector.css", "text/css", include_str!("../../../web/inspector.css")),
    ("/inspector/inspector.js", "text/javascript", include_str!("../../../web/inspector.js")),
    ("/inspector/sequence.js", "text/javascript", include_str!("../../../web/sequence.js")),
];

/// Questions only: there is no other method.
pub fn inspector_router(signaling: Arc<Signaling>, readiness: Readiness) -> Router {
    let html = || page::file("text/html; charset=utf-8", include_str!("../../../web/inspector.html"));
    let router = Router::new()
        .route("/inspector", get(async move || html()))
        .route("/inspector/node", get(nodes::own))
        .route("/inspector/nodes", get(nodes::all))
        .route("/inspector/calls", get(live))
        .route("/inspector/calls/{callId}", get(show))
        .route("/inspector/text/{callId}", get(text))
        .route("/inspector/users/{userId}", get(people::show))
        .route("/inspector/find/{text}", get(find));
    let router = FILES
        .into_iter()
        .fold(router, |router, (path, kind, text)| router.route(path, get(async move || page::file(kind, text))));
    router.with_state(Arc::new(Inspector { signaling, readiness, client: peers::client() }))
}

/// Why a phone did not ring, or what became of it.
#[derive(Serialize)]
struct Answer {
    cause: &'static str,
    sentence: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    record: CallRecord,
    why: Answer,
    course: Vec<course::Step>,
}

/// The words of phones stay out: who looks here needs none.
fn shown(call: &Call, timeline: &[Milestone], signaling: &Signaling) -> Shown {
    let found = why(call, timeline, signaling.clock().now());
    Shown {
        record: CallRecord { text: None, ..calls::record(call, timeline) },
        why: Answer { cause: found.cause.name(), sentence: found.sentence },
        course: course::steps(call, timeline),
    }
}

async fn found(
    inspector: &Inspector,
    id: Segment,
    answer: impl FnOnce(&Call, &[Milestone]) -> Response,
) -> Result<Response, Unread> {
    Ok(match inspector.signaling.backend.history(&body::call(id)?).await {
        Ok((call, timeline)) => answer(&call, &timeline),
        Err(Failure::NotFound) => error(StatusCode::NOT_FOUND, "Call not found", "call_not_found"),
        Err(Failure::Unavailable | Failure::Refused { .. } | Failure::RateLimited { .. }) => unavailable(),
    })
}

async fn show(State(inspector): State<Arc<Inspector>>, id: Segment) -> Result<Response, Unread> {
    found(&inspector, id, |call, timeline| Json(shown(call, timeline, &inspector.signaling)).into_response()).await
}

/// The same for a terminal.
async fn text(State(inspector): State<Arc<Inspector>>, id: Segment) -> Result<Response, Unread> {
    let now = inspector.signaling.clock().now();
    found(&inspector, id, |call, timeline| {
        let text = course::text(call, timeline, now);
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
    })
    .await
}

/// What there is of this name: a call, a user, both or neither.
#[derive(Serialize)]
struct Found {
    call: Option<Shown>,
    user: Option<people::Shown>,
}

async fn find(State(inspector): State<Arc<Inspector>>, text: Segment) -> Result<Response, Unread> {
    let signaling = &inspector.signaling;
    let (user, text) = body::user(text)?;
    // A name of one of the backend's routes is no call's.
    let call = match CallId::parse(&text) {
        Ok(id) => signaling.backend.history(&id).await,
        Err(_) => Err(Failure::NotFound),
    };
    let call = match call {
        Ok((call, timeline)) => Some(shown(&call, &timeline, signaling)),
        Err(Failure::NotFound) => None,
        Err(_) => return Ok(unavailable()),
    };
    let Ok(person) = signaling.inspection.person(&user).await else { return Ok(unavailable()) };
    let user = Some(people::shown(&user, &person)).filter(people::Shown::is_known);
    Ok(Json(Found { call, user }).into_response())
}

#[derive(Deserialize)]
struct From {
    cursor: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Live {
    total: u64,
    calls: Vec<CallRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Live calls, some at once.
async fn live(
    State(inspector): State<Arc<Inspector>>,
    asked: Result<Query<From>, QueryRejection>,
) -> Result<Response, Unread> {
    let Query(From { cursor }) = asked.map_err(|_| Unread::Invalid("cursor must be a nextCursor".into()))?;
    Ok(match inspector.signaling.inspection.live_page(cursor.unwrap_or(0)).await {
        Ok(page) => {
            let calls = page.calls.iter().map(|call| calls::record(call, &[])).collect();
            // As a text: a script's numbers end at 53 bits.
            Json(Live { total: page.total, calls, next_cursor: page.next.map(|next| next.to_string()) }).into_response()
        }
        Err(_) => unavailable(),
    })
}
