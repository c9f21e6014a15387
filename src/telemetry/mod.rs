//! Logs and metrics. Neither ever carries a token, an id is never a metric label.

pub mod log;
pub mod metrics;
