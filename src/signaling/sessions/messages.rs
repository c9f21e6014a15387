//! What a session was told of what the other side of its call said.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::connection::Connection;
use crate::bus::Message;
use crate::call::{CallId, Timestamp};
use crate::fault_injection::{self, Bug};

/// Messages that wait while kept ones are read; the oldest go first.
const WAITING: usize = 64;

/// What became of a message at a session.
#[derive(Debug, PartialEq, Eq)]
pub enum MessageDelivery {
    /// It is to be sent now.
    Now,
    /// It is sent behind kept ones that are being read.
    Waits,
    /// One that was kept before it is missing: kept ones are to be read, it waits for them.
    Missing,
    /// It, or a later one, was sent already.
    Known,
    /// Its phone was not greeted yet.
    TooEarly,
}

/// What was delivered, sent over the session's connection in its order.
#[derive(Default)]
pub struct MessageDeliveryState(Mutex<DeliveredMessages>);

impl MessageDeliveryState {
    /// The phone was told `session:ready`: from now on it is sent messages.
    pub fn greeted(&self) {
        self.0.lock().greeted = true;
    }

    /// Tells what the other side sent, unless it or a later one was delivered, or one that was kept is missing before
    /// it.
    pub fn deliver(&self, message: &Arc<Message>, phone: &Connection, now: Timestamp) -> MessageDelivery {
        let mut delivered = self.0.lock();
        let delivery = delivered.deliver(message);
        if delivery == MessageDelivery::Now && !(message.keep && fault_injection::strikes(Bug::LoseMessage, 3)) {
            phone.message(message, now);
        }
        delivery
    }

    /// Whether kept messages are to be read, up to the last that was kept: then others wait until
    /// [`deliver_kept`](Self::deliver_kept).
    pub fn is_to_catch_up(&self, call: &CallId, last_kept: u64) -> bool {
        self.0.lock().is_to_catch_up(call, last_kept)
    }

    /// Tells what was read of kept messages, as far as it was not delivered, and what waited for that; absent where it
    /// could not be read.
    pub fn deliver_kept(&self, call: &CallId, kept: Option<(u64, Vec<Message>)>, phone: &Connection, now: Timestamp) {
        let mut delivered = self.0.lock();
        for message in delivered.caught_up(call, kept) {
            phone.message(&message, now);
        }
    }
}

/// The last that was told, in the newest call: nothing twice, nothing after a later one, and nothing kept passed over.
#[derive(Default)]
struct DeliveredMessages {
    greeted: bool,
    /// A kept one came before the greeting.
    missed: bool,
    call: Option<CallId>,
    last: u64,
    last_kept: u64,
    /// Kept ones are being read.
    waiting: Option<VecDeque<Arc<Message>>>,
}

impl DeliveredMessages {
    fn deliver(&mut self, message: &Arc<Message>) -> MessageDelivery {
        if !self.greeted {
            self.missed |= message.keep;
            return MessageDelivery::TooEarly;
        }
        // An older node gives none an order.
        let Some(call) = &message.call else { return MessageDelivery::Now };
        // The order rises over all calls.
        if message.order <= self.last {
            return MessageDelivery::Known;
        }
        self.turn_to(call);
        if let Some(waiting) = &mut self.waiting {
            waiting.push_back(Arc::clone(message));
            if waiting.len() > WAITING {
                waiting.pop_front();
            }
            return MessageDelivery::Waits;
        }
        if message.kept_before > self.last_kept {
            self.waiting = Some(VecDeque::from([Arc::clone(message)]));
            return MessageDelivery::Missing;
        }
        self.note(message);
        MessageDelivery::Now
    }

    fn is_to_catch_up(&mut self, call: &CallId, last_kept: u64) -> bool {
        // Of another call the last that was heard may be newer.
        let known = if self.call.as_ref() == Some(call) { self.last_kept } else { self.last };
        if !self.greeted || last_kept <= known && !std::mem::take(&mut self.missed) {
            return false;
        }
        self.turn_to(call);
        let begins = self.waiting.is_none();
        self.waiting.get_or_insert_default();
        begins
    }

    /// What is to be sent now. Where nothing could be read, what waited is dropped: what is kept of it is read later.
    fn caught_up(&mut self, call: &CallId, kept: Option<(u64, Vec<Message>)>) -> Vec<Arc<Message>> {
        if self.call.as_ref() != Some(call) {
            return Vec::new();
        }
        let mut waiting: Vec<Arc<Message>> = self.waiting.take().into_iter().flatten().collect();
        let Some((last_kept, kept)) = kept else { return Vec::new() };
        waiting.sort_by_key(|message| message.order);
        let mut to_send: Vec<Arc<Message>> = Vec::new();
        for message in kept.into_iter().map(Arc::new).chain(waiting) {
            if message.order > self.last {
                self.note(&message);
                to_send.push(message);
            }
        }
        // What lies no longer among the kept is not looked for again.
        self.last_kept = self.last_kept.max(last_kept);
        to_send
    }

    fn turn_to(&mut self, call: &CallId) {
        if self.call.as_ref() != Some(call) {
            (self.call, self.last_kept, self.waiting) = (Some(call.clone()), 0, None);
        }
    }

    fn note(&mut self, message: &Message) {
        self.last = message.order;
        if message.keep {
            self.last_kept = message.order;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::UserId;

    fn message(call: &str, order: u64, kept_before: u64, keep: bool) -> Arc<Message> {
        Arc::new(Message {
            call_id: call.into(),
            sender: UserId::parse("ana").unwrap(),
            data: json!(order),
            id: None,
            call: CallId::parse(call).ok(),
            order,
            kept_before,
            keep,
        })
    }

    fn kept(call: &str, order: u64) -> Message {
        Message::clone(&message(call, order, 0, true))
    }

    fn greeted() -> DeliveredMessages {
        DeliveredMessages { greeted: true, ..DeliveredMessages::default() }
    }

    fn orders(said: &[Arc<Message>]) -> Vec<u64> {
        said.iter().map(|message| message.order).collect()
    }

    #[test]
    fn nothing_is_told_twice_or_after_a_later_one_and_nothing_kept_is_passed_over() {
        let mut delivered = greeted();
        let id = CallId::parse("1").unwrap();
        assert_eq!(delivered.deliver(&message("1", 11, 0, false)), MessageDelivery::Now);
        assert_eq!(
            delivered.deliver(&message("1", 11, 0, false)),
            MessageDelivery::Known,
            "an envelope that came twice"
        );
        assert_eq!(delivered.deliver(&message("1", 13, 12, true)), MessageDelivery::Missing, "12 was kept");
        assert_eq!(delivered.deliver(&message("1", 15, 13, false)), MessageDelivery::Waits);
        assert_eq!(delivered.deliver(&message("1", 14, 13, false)), MessageDelivery::Waits);
        assert!(!delivered.is_to_catch_up(&id, 13), "it is being read");
        let read = Some((13, vec![kept("1", 12), kept("1", 13)]));
        assert_eq!(orders(&delivered.caught_up(&id, read)), [12, 13, 14, 15]);
        assert_eq!(
            delivered.deliver(&message("1", 17, 13, false)),
            MessageDelivery::Now,
            "16 was not kept, and comes too late"
        );
        assert_eq!(delivered.deliver(&message("1", 16, 13, false)), MessageDelivery::Known);
        assert!(!delivered.is_to_catch_up(&id, 13));
        assert!(delivered.is_to_catch_up(&id, 18), "the last of all was lost");
        assert_eq!(orders(&delivered.caught_up(&id, Some((18, vec![])))), [0; 0]);
        assert!(!delivered.is_to_catch_up(&id, 18), "it is kept no longer");
        let mut older = Message::clone(&message("1", 0, 0, false));
        older.call = None;
        let older = Arc::new(older);
        assert_eq!(
            [delivered.deliver(&older), delivered.deliver(&older)],
            [MessageDelivery::Now, MessageDelivery::Now],
            "of a node that orders none"
        );
    }

    #[test]
    fn what_could_not_be_read_is_read_later() {
        let mut delivered = greeted();
        let id = CallId::parse("1").unwrap();
        assert_eq!(delivered.deliver(&message("1", 13, 12, true)), MessageDelivery::Missing);
        assert_eq!(orders(&delivered.caught_up(&id, None)), [0; 0]);
        assert!(delivered.is_to_catch_up(&id, 13));
        assert_eq!(orders(&delivered.caught_up(&id, Some((13, vec![kept("1", 12), kept("1", 13)])))), [12, 13]);
    }

    #[test]
    fn nothing_is_told_before_the_greeting_or_of_an_older_call() {
        let mut delivered = DeliveredMessages::default();
        let id = CallId::parse("1").unwrap();
        assert_eq!(delivered.deliver(&message("1", 11, 0, true)), MessageDelivery::TooEarly);
        delivered.greeted = true;
        assert!(delivered.is_to_catch_up(&id, 0), "one came meanwhile");
        assert_eq!(orders(&delivered.caught_up(&id, Some((11, vec![kept("1", 11)])))), [11]);
        assert_eq!(delivered.deliver(&message("2", 20, 0, false)), MessageDelivery::Now);
        assert_eq!(delivered.deliver(&message("1", 12, 11, false)), MessageDelivery::Known);
        assert_eq!(delivered.deliver(&message("2", 21, 0, false)), MessageDelivery::Now);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut delivered = greeted();
        delivered.deliver(&message("1", 1001, 1000, false));
        assert!(
            (1002..2000).all(|order| delivered.deliver(&message("1", order, 1000, false)) == MessageDelivery::Waits)
        );
        let said = delivered.caught_up(&CallId::parse("1").unwrap(), Some((1000, vec![kept("1", 1000)])));
        assert_eq!((said.len(), said[0].order, said[WAITING].order), (WAITING + 1, 1000, 1999));
    }
}
