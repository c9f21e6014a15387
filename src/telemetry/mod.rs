//! Logs, metrics and traces. None of them ever carries a token, an id is never a metric label.

mod about;
pub mod call_log;
pub mod log;
pub mod metrics;
pub mod outage;
pub mod trace;
mod who;

pub use about::About;
pub use trace::carry;
pub use who::{Users, Who};
