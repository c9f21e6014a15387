use serde::{Deserialize, Serialize};

/// The times a call was created under, in milliseconds: stored with it, so that nodes with different settings agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTimeouts {
    pub caller_grace: u64,
    pub call_grace: u64,
    pub max: u64,
    /// How long after an accept the deployed app's screens can't hear `call:ended` yet.
    pub accept_hold: u64,
    /// How long both parties of an accepted call are away before it is called lost, if neither promised `acks`.
    #[serde(default = "ten_minutes", skip_serializing_if = "are_ten_minutes")]
    pub lost: u64,
    /// How long a request for video waits for its answer.
    #[serde(default = "half_a_minute", skip_serializing_if = "is_half_a_minute")]
    pub asked: u64,
}

/// Where a record does not say.
fn ten_minutes() -> u64 {
    600_000
}

fn are_ten_minutes(lost: &u64) -> bool {
    *lost == ten_minutes()
}

fn half_a_minute() -> u64 {
    30_000
}

fn is_half_a_minute(asked: &u64) -> bool {
    *asked == half_a_minute()
}
