use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests at the same time from one node, by what they are for. A Laravel that takes 3 s for each of many new tokens
/// must not make a ring miss the question before its deadline.
const HANDSHAKES_AT_ONCE: usize = 32;
/// They are made one after the other; the rest is for those that share a handshake's token.
const CHECKS_AT_ONCE: usize = 2;
const QUESTIONS_AT_ONCE: usize = 16;
/// As many as callbacks are carried at the same time: none waits.
pub(super) const CALLBACKS_AT_ONCE: usize = 16;

/// What a request is for. One kind never waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Whose is the token of a phone that connects.
    Handshakes,
    /// Whether a token that was accepted unchecked still is one.
    Checks,
    /// What the table of calls says before a ring is given up, or somebody is told busy.
    Questions,
    Callbacks,
}

/// Places for requests to Laravel.
pub(super) struct Lanes([Semaphore; 4]);

impl Default for Lanes {
    fn default() -> Self {
        Self([HANDSHAKES_AT_ONCE, CHECKS_AT_ONCE, QUESTIONS_AT_ONCE, CALLBACKS_AT_ONCE].map(Semaphore::new))
    }
}

impl Lanes {
    /// A place in the lane; absent where none gets free within `patience`.
    pub async fn place(&self, lane: Lane, patience: Duration) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(patience, self.0[lane as usize].acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_lane_is_in_no_other_lanes_way_and_waits_no_longer_than_asked() {
        let (lanes, patience) = (Lanes::default(), Duration::from_millis(50));
        let mut held = Vec::new();
        while let Some(place) = lanes.place(Lane::Handshakes, Duration::ZERO).await {
            held.push(place);
        }
        assert_eq!(held.len(), HANDSHAKES_AT_ONCE);
        let started = tokio::time::Instant::now();
        assert!(lanes.place(Lane::Handshakes, patience).await.is_none());
        assert!(started.elapsed() >= patience);
        for other in [Lane::Checks, Lane::Questions, Lane::Callbacks] {
            assert!(lanes.place(other, Duration::ZERO).await.is_some(), "{other:?}");
        }
        held.pop();
        assert!(lanes.place(Lane::Handshakes, Duration::ZERO).await.is_some());
    }
}
