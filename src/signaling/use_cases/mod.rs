//! What phones and Laravel ask for, each a story that is read from top to bottom. Read `dialing.rs` first.

mod backend_command;
mod backend_commands;
mod backend_outcomes;
mod claims;
mod dialing;
mod guard;
mod initiated;
mod owed;
mod phone_commands;
mod retry_queue;
mod retrying;

pub use backend_command::{BackendCommand, CommandAnswer, CommandOutcome};
pub use backend_commands::BackendCommands;
pub use backend_outcomes::BackendOutcomes;
pub use claims::Claims;
pub use dialing::Dialing;
pub use guard::DialGuard;
pub use initiated::Initiated;
pub use phone_commands::PhoneCommands;
pub use retry_queue::RetryQueue;
pub use retrying::Retrying;
