//! Why a command came to nothing.

use std::time::Duration;

use crate::call::{Call, ErrorCode, Refusal};
use crate::store::StoreError;
use crate::telemetry::metrics;

/// Why a command came to nothing.
#[derive(Debug, Clone)]
pub enum Failure {
    NotFound,
    Refused {
        refusal: Refusal,
        call: Box<Call>,
    },
    /// The caller rang too often or too long for nothing, or a party said too much; the next is free after `wait`.
    RateLimited {
        wait: Duration,
    },
    Unavailable,
}

impl Failure {
    /// As acknowledgements call it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Failure::NotFound => ErrorCode::CallNotFound,
            Failure::RateLimited { .. } => ErrorCode::RateLimited,
            Failure::Unavailable => ErrorCode::Unavailable,
            Failure::Refused { refusal: Refusal::NotAParticipant, .. } => ErrorCode::NotAParticipant,
            Failure::Refused {
                refusal: Refusal::InvalidState | Refusal::AnsweredElsewhere | Refusal::Over | Refusal::NotDue,
                ..
            } => ErrorCode::InvalidState,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // Counted and named where it was read.
            StoreError::Corrupt { .. } => tracing::debug!(%error, "a command met a record of another version"),
            StoreError::Unavailable(_) | StoreError::Another => {
                tracing::debug!(%error, "the store failed a command");
                metrics::store_failed();
            }
        }
        Failure::Unavailable
    }
}
