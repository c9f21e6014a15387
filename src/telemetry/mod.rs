//! Logs and metrics. Neither ever carries a token, an id is never a metric label.

mod about;
pub mod log;
pub mod metrics;
mod who;

pub use about::{About, about, carry};
pub use who::{Users, Who};
