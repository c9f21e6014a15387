use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::call::{CallId, InvalidId, UserId};

/// Further fields of an initiate in all, or the data of a message, as JSON.
pub(super) const EXTRA_LIMIT: usize = 4096;
/// A field that stands for itself.
const TEXT_LIMIT: usize = 2048;
/// Characters of a reason that are passed on.
pub(super) const REASON_LIMIT: usize = 200;
/// Data of an event of the application's own, as JSON.
const APP_DATA_LIMIT: usize = 16 * 1024;
const APP_PREFIX: &str = "app:";
/// An event's fields lie in an object in an array.
pub const CONTAINERS: usize = 2;
/// Milliseconds; the bounds of `RING_TIMEOUT_SECS`.
const RING_TIMEOUTS: std::ops::RangeInclusive<u64> = 5_000..=180_000;

/// What is wrong with a payload; said to its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("payload must be an object")]
    NoObject,
    #[error("{0} is missing or not a text")]
    Missing(&'static str),
    #[error("{0} must be a list of texts")]
    NoList(&'static str),
    #[error("{0} may name {1} users at most")]
    TooMany(&'static str, usize),
    #[error("{0} is missing or neither true nor false")]
    NoFlag(&'static str),
    #[error("{0} is missing")]
    Absent(&'static str),
    #[error("{0} {1}")]
    Id(&'static str, InvalidId),
    #[error("{0} is too long")]
    TooLong(&'static str),
    #[error("callType must be AUDIO or VIDEO")]
    CallType,
    #[error("receiverId must not be the caller")]
    OneselfCalled,
    #[error("ringTimeoutMs must be a whole number from 5000 to 180000")]
    RingTimeout,
    #[error("event must be app: and 1 to 60 characters of A-Z a-z 0-9 _ . : -")]
    AppEvent,
    #[error("data must be an object")]
    AppData,
    #[error("further fields are larger than 4 KiB")]
    TooMuchExtra,
}

/// The object that came with an event or a request. Nothing in it is believed.
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn new(payload: Option<Value>) -> Result<Self, FieldError> {
        match payload {
            Some(Value::Object(fields)) => Ok(Self(fields)),
            Some(_) | None => Err(FieldError::NoObject),
        }
    }

    pub(super) fn into_object(self) -> Map<String, Value> {
        self.0
    }

    pub fn text(&self, name: &'static str) -> Result<&str, FieldError> {
        let text = self.0.get(name).and_then(Value::as_str).ok_or(FieldError::Missing(name))?;
        if text.len() > TEXT_LIMIT { Err(FieldError::TooLong(name)) } else { Ok(text) }
    }

    pub(super) fn filled(&self, name: &'static str) -> Result<&str, FieldError> {
        self.text(name).and_then(|text| if text.is_empty() { Err(FieldError::Missing(name)) } else { Ok(text) })
    }

    /// The call's id in its normal form, and its wire id.
    pub fn call_id(&self) -> Result<(CallId, String), FieldError> {
        let text = self.filled("callId")?;
        let id = CallId::parse(text).map_err(|error| FieldError::Id("callId", error))?;
        Ok((id, text.to_owned()))
    }

    pub fn user(&self, name: &'static str) -> Result<UserId, FieldError> {
        UserId::parse(self.filled(name)?).map_err(|error| FieldError::Id(name, error))
    }

    /// What names no user counts as missing: a hang-up is not refused for it.
    pub fn optional_user(&self, name: &'static str) -> Option<UserId> {
        self.user(name).ok()
    }

    pub fn optional_text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The users of a subscription, each once.
    pub fn users(&self, name: &'static str, most: usize) -> Result<Vec<UserId>, FieldError> {
        let mut users = Vec::new();
        for (_, user) in self.users_with_wire_ids(name, most)? {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        Ok(users)
    }

    /// A list of users, and how it spells each.
    pub fn users_with_wire_ids(&self, name: &'static str, most: usize) -> Result<Vec<(String, UserId)>, FieldError> {
        let list = self.0.get(name).and_then(Value::as_array).ok_or(FieldError::NoList(name))?;
        if list.len() > most {
            return Err(FieldError::TooMany(name, most));
        }
        list.iter()
            .map(|item| {
                let text = item.as_str().ok_or(FieldError::NoList(name))?;
                let user = UserId::parse(text).map_err(|error| FieldError::Id(name, error))?;
                Ok((text.to_owned(), user))
            })
            .collect()
    }

    /// Absent where it is null or empty; what is no text is an error.
    pub fn optional_name(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => Ok(Some(self.text(name)?.to_owned()).filter(|text| !text.is_empty())),
        }
    }

    /// Takes out how long this call is to ring: no further field for the callee's phone.
    pub fn take_ring_timeout(&mut self) -> Result<Option<Duration>, FieldError> {
        match self.0.remove("ringTimeoutMs") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().filter(|millis| RING_TIMEOUTS.contains(millis)) {
                Some(millis) => Ok(Some(Duration::from_millis(millis))),
                None => Err(FieldError::RingTimeout),
            },
        }
    }

    /// The name of an event of the application's own: no other can be spoken in its place.
    pub fn app_event(&self) -> Result<String, FieldError> {
        let event = self.text("event").map_err(|_| FieldError::AppEvent)?;
        let name = event.strip_prefix(APP_PREFIX).unwrap_or_default();
        // The alphabet of ids.
        if name.len() <= 60 && UserId::parse(name).is_ok() { Ok(event.to_owned()) } else { Err(FieldError::AppEvent) }
    }

    /// The object that goes with it. A list would reach the phone as several arguments.
    pub fn app_data(&self) -> Result<Value, FieldError> {
        match self.0.get("data") {
            None | Some(Value::Null) => Ok(json!({})),
            // As PHP writes an empty array.
            Some(Value::Array(list)) if list.is_empty() => Ok(json!({})),
            Some(data @ Value::Object(_)) if data.to_string().len() <= APP_DATA_LIMIT => Ok(data.clone()),
            Some(Value::Object(_)) => Err(FieldError::TooLong("data")),
            Some(_) => Err(FieldError::AppData),
        }
    }

    /// What participants say to each other, at most 4 KiB of JSON.
    pub fn data(&self) -> Result<Value, FieldError> {
        let data = self.0.get("data").filter(|data| !data.is_null()).ok_or(FieldError::Absent("data"))?;
        if data.to_string().len() > EXTRA_LIMIT { Err(FieldError::TooLong("data")) } else { Ok(data.clone()) }
    }

    /// True or false, or the same as text: the Java client sends some values as texts only.
    pub fn flag(&self, name: &'static str) -> Result<bool, FieldError> {
        match self.0.get(name) {
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) => text.parse().map_err(|_| FieldError::NoFlag(name)),
            _ => Err(FieldError::NoFlag(name)),
        }
    }

    /// False where it is missing or null.
    pub fn optional_flag(&self, name: &'static str) -> Result<bool, FieldError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(_) => self.flag(name),
        }
    }

    /// The sender's own name for a message, of the alphabet of ids; absent where it is missing, null or empty.
    pub fn message_id(&self) -> Result<Option<String>, FieldError> {
        const NAME: &str = "messageId";
        let id = self.optional_name(NAME)?;
        match id.as_deref().map(UserId::parse) {
            Some(Err(error)) => Err(FieldError::Id(NAME, error)),
            Some(Ok(_)) | None => Ok(id),
        }
    }

    /// The sender's words; null, `""` and what is no text count as missing: a hang-up is not refused for its reason.
    pub fn reason(&self) -> Option<String> {
        let text = self.optional_text("reason")?;
        Some(text.chars().take(REASON_LIMIT).collect())
    }
}
