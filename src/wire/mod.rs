//! The wire contract as types: payloads read from phones and Laravel, acknowledgements and events written to them. Both
//! transports, Socket.IO and the HTTP API, stand on it.

pub mod acks;
mod answers;
mod command;
pub mod events;
mod heard;
mod json;
mod payload;
mod said;
mod table;

#[cfg(test)]
mod asyncapi_tests;
#[cfg(test)]
mod bytes_tests;
#[cfg(test)]
mod said_tests;

pub use command::command_alone;
pub use json::read_json;
pub use payload::{CONTAINERS, FieldError, Fields};
pub use said::{drop_claims, read_command, read_initiate, read_message, read_switch, read_users};
