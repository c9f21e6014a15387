//! What a phone is told right after it connected.

use crate::call::{Call, Role, State, Timestamp, UserId};
use crate::store::CallOutcome;

/// What a phone is told right after it connected.
#[derive(Clone, Debug)]
pub struct Ready {
    pub session_id: String,
    pub server_time: Timestamp,
    pub call: Option<ReadyCall>,
    pub ended: Vec<CallOutcome>,
}

/// The live call of the user who connected.
#[derive(Clone, Debug)]
pub struct ReadyCall {
    pub wire_id: String,
    pub role: Role,
    pub state: State,
    pub peer: UserId,
    pub call_type: Option<String>,
    pub expires_in_ms: Option<u64>,
}

impl ReadyCall {
    /// The call as its user finds it.
    pub fn of(call: &Call, user: &UserId, now: Timestamp) -> Option<Self> {
        let role = call.role_of(user)?;
        Some(Self {
            wire_id: call.wire_id.clone(),
            role,
            state: call.state.clone(),
            peer: call.party(role.other()).user.clone(),
            call_type: call.call_type.clone(),
            expires_in_ms: call.is_ringing().then(|| call.rings_for_ms(now)),
        })
    }
}
