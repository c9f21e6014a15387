//! A cluster of equal nodes through which phones ring each other. In reading order:
//!
//! - [`call`]: the rules of a call, pure
//! - [`shapes`]: what fields of payloads look like, and webhooks
//! - [`store`], [`bus`]: what nodes share, and how they reach each other
//! - [`signaling`]: the use cases
//! - [`socket`], [`http`]: the transports, for phones and for Laravel
//! - [`laravel`]: token verification
//! - `fairness`: what strangers get of what is scarce
//! - [`dispatcher`], [`webhook`]: from the outbox to the backend
//! - [`app`]: the wiring

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

pub mod app;
pub mod bus;
pub mod call;
pub mod clock;
pub mod config;
pub mod dispatcher;
mod fairness;
pub mod fault_injection;
pub mod http;
pub mod laravel;
pub mod shapes;
pub mod shutdown;
pub mod signaling;
pub mod socket;
pub mod store;
pub mod telemetry;
pub mod webhook;
pub mod wire;

#[cfg(test)]
mod versions_tests;
