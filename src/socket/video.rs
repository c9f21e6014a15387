//! An accepted call changes between audio and video: docs/protocol.md 3.3.

use std::sync::Arc;

use serde_json::Value;
use socketioxide::extract::AckSender;

use super::SocketServer;
use super::handlers::{answer, refuse};
use crate::signaling::Session;
use crate::wire::{Fields, acks, read_switch};

/// All of them.
pub(super) const EVENTS: [&str; 5] =
    ["call:upgrade", "call:switchToVideo", "call:switch_to_video", "call:upgrade:response", "call:downgrade"];

/// Asks the other side for video, answers it, or goes back to audio.
pub(super) async fn switch(
    server: &Arc<SocketServer>,
    session: &Arc<Session>,
    event: &str,
    payload: Option<Value>,
    ack: Option<AckSender>,
) {
    if !server.video_switch {
        return match event {
            "call:downgrade" => refuse(session, ack, acks::invalid_text("unknown event")),
            _ => answer(session, ack, &acks::not_supported()),
        };
    }
    match Fields::new(payload).and_then(|fields| read_switch(event, &fields, session.actor())) {
        Ok((id, wire_id, command)) => match server.signaling.phones.switch_type(&id, command).await {
            Ok(call) => answer(session, ack, &acks::done(&wire_id, &call)),
            Err(failure) => refuse(session, ack, acks::failed(&failure)),
        },
        Err(error) => refuse(session, ack, acks::invalid(&error)),
    }
}
