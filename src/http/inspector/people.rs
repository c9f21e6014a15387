use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::body::{self, Segment, Unread};
use super::super::schema::CallRecord;
use super::super::{calls, unavailable};
use super::shared::Inspector;
use crate::call::UserId;
use crate::signaling::Person;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    user_id: String,
    sessions: Vec<Session>,
    /// What makes him busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallRecord>,
    /// He is busy, with a call that this version can't read.
    unreadable: bool,
    /// His last ended calls, newest first.
    ended: Vec<Ended>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    acks: bool,
    connected_at: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    call_id: String,
    reason: String,
    ended_at: u64,
}

impl Shown {
    pub(super) fn is_known(&self) -> bool {
        !self.sessions.is_empty() || !self.ended.is_empty() || self.call.is_some() || self.unreadable
    }
}

pub(super) fn shown(user: &UserId, person: &Person) -> Shown {
    let session = |session: &crate::signaling::SessionRecord| Session {
        node: session.node.to_string(),
        device: calls::named(&session.device),
        acks: session.acks,
        connected_at: session.connected_at.as_millis(),
    };
    let ended = |outcome: &crate::signaling::CallOutcome| Ended {
        call_id: outcome.wire_id.clone(),
        reason: outcome.reason.clone(),
        ended_at: outcome.ended_at.as_millis(),
    };
    Shown {
        user_id: user.to_string(),
        sessions: person.sessions.iter().map(session).collect(),
        call: person.line.as_ref().map(|call| calls::record(call, &[])),
        unreadable: person.taken,
        ended: person.outcomes.iter().map(ended).collect(),
    }
}

/// A user's sessions and calls; of one who was never heard of there are none.
pub(super) async fn show(State(inspector): State<Arc<Inspector>>, user: Segment) -> Result<Response, Unread> {
    let (user, _) = body::user(user)?;
    Ok(match inspector.signaling.inspection.person(&user).await {
        Ok(person) => Json(shown(&user, &person)).into_response(),
        Err(_) => unavailable(),
    })
}
