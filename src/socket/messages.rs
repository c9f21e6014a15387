//! `call:message`: messages between the parties of a call.

use std::sync::Arc;

use serde_json::Value;
use socketioxide::extract::AckSender;

use super::Edge;
use super::handlers::{answer, refuse};
use crate::signaling::{Said, Session};
use crate::wire::{Fields, acks};

pub(super) const EVENT: &str = "call:message";

pub(super) async fn relay(edge: &Arc<Edge>, session: &Arc<Session>, payload: Option<Value>, ack: Option<AckSender>) {
    let read = Fields::new(payload).and_then(|fields| {
        let said = Said { data: fields.data()?, keep: fields.optional_flag("keep")?, id: fields.message_id()? };
        Ok((fields.call_id()?, said))
    });
    match read {
        Ok(((id, spelled), said)) => match edge.signaling.phones.message(&session.actor(), &id, said).await {
            Ok(handed) => answer(session, ack, &acks::handed(&spelled, &handed)),
            Err(failure) => refuse(session, ack, acks::failed(&failure)),
        },
        Err(error) => refuse(session, ack, acks::invalid(&error)),
    }
}
