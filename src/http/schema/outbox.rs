use serde_json::Value;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub struct DeadLetters {
    dead: Vec<DeadLetterEntry>,
}

#[derive(ToSchema)]
pub struct DeadLetterEntry {
    /// What `webhook-id` was.
    id: String,
    /// Without `CALL_`; none of what is about no call.
    #[schema(required)]
    call: Option<String>,
    queue: String,
    /// Milliseconds since the epoch.
    #[schema(rename = "writtenAt")]
    written_at: u64,
    #[schema(rename = "diedAt")]
    died_at: u64,
    attempts: u32,
    error: String,
    /// What was sent.
    body: Value,
}

#[derive(ToSchema)]
#[serde(untagged)]
pub enum ReplayRequest {
    /// One message.
    Message { id: String },
    /// All of a call.
    Call {
        #[schema(pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
        call: String,
    },
    /// All that died since, in milliseconds since the epoch.
    Since {
        #[schema(maximum = 9_007_199_254_740_991_i64)]
        since: u64,
    },
}

#[derive(ToSchema)]
pub struct ReplayAnswer {
    replayed: u64,
    /// Only some were taken at once: ask again. Else absent.
    #[schema(nullable = false)]
    more: Option<bool>,
}

#[derive(ToSchema)]
pub struct Done {
    success: bool,
}
