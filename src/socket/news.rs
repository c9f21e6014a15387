//! What may wait, and what may be lost, in favour of calls: presence, messages between parties and events of the
//! application's own.

use std::collections::VecDeque;

use parking_lot::Mutex;
use socketioxide::extract::SocketRef;

use super::emitter::emit;
use crate::call::{Timestamp, UserId};
use crate::signaling::{MAX_SUBSCRIPTIONS, SendOutcome};
use crate::telemetry::metrics;
use crate::wire::events::{WireEvent, presence_event};

/// News in the engine's queue of one phone. It is thought empty again a moment before it is, so twice as many may be in
/// it; the rest is for calls.
pub(super) const AHEAD_AT_MOST: usize = 64;
const APP_EVENTS_WAITING: usize = 64;
/// Messages of either kind that wait, and what they may take together: no fewer than the store keeps of a call.
const MESSAGES_WAITING: usize = 64;
const MESSAGE_BYTES_WAITING: usize = 64 * 1024;

/// News of one phone, handed to the engine's queue only as fast as the phone reads.
pub(super) struct News {
    socket: SocketRef,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Handed over since the queue was last known to be empty.
    ahead: usize,
    waiting: Waiting,
}

impl News {
    pub fn new(socket: SocketRef) -> Self {
        Self { socket, state: Mutex::default() }
    }

    pub fn tell(&self, item: Item) {
        let mut state = self.state.lock();
        state.waiting.push(item);
        state.hand_over(&self.socket);
    }

    /// The queue was empty a moment ago.
    pub fn go_on(&self) {
        let mut state = self.state.lock();
        state.ahead = 0;
        state.hand_over(&self.socket);
    }
}

impl State {
    fn hand_over(&mut self, socket: &SocketRef) {
        while self.ahead < AHEAD_AT_MOST
            && let Some(item) = self.waiting.pop()
        {
            match emit(socket, &item.event()) {
                SendOutcome::Queued => self.ahead += 1,
                // Calls filled it: the poll or the flush that empties it comes here again.
                SendOutcome::Full => return self.waiting.push_front(item),
                SendOutcome::Gone => self.waiting = Waiting::default(),
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Presence { user: UserId, online: bool, at: Timestamp },
    App { name: String, payload: serde_json::Value },
    Message { payload: serde_json::Value, bytes: usize, kept: bool },
}

impl Item {
    fn event(&self) -> WireEvent<'_> {
        match self {
            Item::Presence { user, online, at } => presence_event(user, *online, *at),
            Item::App { name, payload } => (name, payload.clone()),
            Item::Message { payload, .. } => ("call:message", payload.clone()),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Item::Presence { .. } => Kind::Presence,
            Item::App { .. } => Kind::App,
            Item::Message { kept: true, .. } => Kind::Kept,
            Item::Message { kept: false, .. } => Kind::Passing,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Item::Message { bytes, .. } => *bytes,
            Item::Presence { .. } | Item::App { .. } => 0,
        }
    }
}

/// What drives out nothing but its own kind.
#[derive(Clone, Copy)]
enum Kind {
    Presence,
    App,
    Kept,
    Passing,
}

impl Kind {
    fn places(self) -> usize {
        match self {
            Kind::Presence => MAX_SUBSCRIPTIONS,
            Kind::App => APP_EVENTS_WAITING,
            Kind::Kept | Kind::Passing => MESSAGES_WAITING,
        }
    }
}

/// In the order of their first coming; of each user only the newest.
#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// Items and bytes of each kind.
    counts: [(usize, usize); 4],
}

impl Waiting {
    fn push(&mut self, item: Item) {
        if let Item::Presence { user, .. } = &item
            && let Some(older) =
                self.items.iter_mut().find(|other| matches!(other, Item::Presence { user: of, .. } if of == user))
        {
            *older = item;
            return;
        }
        let kind = item.kind();
        while self.is_full(kind, item.bytes())
            && let Some(oldest) = self.items.iter().position(|other| other.kind() as usize == kind as usize)
            && let Some(dropped) = self.items.remove(oldest)
        {
            metrics::news_dropped();
            self.uncount(&dropped);
        }
        self.count(&item);
        self.items.push_back(item);
    }

    fn is_full(&self, kind: Kind, more: usize) -> bool {
        let (items, bytes) = self.counts[kind as usize];
        items >= kind.places() || bytes + more > MESSAGE_BYTES_WAITING && items > 0
    }

    fn count(&mut self, item: &Item) {
        let (items, bytes) = &mut self.counts[item.kind() as usize];
        (*items, *bytes) = (*items + 1, *bytes + item.bytes());
    }

    fn uncount(&mut self, item: &Item) {
        let (items, bytes) = &mut self.counts[item.kind() as usize];
        (*items, *bytes) = (*items - 1, *bytes - item.bytes());
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.uncount(&item);
        Some(item)
    }

    fn push_front(&mut self, item: Item) {
        self.count(&item);
        self.items.push_front(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(user: usize, online: bool) -> Item {
        let user = UserId::parse(&format!("USR_{user}")).unwrap();
        Item::Presence { user, online, at: Timestamp::from_millis(1) }
    }

    fn app_event(number: usize) -> Item {
        Item::App { name: "app:news".into(), payload: number.into() }
    }

    #[test]
    fn the_newest_state_of_a_user_wins_and_words_keep_their_order() {
        let mut waiting = Waiting::default();
        for item in
            [presence(1, true), app_event(1), presence(2, true), presence(1, false), app_event(2), presence(1, true)]
        {
            waiting.push(item);
        }
        let left: Vec<Item> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(left, [presence(1, true), app_event(1), presence(2, true), app_event(2)]);
    }

    #[test]
    fn what_waits_is_bounded_and_neither_kind_drives_the_other_out() {
        let mut waiting = Waiting::default();
        for number in 0..MAX_SUBSCRIPTIONS + 100 {
            waiting.push(presence(number, true));
            waiting.push(app_event(number));
        }
        let left: Vec<Item> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(left.len(), MAX_SUBSCRIPTIONS + APP_EVENTS_WAITING);
        assert!(
            left.contains(&presence(MAX_SUBSCRIPTIONS + 99, true)) && left.contains(&app_event(MAX_SUBSCRIPTIONS + 99))
        );
        assert_eq!(waiting.counts, [(0, 0); 4]);
    }

    /// A phone that reads slowly keeps what the store keeps of a call, however much else is said.
    #[test]
    fn messages_that_pass_do_not_drive_kept_ones_out() {
        let message =
            |number: usize, bytes, kept| Item::Message { payload: serde_json::Value::from(number), bytes, kept };
        let mut waiting = Waiting::default();
        for number in 0..10_000 {
            waiting.push(message(number, 200, number % 100 == 0));
        }
        let left: Vec<Item> = std::iter::from_fn(|| waiting.pop()).collect();
        let (kept, passing): (Vec<_>, Vec<_>) = left.iter().partition(|item| matches!(item.kind(), Kind::Kept));
        assert_eq!((kept.len(), passing.len()), (MESSAGES_WAITING, MESSAGES_WAITING));
        assert_eq!((kept[0], kept[63]), (&message(3600, 200, true), &message(9900, 200, true)));
        for number in 0..10_000 {
            waiting.push(message(number, 4200, true));
        }
        assert_eq!(waiting.counts[Kind::Kept as usize], (15, 63_000));
    }
}
