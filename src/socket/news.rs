//! What may wait, and what may be lost, in favour of calls: presence and events of the application's own.

use std::collections::VecDeque;

use parking_lot::Mutex;
use socketioxide::extract::SocketRef;

use super::emitter::emit;
use super::events::{Event, presence_event};
use crate::call::{Timestamp, UserId};
use crate::signaling::{Spoken, WATCHED_PER_SESSION};
use crate::telemetry::metrics;

/// News in the engine's queue of one phone. It is thought empty again a moment before it is, so twice as many may be in
/// it; the rest is for calls.
pub(super) const AHEAD_AT_MOST: usize = 64;
const WORDS_WAITING: usize = 64;

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
                Spoken::Queued => self.ahead += 1,
                // Calls filled it: the poll or the flush that empties it comes here again.
                Spoken::Full => return self.waiting.put_back(item),
                Spoken::Gone => self.waiting = Waiting::default(),
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Presence { user: UserId, online: bool, at: Timestamp },
    Word { name: String, payload: serde_json::Value },
}

impl Item {
    fn event(&self) -> Event<'_> {
        match self {
            Item::Presence { user, online, at } => presence_event(user, *online, *at),
            Item::Word { name, payload } => (name, payload.clone()),
        }
    }
}

/// In the order of their first coming; of each user only the newest.
#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    words: usize,
}

impl Waiting {
    fn push(&mut self, item: Item) {
        let (is_word, limit, kept) = match &item {
            Item::Word { .. } => (true, WORDS_WAITING, self.words),
            Item::Presence { user, .. } => {
                let older =
                    self.items.iter_mut().find(|other| matches!(other, Item::Presence { user: of, .. } if of == user));
                if let Some(older) = older {
                    *older = item;
                    return;
                }
                (false, WATCHED_PER_SESSION, self.items.len() - self.words)
            }
        };
        if kept >= limit
            && let Some(oldest) = self.items.iter().position(|other| matches!(other, Item::Word { .. }) == is_word)
        {
            metrics::news_dropped();
            self.items.remove(oldest);
            self.words -= usize::from(is_word);
        }
        self.words += usize::from(is_word);
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.words -= usize::from(matches!(item, Item::Word { .. }));
        Some(item)
    }

    fn put_back(&mut self, item: Item) {
        self.words += usize::from(matches!(item, Item::Word { .. }));
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

    fn word(number: usize) -> Item {
        Item::Word { name: "app:news".into(), payload: number.into() }
    }

    #[test]
    fn the_newest_state_of_a_user_wins_and_words_keep_their_order() {
        let mut waiting = Waiting::default();
        for item in [presence(1, true), word(1), presence(2, true), presence(1, false), word(2), presence(1, true)] {
            waiting.push(item);
        }
        let left: Vec<Item> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(left, [presence(1, true), word(1), presence(2, true), word(2)]);
    }

    #[test]
    fn what_waits_is_bounded_and_neither_kind_drives_the_other_out() {
        let mut waiting = Waiting::default();
        for number in 0..WATCHED_PER_SESSION + 100 {
            waiting.push(presence(number, true));
            waiting.push(word(number));
        }
        let left: Vec<Item> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(left.len(), WATCHED_PER_SESSION + WORDS_WAITING);
        assert!(
            left.contains(&presence(WATCHED_PER_SESSION + 99, true)) && left.contains(&word(WATCHED_PER_SESSION + 99))
        );
        assert_eq!(waiting.words, 0);
    }
}
