//! The error codes of the wire contract.

/// Why something that was asked for was refused (docs/protocol.md 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    InvalidPayload,
    RateLimited,
    NotAParticipant,
    CallNotFound,
    InvalidState,
    Unavailable,
}

impl ErrorCode {
    /// In the order of the variants.
    pub const NAMES: [&str; 6] =
        ["invalid_payload", "rate_limited", "not_a_participant", "call_not_found", "invalid_state", "unavailable"];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
