use std::sync::{Arc, Weak};

use serde_json::Value;
use socketioxide::extract::SocketRef;
use socketioxide::{AckError, SendError, SocketError};
use tokio_util::task::TaskTracker;

use super::event_queue::EventQueue;
use super::news::{Item, News};
use super::wire::Wire;
use super::wires::Wires;
use crate::call::{Actor, Call, CallId, Notification, NotificationKind, Timestamp, UserId};
use crate::signaling::{DirectEvent, Message};
use crate::signaling::{EventSender, Ready, SendOutcome, Signaling};
use crate::telemetry::metrics::Departure;
use crate::telemetry::{carry, metrics};
use crate::wire::events::{WireEvent, busy, call_event, direct_event, message_event, ready_event, reject_confirmed};

/// Speaks to one phone over its socket.
pub(super) struct PhoneSender {
    pub socket: SocketRef,
    /// The phone promised to acknowledge `call:incoming`: then it is asked to, in its owner's name.
    pub confirms_as: Option<Actor>,
    pub signaling: Weak<Signaling>,
    pub tasks: TaskTracker,
    pub wires: Arc<Wires>,
    pub news: Arc<News>,
}

pub(super) fn emit(socket: &SocketRef, (name, payload): &WireEvent<'_>) -> SendOutcome {
    send_outcome(&socket.emit(name, payload))
}

/// What became of a packet for the engine's queue.
pub(super) fn send_outcome<T>(sent: &Result<T, SendError>) -> SendOutcome {
    match sent {
        Ok(_) => SendOutcome::Queued,
        Err(SendError::Socket(SocketError::InternalChannelFull)) => SendOutcome::Full,
        Err(SendError::Socket(SocketError::Closed) | SendError::Serialize(_)) => SendOutcome::Gone,
    }
}

impl PhoneSender {
    fn emit(&self, event: &WireEvent<'_>) -> SendOutcome {
        emit(&self.socket, event)
    }

    fn opened_with(&self) -> Option<&Wire> {
        self.socket.req_parts().extensions.get::<Wire>()
    }

    fn emit_confirmed(&self, (name, payload): &WireEvent<'_>, by: Actor, id: CallId) -> SendOutcome {
        let sent = self.socket.emit_with_ack::<_, Value>(name, payload);
        let send_outcome = send_outcome(&sent);
        let Ok(acknowledged) = sent else { return send_outcome };
        let signaling = Weak::clone(&self.signaling);
        self.tasks.spawn(carry(async move {
            // What the phone answered does not matter, only that it did.
            if matches!(acknowledged.await, Err(AckError::Timeout | AckError::Socket(_))) {
                metrics::ring_unconfirmed();
            } else if let Some(signaling) = signaling.upgrade() {
                // Refused where the call has moved on: nothing to tell.
                let _ = signaling.phones.alert(by, &id).await;
            }
        }));
        send_outcome
    }
}

impl EventSender for PhoneSender {
    fn notify(&self, call: &Call, notification: &Notification, now: Timestamp, repeat: bool) -> SendOutcome {
        let event = call_event(call, notification, now, repeat);
        match &self.confirms_as {
            Some(by) if notification.kind() == NotificationKind::Incoming => {
                self.emit_confirmed(&event, by.clone(), call.id.clone())
            }
            Some(_) | None => self.emit(&event),
        }
    }

    fn ready(&self, ready: &Ready) -> SendOutcome {
        self.emit(&ready_event(ready))
    }

    fn direct(&self, event: &DirectEvent, now: Timestamp) -> SendOutcome {
        match event {
            DirectEvent::Cancelled { .. } | DirectEvent::Rejected { .. } => self.emit(&direct_event(event, now)),
            DirectEvent::App { .. } => {
                let (name, payload) = direct_event(event, now);
                self.news.tell(Item::App { name: name.to_owned(), payload });
                SendOutcome::Queued
            }
            DirectEvent::Message(message) => {
                self.message(message, now);
                SendOutcome::Queued
            }
        }
    }

    fn message(&self, message: &Message, now: Timestamp) {
        let (_, payload) = message_event(message, now);
        // As the store counts what is kept, or less.
        let bytes = message.data.to_string().len() + message.id.as_ref().map_or(0, String::len);
        self.news.tell(Item::Message { bytes, payload, kept: message.keep });
    }

    fn busy(&self, call_id: &str) -> SendOutcome {
        self.emit(&busy(call_id))
    }

    fn reject_confirmed(&self, call_id: &str) -> SendOutcome {
        self.emit(&reject_confirmed(call_id))
    }

    fn presence(&self, user: &UserId, online: bool, now: Timestamp) {
        self.news.tell(Item::Presence { user: user.clone(), online, at: now });
    }

    fn disconnect(&self) -> SendOutcome {
        match self.socket.clone().disconnect() {
            Ok(()) => {
                self.wires.sent_away(&self.socket.id.to_string(), self.opened_with());
                SendOutcome::Queued
            }
            Err(SocketError::InternalChannelFull) => SendOutcome::Full,
            Err(SocketError::Closed) => SendOutcome::Gone,
        }
    }

    fn close(&self) {
        self.wires.close(&self.socket.id.to_string(), self.opened_with());
    }

    fn abandon(&self) {
        self.close();
        let session = self.socket.extensions.get::<Arc<EventQueue>>().and_then(|queue| queue.close(Departure::Deaf));
        if let (Some(session), Some(signaling)) = (session, self.signaling.upgrade()) {
            // The engine notices only when a ping stays unanswered.
            self.tasks.spawn(carry(async move { signaling.phones.disconnect(&session, Departure::Deaf).await }));
        }
    }
}
