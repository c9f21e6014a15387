use std::sync::{Arc, Weak};

use serde_json::Value;
use socketioxide::AckError;
use socketioxide::extract::SocketRef;
use tokio_util::task::TaskTracker;

use super::events::{Event, busy, call_event, presence_event, ready_event, reject_confirmed, word_event};
use super::wire::{Wire, Wires};
use crate::call::{Actor, Call, CallId, Say, SayKind, Timestamp, UserId};
use crate::signaling::Word;
use crate::signaling::{Ready, Signaling, Voice};
use crate::telemetry::{carry, metrics};

/// Speaks to one phone over its socket.
pub(super) struct PhoneVoice {
    pub socket: SocketRef,
    /// The phone promised to acknowledge `call:incoming`: then it is asked to, in its owner's name.
    pub confirms_as: Option<Actor>,
    pub signaling: Weak<Signaling>,
    pub tasks: TaskTracker,
    pub wires: Arc<Wires>,
}

impl PhoneVoice {
    fn emit(&self, (name, payload): &Event<'_>) -> bool {
        self.socket.emit(name, payload).is_ok()
    }

    fn emit_confirmed(&self, (name, payload): &Event<'_>, by: Actor, id: CallId) -> bool {
        let Ok(acknowledged) = self.socket.emit_with_ack::<_, Value>(name, payload) else { return false };
        let signaling = Weak::clone(&self.signaling);
        self.tasks.spawn(carry(async move {
            // What the phone answered does not matter, only that it did.
            if matches!(acknowledged.await, Err(AckError::Timeout | AckError::Socket(_))) {
                metrics::ring_unconfirmed();
            } else if let Some(signaling) = signaling.upgrade() {
                // Refused where the call has moved on: nothing to tell.
                let _ = Arc::clone(&signaling).alert(by, &id).await;
            }
        }));
        true
    }
}

impl Voice for PhoneVoice {
    fn say(&self, call: &Call, say: &Say, now: Timestamp, repeat: bool) -> bool {
        let event = call_event(call, say, now, repeat);
        match &self.confirms_as {
            Some(by) if say.kind() == SayKind::Incoming => self.emit_confirmed(&event, by.clone(), call.id.clone()),
            Some(_) | None => self.emit(&event),
        }
    }

    fn ready(&self, ready: &Ready) -> bool {
        self.emit(&ready_event(ready))
    }

    fn word(&self, word: &Word, now: Timestamp) -> bool {
        self.emit(&word_event(word, now))
    }

    fn busy(&self, call_id: &str) -> bool {
        self.emit(&busy(call_id))
    }

    fn reject_confirmed(&self, call_id: &str) -> bool {
        self.emit(&reject_confirmed(call_id))
    }

    fn presence(&self, user: &UserId, online: bool, now: Timestamp) -> bool {
        self.emit(&presence_event(user, online, now))
    }

    fn disconnect(&self) {
        // Refused while the queue is full; the heartbeat ends such a phone.
        let _ = self.socket.clone().disconnect();
    }

    fn close(&self) {
        let opened_with = self.socket.req_parts().extensions.get::<Wire>();
        self.wires.close(&self.socket.id.to_string(), opened_with);
    }
}
