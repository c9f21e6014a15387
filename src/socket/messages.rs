//! `call:message`: words between the parties of a call.

use std::sync::Arc;

use serde_json::Value;
use socketioxide::extract::AckSender;

use super::handlers::{answer, refuse};
use super::{Edge, Fields, acks};
use crate::signaling::Session;

pub(super) async fn relay(edge: &Arc<Edge>, session: &Arc<Session>, payload: Option<Value>, ack: Option<AckSender>) {
    let read = Fields::new(payload).and_then(|fields| Ok((fields.call_id()?, fields.data()?)));
    match read {
        Ok(((id, spelled), data)) => match edge.signaling.phones.message(&session.actor(), &id, data).await {
            Ok(call) => answer(session, ack, &acks::done(&spelled, &call)),
            Err(failure) => refuse(session, ack, acks::failed(&failure)),
        },
        Err(error) => refuse(session, ack, acks::invalid(&error)),
    }
}
