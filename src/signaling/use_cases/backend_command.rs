//! What Laravel commands, and what it is answered.

use crate::call::{Device, Refusal, UserId};
use crate::signaling::calls::Failure;

/// What became of Laravel's command.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandAnswer {
    /// Obeyed or repeated; whether the user it is for has a live session.
    Emitted(bool),
    Refused {
        refusal: Refusal,
        state: &'static str,
    },
}

pub type CommandOutcome = Result<CommandAnswer, Failure>;

/// What Laravel says became of a call over REST.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendCommand {
    /// The callee accepted; `device` where Laravel knows it.
    Accepted { wire_id: String, caller: UserId, receiver: UserId, device: Option<Device> },
    /// The caller cancelled.
    Cancelled { wire_id: String, receiver: UserId, reason: Option<String> },
    /// The callee rejected.
    Rejected { wire_id: String, caller: UserId, receiver: UserId, reason: Option<String> },
    /// It ended, by one party or by nobody in particular.
    Ended { by: Option<UserId>, reason: Option<String> },
}
