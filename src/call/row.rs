use super::UserId;

/// A call as an unmodified backend has it in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: RowStatus,
    /// Absent where the backend did not say.
    pub caller: Option<UserId>,
    pub receiver: Option<UserId>,
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
    /// The backend has no such call, or none that a token we hold may see.
    Unknown,
    Unavailable,
}
