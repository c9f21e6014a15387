//! `call:message`: messages between the parties of a call.

use std::sync::Arc;

use serde_json::Value;
use socketioxide::extract::AckSender;

use super::SocketServer;
use super::handlers::{answer, refuse};
use crate::signaling::Session;
use crate::wire::{Fields, acks, read_message};

pub(super) const EVENT: &str = "call:message";

pub(super) async fn relay(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    payload: Option<Value>,
    ack: Option<AckSender>,
) {
    match Fields::new(payload).and_then(|fields| read_message(&fields)) {
        Ok((id, wire_id, content)) => match server.signaling.phones.message(&session.actor(), &id, content).await {
            Ok(handed) => answer(session, ack, &acks::handed(&wire_id, &handed)),
            Err(failure) => refuse(session, ack, acks::failed(&failure)),
        },
        Err(error) => refuse(session, ack, acks::invalid(&error)),
    }
}
