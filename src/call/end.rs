//! How a call ended, and who ended it.

use serde::{Deserialize, Serialize};

use super::{Device, Foreign, Role, Timestamp, foreign};

/// Who ended the call and with which command: a repeat of it is answered like the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ender {
    pub role: Role,
    #[serde(default)]
    pub device: Device,
    pub verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Reject,
    Cancel,
    End,
    /// No command that is known here repeats it.
    #[serde(untagged)]
    Other(Foreign),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateAccept {
    pub at: Timestamp,
    #[serde(default)]
    pub device: Device,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// By the caller, before an accept.
    Cancelled,
    /// The caller's newer call took the line.
    Superseded,
    /// A ringing caller did not come back.
    CallerGone,
    Rejected,
    NoAnswer,
    Busy,
    /// `by` is absent when Laravel ended it for nobody in particular.
    HungUp {
        #[serde(default, deserialize_with = "foreign::optional")]
        by: Option<Role>,
        /// It still rang by what we knew: an accept never reached us.
        #[serde(default)]
        accept_missed: bool,
    },
    Lost {
        party: Role,
    },
    MaxDuration,
    /// It is over, whyever: phones stop ringing or leave the call, whoever ended it told the backend, and the record is
    /// not changed here any more, or the reason would be lost.
    #[serde(untagged)]
    Other(Foreign),
}

impl EndReason {
    /// The name in `session:ready`, in the timeline and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            EndReason::Cancelled => "cancelled",
            EndReason::Superseded => "superseded",
            EndReason::CallerGone => "caller_gone",
            EndReason::Rejected => "rejected",
            EndReason::NoAnswer => "no_answer",
            EndReason::Busy => "busy",
            EndReason::HungUp { .. } => "hung_up",
            EndReason::Lost { .. } => "lost",
            EndReason::MaxDuration => "max_duration",
            EndReason::Other(_) => "other",
        }
    }

    /// Somebody said so: else only time ended it, or a newer call that took its place.
    pub fn is_said(self) -> bool {
        !matches!(self, EndReason::Lost { .. } | EndReason::MaxDuration)
    }

    /// Of another version: what depends on the reason is that version's to judge.
    pub fn is_foreign(self) -> bool {
        matches!(self, EndReason::Other(_))
    }
}
