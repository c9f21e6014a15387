//! What a request brings, read without believing any of it.

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::error;
use crate::call::{CallId, UserId};
use crate::socket::{FieldError, Fields, read_json};

/// The body of a request, of whatever content type: what counts is whether it is JSON.
pub(super) type Body = Result<Bytes, BytesRejection>;
pub(super) type Segment = Result<Path<String>, PathRejection>;

const NO_USER: &str = "userId must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";
const NO_CALL: &str = "callId must be 1 to 64 characters of A-Z a-z 0-9 _ . : -";

/// Why a request was not understood.
pub(super) enum Unread {
    TooLarge,
    Invalid(String),
}

impl From<FieldError> for Unread {
    fn from(invalid: FieldError) -> Self {
        Unread::Invalid(invalid.to_string())
    }
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        match self {
            Unread::TooLarge => {
                error(StatusCode::PAYLOAD_TOO_LARGE, "Body is larger than 256 KiB", "payload_too_large")
            }
            Unread::Invalid(text) => error(StatusCode::BAD_REQUEST, &text, "invalid_payload"),
        }
    }
}

/// Before some backends' JSON.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

pub(super) fn fields(body: &Body) -> Result<Fields, Unread> {
    match body {
        Ok(body) => {
            let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
            Ok(Fields::new(read_json(text, 1))?)
        }
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Unread::TooLarge),
        Err(_) => Err(FieldError::NoObject.into()),
    }
}

/// The user that the path names, and how it spells him.
pub(super) fn user(segment: Segment) -> Result<(UserId, String), Unread> {
    let invalid = || Unread::Invalid(NO_USER.into());
    let Path(text) = segment.map_err(|_| invalid())?;
    Ok((UserId::parse(&text).map_err(|_| invalid())?, text))
}

pub(super) fn call(segment: Segment) -> Result<CallId, Unread> {
    let invalid = || Unread::Invalid(NO_CALL.into());
    let Path(text) = segment.map_err(|_| invalid())?;
    CallId::parse(&text).map_err(|_| invalid())
}
