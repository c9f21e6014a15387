//! How fast a receiver is sent to: it is left alone while it fails, and slowed down to where it says "too much".

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;

/// So many different messages failed in a row, or those of so many users: it is the receiver. From then on only single probes
/// are sent.
const THRESHOLD: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A receiver that asks for more patience than this is asked again all the same.
const LONGEST_REST: Duration = Duration::from_secs(600);

impl State {
    fn is_open(&self) -> bool {
        self.failed.len() >= THRESHOLD
    }
}

/// The pace towards one receiver. Times are those of a clock that only runs forward.
pub(super) struct Pace {
    most: usize,
    state: Mutex<State>,
}

struct State {
    /// What failed since the last success, up to the threshold: messages, and users.
    failed: HashSet<String>,
    pause: Duration,
    /// Nothing is sent before.
    rest_until: Duration,
    /// At the same time.
    limit: usize,
    off: bool,
}

impl Pace {
    pub fn new(most: usize) -> Self {
        let state = State {
            failed: HashSet::new(),
            pause: Duration::ZERO,
            rest_until: Duration::ZERO,
            limit: most,
            off: false,
        };
        Self { most, state: Mutex::new(state) }
    }

    /// How many requests may be on their way now.
    pub fn room(&self, now: Duration) -> usize {
        let state = self.state.lock();
        if state.off || now < state.rest_until {
            0
        } else if state.is_open() {
            1
        } else {
            state.limit
        }
    }

    /// Whether what is sent now is a probe, whose failure says nothing of the message.
    pub fn is_open(&self) -> bool {
        self.state.lock().is_open()
    }

    /// True where the receiver is back after it failed.
    pub fn succeeded(&self) -> bool {
        let mut state = self.state.lock();
        let was_open = state.is_open();
        state.failed.clear();
        state.pause = Duration::ZERO;
        state.limit = (state.limit + 1).min(self.most);
        was_open
    }

    /// Returns how long the receiver is left alone. What was sent before it was and fails meanwhile is no news.
    pub fn failed(&self, culprit: &str, probe: bool, now: Duration) -> Duration {
        let mut state = self.state.lock();
        let was_open = state.is_open();
        if !was_open {
            state.failed.insert(culprit.to_owned());
        }
        let news = if was_open { probe && now >= state.rest_until } else { state.is_open() };
        if news {
            state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            state.rest_until = state.rest_until.max(now + state.pause);
        }
        state.rest_until.saturating_sub(now)
    }

    /// The receiver says that it is too much, and perhaps for how long.
    pub fn too_much(&self, wait: Option<Duration>, now: Duration) {
        let mut state = self.state.lock();
        state.limit = (state.limit / 2).max(1);
        if let Some(wait) = wait {
            state.rest_until = state.rest_until.max(now + wait.min(LONGEST_REST));
        }
    }

    pub fn switch(&self, off: bool) {
        self.state.lock().off = off;
    }

    pub fn is_off(&self) -> bool {
        self.state.lock().off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_receiver_gets_single_probes() {
        let (pace, second) = (Pace::new(8), Duration::from_secs);
        for _ in 0..20 {
            pace.failed("the same message", false, second(0));
        }
        for message in ["b", "c", "d", "e"] {
            assert_eq!(pace.room(second(0)), 8);
            pace.failed(message, false, second(0));
        }
        assert!(pace.is_open());
        for straggler in 0..20 {
            pace.failed(&straggler.to_string(), false, Duration::from_millis(500));
        }
        assert_eq!(pace.room(Duration::from_millis(999)), 0);
        assert_eq!(pace.room(second(1)), 1, "a probe");
        assert_eq!(pace.failed("straggler", false, second(1)), Duration::ZERO);
        assert_eq!(pace.failed("f", true, second(1)), second(2), "the pause grows");
        assert_eq!(pace.failed("f", true, second(2)), second(1), "once for probes at the same time");
        assert_eq!((pace.room(second(2)), pace.room(second(3))), (0, 1));
        assert!(pace.succeeded(), "back");
        assert!(!pace.succeeded());
        assert_eq!(pace.room(second(3)), 8);
    }

    #[test]
    fn too_much_halves_and_success_adds_one() {
        let (pace, second) = (Pace::new(8), Duration::from_secs);
        pace.too_much(None, second(0));
        assert_eq!(pace.room(second(0)), 4);
        pace.too_much(Some(second(30)), second(0));
        assert_eq!((pace.room(second(29)), pace.room(second(30))), (0, 2));
        pace.succeeded();
        assert_eq!(pace.room(second(30)), 3);
        for _ in 0..10 {
            pace.too_much(None, second(30));
        }
        assert_eq!(pace.room(second(30)), 1, "never none");
        pace.switch(true);
        assert_eq!(pace.room(second(30)), 0);
    }
}
