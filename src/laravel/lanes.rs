use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests at the same time from one node, by what they are for. A Laravel that takes 3 s for each of many new tokens
/// must not make a ring miss the question before its deadline.
/// Kept for tokens and addresses that were good before.
const HANDSHAKES_AT_ONCE: usize = 8;
/// Of a phone's first token as of one that was made up; whoever may use the places above may use these, too.
const STRANGERS_AT_ONCE: usize = 24;
/// They are made one after the other; the rest is for those that share a handshake's token.
const CHECKS_AT_ONCE: usize = 2;
const QUESTIONS_AT_ONCE: usize = 16;
/// As many as callbacks are carried at the same time: none waits.
pub(super) const CALLBACKS_AT_ONCE: usize = 16;

/// What a request is for. One kind never waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Whose is the token of a phone that connects, where it or its address was good before.
    Handshakes,
    /// Whether a token that was accepted unchecked still is one.
    Checks,
    /// What the table of calls says before a ring is given up, or somebody is told busy.
    Questions,
    Callbacks,
    /// Whose is a token that was never seen, of an address that brought no good one.
    Strangers,
}

/// Places for requests to Laravel.
pub(super) struct Lanes([Semaphore; 5]);

impl Default for Lanes {
    fn default() -> Self {
        Self(
            [HANDSHAKES_AT_ONCE, CHECKS_AT_ONCE, QUESTIONS_AT_ONCE, CALLBACKS_AT_ONCE, STRANGERS_AT_ONCE]
                .map(Semaphore::new),
        )
    }
}

impl Lanes {
    /// A place in the lane; absent where none gets free within `patience`.
    pub async fn place(&self, lane: Lane, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let places = |lane: Lane| self.0[lane as usize].acquire();
        let place = async {
            if lane != Lane::Handshakes {
                return places(lane).await;
            }
            tokio::select! {
                biased;
                place = places(Lane::Handshakes) => place,
                place = places(Lane::Strangers) => place,
            }
        };
        tokio::time::timeout(patience, place).await.ok()?.ok()
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
        assert_eq!(held.len(), HANDSHAKES_AT_ONCE + STRANGERS_AT_ONCE);
        let started = tokio::time::Instant::now();
        assert!(lanes.place(Lane::Handshakes, patience).await.is_none());
        assert!(started.elapsed() >= patience);
        for other in [Lane::Checks, Lane::Questions, Lane::Callbacks] {
            assert!(lanes.place(other, Duration::ZERO).await.is_some(), "{other:?}");
        }
        held.pop();
        assert!(lanes.place(Lane::Handshakes, Duration::ZERO).await.is_some());
    }

    #[tokio::test]
    async fn strangers_leave_places_for_who_is_known() {
        let lanes = Lanes::default();
        let mut held = Vec::new();
        while let Some(place) = lanes.place(Lane::Strangers, Duration::ZERO).await {
            held.push(place);
        }
        assert_eq!(held.len(), STRANGERS_AT_ONCE);
        assert!(lanes.place(Lane::Handshakes, Duration::ZERO).await.is_some());
    }
}
