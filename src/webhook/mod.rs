//! Signed webhooks from the outbox, as the Standard Webhooks specification 1.0.0 has them.

mod blame;
mod endpoint;
mod network;
mod pace;
mod schedule;
mod signature;
mod upkeep;

pub use endpoint::{Endpoint, EndpointError, EndpointSettings, Events, Pushes};
pub use signature::{InvalidSecret, SigningSecret};
pub use upkeep::run_upkeep;
