//! `onlycare-signaling call <id>`: asks a running node.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};

use super::super::peers;
use crate::call::{CallId, InvalidId};

/// Longer than a node waits for its store.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("the id of a call {0}")]
    Id(#[from] InvalidId),
    #[error("{0} is no address of an admin port, as http://127.0.0.1:9001 is")]
    Address(String),
    #[error("no node answers at {0}: name its admin port behind the id")]
    Nobody(String),
    #[error("no such call, or it ended more than ENDED_TTL_SECS ago")]
    NoCall,
    #[error("the node at {0} does not show calls: set INSPECTOR=on")]
    Off(String),
    #[error("the node at {0} can't answer now (HTTP {1})")]
    Refused(String, u16),
}

/// What the node with this admin port says of a call, for a terminal.
pub async fn ask_about(admin: &str, id: &str) -> Result<String, AskError> {
    let id = CallId::parse(id)?;
    let base = admin.trim_end_matches('/');
    let request = Request::get(format!("{base}/inspector/text/{id}")).body(Body::empty());
    let request = request.map_err(|_| AskError::Address(base.into()))?;
    if request.uri().scheme_str() != Some("http") || request.uri().authority().is_none() {
        return Err(AskError::Address(base.into()));
    }
    let nobody = || AskError::Nobody(base.into());
    let answer = async {
        let response = peers::client().request(request).await.map_err(|_| nobody())?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), MOST_BYTES).await.map_err(|_| nobody())?;
        Ok::<_, AskError>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    match tokio::time::timeout(PATIENCE, answer).await.map_err(|_| nobody())?? {
        (StatusCode::OK, text) => Ok(text),
        (StatusCode::NOT_FOUND, body) if body.contains("call_not_found") => Err(AskError::NoCall),
        (StatusCode::NOT_FOUND, _) => Err(AskError::Off(base.into())),
        (status, _) => Err(AskError::Refused(base.into(), status.as_u16())),
    }
}
