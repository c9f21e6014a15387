//! Words of closed sets, as answers have them; a later version may have more.

use utoipa::ToSchema;

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallState {
    Trying,
    Ringing,
    Active,
    Ended,
}

/// Why a call ended.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Ending {
    Cancelled,
    Superseded,
    CallerGone,
    Rejected,
    NoAnswer,
    Busy,
    HungUp,
    Lost,
    MaxDuration,
    /// Written by a newer version.
    Other,
}

/// What a line of a timeline is about.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Happening {
    Created,
    NoSession,
    Delivered,
    Deaf,
    Undelivered,
    Ringing,
    PushRequired,
    Accepted,
    Bound,
    AcceptRefused,
    Absent,
    Returned,
    Doubtful,
    UpgradeRequested,
    Upgraded,
    UpgradeRefused,
    Downgraded,
    Ended,
    Restored,
    /// Written by a newer version.
    Other,
}

/// Why nobody rings.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RingRefusal {
    RateLimited,
    NotAParticipant,
    InvalidState,
    CallNotFound,
}
