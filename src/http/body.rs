//! What a request brings, read without believing any of it.

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error;
use crate::call::{CallId, UserId};
use crate::wire::{FieldError, Fields, read_json};

/// The body of a request, of whatever content type: what counts is whether it is JSON.
pub(super) type Body = Result<Bytes, BytesRejection>;
pub(super) type Segment = Result<Path<String>, PathRejection>;

const NO_OBJECT: &str = "Body must be a JSON object, as {\"callId\": \"CALL_1\"}";
const NO_JSON: &str = "Body is no JSON that can be read: send a JSON object, as {\"callId\": \"CALL_1\"}";
const A_FORM: &str = "Body is a form: send JSON, with Content-Type: application/json";
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
            let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii();
            match read_json(text, 1) {
                // PHP writes an empty array as a list, and who has nothing to say may send nothing.
                Some(Value::Array(list)) if list.is_empty() => Ok(Fields::new(Some(json!({})))?),
                None if text.is_empty() => Ok(Fields::new(Some(json!({})))?),
                Some(Value::Object(fields)) => Ok(Fields::new(Some(Value::Object(fields)))?),
                Some(_) => Err(Unread::Invalid(NO_OBJECT.into())),
                None => Err(Unread::Invalid(if is_form(text) { A_FORM } else { NO_JSON }.into())),
            }
        }
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Unread::TooLarge),
        Err(_) => Err(FieldError::NoObject.into()),
    }
}

/// `a=b&c[]=d`, or parts between boundaries.
fn is_form(text: &[u8]) -> bool {
    let name = text.split(|byte| *byte == b'=').next().unwrap_or_default();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]%+".contains(byte);
    text.starts_with(b"--") || (name.len() < text.len() && !name.is_empty() && name.iter().all(is_name))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &'static [u8]) -> Option<String> {
        match fields(&Ok(Bytes::from_static(body))) {
            Ok(_) => None,
            Err(Unread::Invalid(text)) => Some(text),
            Err(Unread::TooLarge) => Some("too large".into()),
        }
    }

    #[test]
    fn whoever_sends_no_json_is_told_to() {
        for body in [
            &b"callId=CALL_1&reason=x"[..],
            b"user_ids[]=1",
            b"call%5BId%5D=1",
            b"--b\r\nContent-Disposition: form-data",
        ] {
            assert_eq!(told(body).as_deref(), Some(A_FORM));
        }
        for body in [&b"{\"callId\": \"CALL_1\""[..], b"{callId: 1}", b"<xml/>", b"nonsense", b"=", b"a b=c"] {
            assert_eq!(told(body).as_deref(), Some(NO_JSON));
        }
        for body in [&b"[1]"[..], b"\"text\"", b"null", b"7"] {
            assert_eq!(told(body).as_deref(), Some(NO_OBJECT));
        }
        for body in [&b"{}"[..], b"[]", b" [ ] ", b"", b" \r\n", b"\xef\xbb\xbf{}"] {
            assert_eq!(told(body), None);
        }
    }
}
