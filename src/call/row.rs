use super::{Call, UserId};

/// A call as an unmodified backend has it in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: RowStatus,
    /// Absent where the backend did not say.
    pub caller: Option<UserId>,
    pub receiver: Option<UserId>,
}

impl Row {
    /// Whether it may be the row of this call: what the backend leaves out contradicts nothing.
    pub fn is_of(&self, call: &Call) -> bool {
        let agree = |named: &Option<UserId>, user: &UserId| named.as_ref().is_none_or(|named| named == user);
        agree(&self.caller, &call.caller.user) && agree(&self.receiver, &call.callee.user)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStatus {
    /// Nothing decided yet, or a status of another version.
    Open,
    Ongoing,
    Rejected,
    Cancelled,
    Missed,
    Ended,
}

impl RowStatus {
    /// From the backend's own words.
    pub fn of(name: &str) -> Self {
        match name {
            "ONGOING" => RowStatus::Ongoing,
            "REJECTED" => RowStatus::Rejected,
            "CANCELLED" => RowStatus::Cancelled,
            "MISSED" => RowStatus::Missed,
            "ENDED" => RowStatus::Ended,
            _ => RowStatus::Open,
        }
    }

    pub fn is_final(self) -> bool {
        match self {
            RowStatus::Open | RowStatus::Ongoing => false,
            RowStatus::Rejected | RowStatus::Cancelled | RowStatus::Missed | RowStatus::Ended => true,
        }
    }
}

/// What came of the question for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Row(Row),
    /// The backend has no such call, or does not say.
    Unknown,
    /// It has one that the token's owner must not see.
    Forbidden,
    Unavailable,
}
