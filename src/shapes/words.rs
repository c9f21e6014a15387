use std::time::Duration;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::call::{self, EndReason, ErrorCode, State, Timestamp};

/// `CALL_17` and `17` are one call. An event names it as it was initiated.
#[derive(Serialize, ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.:-]+$")]
pub struct CallId<'a>(pub &'a str);

/// `USR_USR_1001` is read as `USR_1001`.
#[derive(Serialize, ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.:-]+$")]
pub struct UserId<'a>(&'a str);

impl<'a> From<&'a call::UserId> for UserId<'a> {
    fn from(user: &'a call::UserId) -> Self {
        Self(user.as_str())
    }
}

/// Milliseconds since the epoch, by the server's clock.
#[derive(Serialize, ToSchema)]
#[schema(minimum = 0)]
pub struct Time(u64);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at.as_millis())
    }
}

impl Time {
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }
}

/// The sender's own name for a message: the same again is the same message.
#[derive(Serialize, ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.:-]+$")]
pub struct MessageId<'a>(pub &'a str);

/// Rises with each message of its sender, over calls and reconnects.
#[derive(Serialize, ToSchema)]
#[schema(minimum = 1)]
pub struct MessageOrder(pub u64);

/// Milliseconds.
#[derive(Serialize, ToSchema)]
#[schema(as = Duration, minimum = 0)]
pub struct Millis(pub u64);

impl From<Duration> for Millis {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

/// `AUDIO` or `VIDEO` in any letter case, passed on unchanged.
#[derive(Serialize, ToSchema)]
#[schema(pattern = "^([aA][uU][dD][iI][oO]|[vV][iI][dD][eE][oO])$")]
pub struct CallType<'a>(pub &'a str);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStateName {
    Trying,
    Ringing,
    Active,
    Ended,
}

impl From<&State> for CallStateName {
    fn from(state: &State) -> Self {
        match state {
            State::Trying => Self::Trying,
            State::Ringing => Self::Ringing,
            State::Active { .. } => Self::Active,
            State::Ended(_) => Self::Ended,
        }
    }
}

/// Why a call ended; `other` for a reason that only a newer node knows.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerReason {
    Cancelled,
    Superseded,
    CallerGone,
    Rejected,
    NoAnswer,
    Busy,
    HungUp,
    Lost,
    MaxDuration,
    Other,
}

impl From<&EndReason> for ServerReason {
    fn from(reason: &EndReason) -> Self {
        match reason {
            EndReason::Cancelled => Self::Cancelled,
            EndReason::Superseded => Self::Superseded,
            EndReason::CallerGone => Self::CallerGone,
            EndReason::Rejected => Self::Rejected,
            EndReason::NoAnswer => Self::NoAnswer,
            EndReason::Busy => Self::Busy,
            EndReason::HungUp { .. } => Self::HungUp,
            EndReason::Lost { .. } => Self::Lost,
            EndReason::MaxDuration => Self::MaxDuration,
            EndReason::Other(_) => Self::Other,
        }
    }
}

/// Why an event was refused.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerCode {
    InvalidPayload,
    NotAParticipant,
    CallNotFound,
    InvalidState,
    RateLimited,
    Unavailable,
}

impl From<ErrorCode> for ServerCode {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidPayload => Self::InvalidPayload,
            ErrorCode::NotAParticipant => Self::NotAParticipant,
            ErrorCode::CallNotFound => Self::CallNotFound,
            ErrorCode::InvalidState => Self::InvalidState,
            ErrorCode::RateLimited => Self::RateLimited,
            ErrorCode::Unavailable => Self::Unavailable,
        }
    }
}

/// The value `true`, and no other.
pub struct True;
/// The value `false`, and no other.
pub struct False;

macro_rules! constant {
    ($name:ident, $value:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bool($value)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let boolean = ObjectBuilder::new().schema_type(SchemaType::new(Type::Boolean));
                boolean.enum_values(Some([$value])).into()
            }
        }

        impl ToSchema for $name {}
    };
}

constant!(True, true);
constant!(False, false);

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Presence<'a> {
    user_id: UserId<'a>,
    timestamp: Time,
}

impl<'a> Presence<'a> {
    /// Who came or went at this time.
    pub fn new(user: &'a call::UserId, at: Timestamp) -> Self {
        Self { user_id: user.into(), timestamp: at.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::payload;

    /// The names in answers over HTTP, logs and metrics are those on the wire.
    #[test]
    fn words_are_the_names_of_the_rules() {
        for code in [
            ErrorCode::InvalidPayload,
            ErrorCode::RateLimited,
            ErrorCode::NotAParticipant,
            ErrorCode::CallNotFound,
            ErrorCode::InvalidState,
            ErrorCode::Unavailable,
        ] {
            assert_eq!(payload(&ServerCode::from(code)), code.name());
        }
        for reason in [
            EndReason::Cancelled,
            EndReason::Superseded,
            EndReason::CallerGone,
            EndReason::Rejected,
            EndReason::NoAnswer,
            EndReason::Busy,
            EndReason::MaxDuration,
        ] {
            assert_eq!(payload(&ServerReason::from(&reason)), reason.name());
        }
        for state in [State::Trying, State::Ringing] {
            assert_eq!(payload(&CallStateName::from(&state)), state.name());
        }
    }
}
