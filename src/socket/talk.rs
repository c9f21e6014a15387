//! What is said over a connection, as far as it matters to whether it may go on.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::frames::Frames;
use super::pace::Pace;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// The library under the engine answers each ping, also of a phone that reads nothing, into a buffer without a bound. A phone
/// that has so many answers to take takes none.
const PINGS_UNANSWERED: u32 = 64;
/// What is looked through at a time: a buffer that waits may be long, and is offered again and again.
const SAID_AT_ONCE: usize = 16 * 1024;
/// The engine refuses a message that announces more.
const ANNOUNCED_LIMIT: usize = 2 * 1024 * 1024;

/// What the messages of a websocket draw their memory from: the library keeps what its largest one took.
pub trait Budget: std::fmt::Debug + Send + Sync {
    /// Moves what is held from `before` to `now` bytes; false where there is no room for that. It is held all the same, until
    /// it is given back.
    fn draw(&self, before: usize, now: usize) -> bool;
}

/// What came since an answer was written last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    end: EndOfHead,
    /// Bytes behind the head.
    behind: usize,
}

impl Asked {
    pub fn read(&mut self, bytes: &[u8]) {
        let behind = if self.end.is_seen() { Some(0) } else { self.end.passes(bytes) };
        self.behind += behind.map_or(0, |place| bytes.len() - place);
    }

    /// Whether that was one head. Of who says more before a websocket has begun, nobody knows where his frames begin.
    pub fn is_a_head(self) -> bool {
        self.end.is_seen() && self.behind == 0
    }
}

/// How much of the end of a head was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndOfHead(usize);

impl EndOfHead {
    fn is_seen(self) -> bool {
        self.0 == END_OF_HEAD.len()
    }

    /// Goes on by `bytes`; returns the place behind the head if it ends here.
    pub fn passes(&mut self, bytes: &[u8]) -> Option<usize> {
        for (place, byte) in bytes.iter().enumerate() {
            self.0 = match *byte {
                byte if byte == END_OF_HEAD[self.0] => self.0 + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.is_seen() {
                return Some(place + 1);
            }
        }
        None
    }
}

/// The frames of both sides of a websocket.
#[derive(Debug, Default)]
pub(super) struct Talk {
    phone: Frames,
    node: Frames,
    /// The phone said goodbye and gets its answer.
    phone_closes: bool,
    /// Pings of the phone since all that waited for it went out.
    pings: u32,
    budget: Option<Arc<dyn Budget>>,
    /// Bytes that were drawn from it.
    drawn: usize,
    /// Absent where it may speak as fast as it can.
    pace: Option<Pace>,
}

impl Talk {
    pub fn new(budget: Option<Arc<dyn Budget>>, paced: bool) -> Self {
        let mut talk = Self::default();
        (talk.budget, talk.pace) = (budget, paced.then(Pace::default));
        talk
    }

    /// Whether the phone is still to be listened to.
    pub fn listens(&self) -> bool {
        self.pings <= PINGS_UNANSWERED
    }

    /// Ready when the phone may say more.
    pub fn poll_listens(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.pace.as_mut().map_or(Poll::Ready(()), |pace| pace.poll_next(context))
    }

    /// The phone said this; false where there is no room for what it announces.
    pub fn heard(&mut self, bytes: &[u8]) -> bool {
        if self.phone_closes {
            return true;
        }
        self.phone_closes = self.phone.close_in(bytes).is_some();
        let (pings, others) = (self.phone.take_pings(), self.phone.take_others());
        self.pings = self.pings.saturating_add(pings);
        if let Some(pace) = &mut self.pace {
            pace.read(others, pings, Instant::now());
        }
        let announced = usize::try_from(self.phone.largest()).unwrap_or(usize::MAX).min(ANNOUNCED_LIMIT);
        let drawn = std::mem::replace(&mut self.drawn, announced);
        self.budget.as_ref().is_none_or(|budget| budget.draw(drawn, announced))
    }

    /// How many of these bytes may go out now; absent where a Close frame begins that nobody asked for.
    pub fn allowed(&self, bytes: &[u8]) -> Option<usize> {
        if self.phone_closes {
            return Some(bytes.len());
        }
        let bytes = &bytes[..bytes.len().min(SAID_AT_ONCE)];
        match self.node.clone().close_in(bytes) {
            Some(0) => None,
            Some(place) => Some(place),
            None => Some(bytes.len()),
        }
    }

    /// This went out; `all`: nothing waits any more.
    pub fn said(&mut self, bytes: &[u8], all: bool) {
        self.node.close_in(bytes);
        if all {
            self.pings = 0;
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.draw(self.drawn, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_head_in_any_pieces_and_nothing_behind_it() {
        let head = b"GET / HTTP/1.1\r\nhost: n\r\n\r\n";
        for piece in 1..head.len() {
            let mut asked = Asked::default();
            head.chunks(piece).for_each(|bytes| asked.read(bytes));
            assert!(asked.is_a_head(), "in pieces of {piece}");
            asked.read(b"\x89");
            assert!(!asked.is_a_head());
        }
        let mut asked = Asked::default();
        asked.read(&head[..head.len() - 1]);
        assert!(!asked.is_a_head());
        asked.read(b"\n\x89");
        assert!(!asked.is_a_head(), "in one piece with its end");
    }

    #[test]
    fn who_pings_and_takes_no_answer_is_listened_to_no_more() {
        let ping = [0x89, 0x80, 1, 2, 3, 4];
        let mut talk = Talk::default();
        for _ in 0..1000 {
            assert!(talk.heard(&ping) && talk.listens());
            talk.said(&[0x8a, 0], true);
        }
        let slow = (0..1000).take_while(|_| {
            talk.heard(&ping);
            talk.said(&[0x8a, 0], false);
            talk.listens()
        });
        assert_eq!(slow.count(), PINGS_UNANSWERED as usize);
    }
}
