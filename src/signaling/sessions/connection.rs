//! The connection of a session to its phone.

use std::sync::OnceLock;

use super::greeting::Greeting;
use super::{EventSender, Ready, SendOutcome};
use crate::bus::{DirectEvent, Message};
use crate::call::{Call, Notification, SessionId, Timestamp, UserId};
use crate::telemetry::metrics::{self, Departure};

/// Sends to a session's phone. One that no longer reads what is about calls is let go: it comes back and is told how
/// things stand. Sending answers false where it was not queued.
pub struct Connection {
    session: SessionId,
    sender: Box<dyn EventSender>,
    /// Why this side ended it.
    ended: OnceLock<Departure>,
    /// What waits until the phone was told `session:ready`.
    pub greeting: Greeting,
}

impl Connection {
    pub fn new(session: SessionId, sender: Box<dyn EventSender>) -> Self {
        Self { session, sender, ended: OnceLock::new(), greeting: Greeting::default() }
    }

    /// Notes what became of an event, an acknowledgement among them; true where it was queued.
    pub fn judge(&self, send_outcome: SendOutcome) -> bool {
        if send_outcome == SendOutcome::Full {
            if self.ended.set(Departure::Deaf).is_ok() {
                metrics::deaf_session();
                tracing::warn!(session = %self.session, "the phone no longer reads, its queue is full: closing its transport");
            }
            self.sender.abandon();
        }
        send_outcome == SendOutcome::Queued
    }

    /// Ends the session with a disconnect packet: the phone will not come back by itself. False where it was ending.
    pub fn dismiss(&self, cause: Departure) -> bool {
        let first = self.ended.set(cause).is_ok();
        self.judge(self.sender.disconnect());
        first
    }

    /// Closes the session's transport: the phone comes back by itself.
    pub fn release(&self, cause: Departure) {
        self.ended.get_or_init(|| cause);
        self.sender.close();
    }

    /// Why it left, where its socket was found to have ended as `found`.
    pub fn departure(&self, found: Departure) -> Departure {
        self.ended.get().copied().unwrap_or(found)
    }

    /// It was let go for it no longer reads.
    pub fn is_deaf(&self) -> bool {
        self.ended.get() == Some(&Departure::Deaf)
    }

    /// Sends something whatever becomes of it: for faults that tests inject.
    pub fn inject(&self, call: &Call, notification: &Notification, now: Timestamp) {
        self.sender.notify(call, notification, now, false);
    }

    pub fn notify(&self, call: &Call, notification: &Notification, now: Timestamp, repeat: bool) -> bool {
        self.judge(self.sender.notify(call, notification, now, repeat))
    }

    pub fn ready(&self, ready: &Ready) -> bool {
        self.judge(self.sender.ready(ready))
    }

    pub fn direct(&self, event: &DirectEvent, now: Timestamp) -> bool {
        self.judge(self.sender.direct(event, now))
    }

    /// What is lost of messages is lost in favour of calls.
    pub fn message(&self, message: &Message, now: Timestamp) {
        self.sender.message(message, now);
    }

    pub fn busy(&self, call_id: &str) -> bool {
        self.judge(self.sender.busy(call_id))
    }

    pub fn reject_confirmed(&self, call_id: &str) -> bool {
        self.judge(self.sender.reject_confirmed(call_id))
    }

    pub fn presence(&self, user: &UserId, online: bool, now: Timestamp) {
        self.sender.presence(user, online, now);
    }
}
