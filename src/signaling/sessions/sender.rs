//! How a session's phone is spoken to.

use super::Ready;
use crate::bus::{DirectEvent, Message};
use crate::call::{Call, Say, Timestamp, UserId};

/// What became of an event for a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    Queued,
    /// Its queue is full: the phone no longer reads.
    Full,
    /// Its socket has ended.
    Gone,
}

/// How a session's phone is spoken to; the socket edge puts it into wire events. What is about calls is queued or fails;
/// presence, messages between parties and the application's events wait for room, and are the first to be lost.
pub trait Voice: Send + Sync {
    /// Queues what a session hears about a call.
    fn say(&self, call: &Call, say: &Say, now: Timestamp, repeat: bool) -> Spoken;

    fn ready(&self, ready: &Ready) -> Spoken;

    fn direct(&self, event: &DirectEvent, now: Timestamp) -> Spoken;

    /// What the other side of a call said.
    fn message(&self, message: &Message, now: Timestamp);

    /// `call:busy` for an initiate of this very session.
    fn busy(&self, call_id: &str) -> Spoken;

    fn reject_confirmed(&self, call_id: &str) -> Spoken;

    /// A watched user came or went.
    fn presence(&self, user: &UserId, online: bool, now: Timestamp);

    /// Ends the session with a disconnect packet: the phone will not come back by itself.
    fn disconnect(&self) -> Spoken;

    /// Closes the session's transport: the phone comes back by itself.
    fn close(&self);

    /// Closes it, and the session leaves at once: nobody waits for a phone that does not read.
    fn abandon(&self);
}
