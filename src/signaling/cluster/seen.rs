//! What a node saw of its store's identity, and what follows from that.

use std::time::Duration;

use crate::store::Generation;

/// After calls are restored, so long is left for what was said meanwhile.
pub const WORDS_FIRST: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Seen {
    pub generation: Option<Generation>,
    pub connection: u64,
    /// No deadline is judged before, by the monotonic clock.
    pub quiet_until: Duration,
    /// Nothing is decided while this node restores what it holds and waits for the others, perhaps for several losses.
    pub restoring: usize,
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

    /// The store lost something a moment ago.
    pub fn is_quiet(&self, now: Duration) -> bool {
        !self.is_restored() || self.quiet_until > now
    }
}
