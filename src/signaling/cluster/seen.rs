//! What a node saw of its store's identity, and what follows from that.

use std::time::Duration;

use crate::store::Generation;

/// After calls are restored, or the connection was made again, so long is left for what was said meanwhile.
pub const WORDS_FIRST: Duration = Duration::from_secs(2);
/// Then deadlines are judged for so long at least, however often the connection breaks.
const DEADLINES_THEN: Duration = Duration::from_secs(4);

#[derive(Default)]
pub struct Seen {
    pub generation: Option<Generation>,
    pub connection: u64,
    /// No deadline is judged before, by the monotonic clock.
    pub quiet_until: Duration,
    /// Nor before that, by the same clock, though nothing was lost: words may wait that were said in time.
    words_first_until: Duration,
    /// Nothing is decided while this node restores what it holds and waits for the others, perhaps for several losses.
    pub restoring: usize,
    /// Calls of a later order began after the last loss, as far as that is known.
    pub newest_then: Option<u64>,
    /// Losses after which this node decides again while others may still put back.
    pub awaiting: usize,
}

impl Seen {
    /// Restoring was given up, and nobody has asked again which store this is.
    pub fn is_given_up(&self) -> bool {
        self.generation == Some(Generation::unknown())
    }

    /// Nothing is being put back, nor was given up before all of it was.
    pub fn is_restored(&self) -> bool {
        self.restoring == 0 && !self.is_given_up()
    }

    /// All had less than a lease to put back since it was lost, whoever is waited for.
    pub fn rests(&self, now: Duration) -> bool {
        self.quiet_until > now
    }

    /// The store lost something a moment ago.
    pub fn is_quiet(&self, now: Duration) -> bool {
        !self.is_restored() || self.awaiting > 0 || self.rests(now)
    }

    /// The connection was made again: what was said while it was away is tried before any deadline is judged.
    pub fn lets_words_first(&mut self, now: Duration) {
        if now >= self.words_first_until + DEADLINES_THEN {
            self.words_first_until = now + WORDS_FIRST;
        }
    }

    pub fn may_judge(&self, now: Duration) -> bool {
        !self.is_quiet(now) && self.words_first_until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However often the connection of one node breaks, it judges deadlines most of the time.
    #[test]
    fn a_connection_that_breaks_again_and_again_keeps_no_deadline_waiting() {
        let (mut seen, mut waits) = (Seen::default(), 0);
        for tenth in 1000..1600 {
            let now = Duration::from_millis(100) * tenth;
            seen.lets_words_first(now);
            waits += usize::from(!seen.may_judge(now));
        }
        assert!((190..=210).contains(&waits), "{waits} of 600 tenths of a second");
    }
}
