//! An answer of Laravel, or of whatever stands in its place, read without believing any of it.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url};
use serde_json::Value;

use crate::call::Timestamp;
use crate::dispatcher::{causes, retry_after};

/// More than any answer, after decompression.
const ANSWER_LIMIT: usize = 256 * 1024;
/// Of an answer that was not understood, what a log shows.
const FIRST_BYTES: usize = 120;
/// A PHP file that was saved with it puts it before every answer.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Printed, it says what was seen, but nothing of the body: a user's data may be in it.
pub(super) struct Answer {
    pub status: u16,
    /// The pause that Laravel asks for.
    pub wait: Option<Duration>,
    pub body: Option<Value>,
    kind: Option<String>,
    location: Option<String>,
    length: usize,
    /// The first bytes of the body, as text.
    pub first: String,
    /// Why there is no body.
    unread: Option<String>,
}

impl Answer {
    pub async fn read(mut response: Response, now: Timestamp) -> Self {
        let header =
            |headers: &HeaderMap, name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let asked = header(response.headers(), RETRY_AFTER);
        let location = header(response.headers(), LOCATION);
        let mut answer = Self {
            status: response.status().as_u16(),
            wait: asked.and_then(|value| retry_after(&value, now)),
            body: None,
            kind: header(response.headers(), CONTENT_TYPE),
            location: location.map(|location| address(&location)),
            length: 0,
            first: String::new(),
            unread: None,
        };
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    answer.unread = Some(causes(&error.without_url()));
                    break;
                }
            }
            if bytes.len() > ANSWER_LIMIT {
                answer.unread = Some(format!("longer than {ANSWER_LIMIT} bytes"));
                break;
            }
        }
        answer.length = bytes.len();
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        if answer.unread.is_none() {
            match serde_json::from_slice(text) {
                Ok(body) => answer.body = Some(body),
                Err(error) => answer.unread = Some(error.to_string()),
            }
        }
        answer.first = String::from_utf8_lossy(&text[..text.len().min(FIRST_BYTES)]).escape_debug().to_string();
        answer
    }

    /// That a token is no good, in Laravel's own words: this API's, or the framework's where nobody changed them.
    pub fn says_unauthenticated(&self) -> bool {
        self.status == 401
            && self
                .body
                .as_ref()
                .is_some_and(|body| body["error"]["code"] == "UNAUTHENTICATED" || body["message"] == "Unauthenticated.")
    }

    /// Not the API's answer but a page in its place, as during maintenance; and who redirects has done nothing.
    pub fn is_no_answer(&self) -> bool {
        let is_page = self.kind.as_deref().is_some_and(|kind| kind.starts_with("text/html"));
        (self.status < 300 && is_page && self.body.is_none())
            || (300..400).contains(&self.status)
            || (self.status == 401 && !self.says_unauthenticated())
    }

    /// Laravel is up, and answers as itself.
    pub fn is_well(&self) -> bool {
        self.status != 429 && self.status < 500 && !self.is_no_answer()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}, content type {}", self.status, self.kind.as_deref().unwrap_or("none"))?;
        if let Some(location) = &self.location {
            write!(f, ", location {location}")?;
        }
        write!(f, ", {} bytes", self.length)?;
        if let Some(unread) = &self.unread {
            write!(f, ", no JSON ({unread})")?;
        }
        Ok(())
    }
}

/// Where an address leads, without what may be secret in it.
pub(super) fn address(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) => {
            // Fails only for addresses that have none.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        Err(_) => text.split(['?', '#']).next().unwrap_or_default().chars().take(FIRST_BYTES).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_log_holds_no_secret() {
        assert_eq!(address("https://user:pass@api.test/login?token=1#x"), "https://api.test/login");
        assert_eq!(address("/login?token=1"), "/login");
    }
}
