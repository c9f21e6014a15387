//! How events are sent to a session's phone.

use super::Ready;
use crate::bus::{DirectEvent, Message};
use crate::call::{Call, Notification, Timestamp, UserId};

/// What became of an event for a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    Queued,
    /// Its queue is full: the phone no longer reads.
    Full,
    /// Its socket has ended.
    Gone,
}

/// Sends events to a session's phone; the socket puts them into wire events. What is about calls is queued or fails;
/// presence, messages between parties and the application's events wait for room, and are the first to be lost.
pub trait EventSender: Send + Sync {
    /// Queues what a session is sent about a call.
    fn notify(&self, call: &Call, notification: &Notification, now: Timestamp, repeat: bool) -> SendOutcome;

    fn ready(&self, ready: &Ready) -> SendOutcome;

    fn direct(&self, event: &DirectEvent, now: Timestamp) -> SendOutcome;

    /// What the other side of a call sent.
    fn message(&self, message: &Message, now: Timestamp);

    /// `call:busy` for an initiate of this very session.
    fn busy(&self, call_id: &str) -> SendOutcome;

    fn reject_confirmed(&self, call_id: &str) -> SendOutcome;

    /// A user that somebody subscribed to came or went.
    fn presence(&self, user: &UserId, online: bool, now: Timestamp);

    /// Ends the session with a disconnect packet: the phone will not come back by itself.
    fn disconnect(&self) -> SendOutcome;

    /// Closes the session's transport: the phone comes back by itself.
    fn close(&self);

    /// Closes it, and the session leaves at once: nobody waits for a phone that does not read.
    fn abandon(&self);
}
