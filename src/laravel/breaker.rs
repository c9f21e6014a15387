use std::time::Duration;

use parking_lot::Mutex;

use crate::telemetry::metrics;

/// Failures in a row that open the breaker.
const THRESHOLD: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Keeps requests away from a Laravel that fails: after some failures in a row one request at a time is tried, after
/// growing pauses. Times are those of a clock that only runs forward.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    pause: Duration,
    /// No request before this while open.
    closed_until: Duration,
}

impl Breaker {
    /// Whether a request may be made now. While open, whoever is let through is the probe.
    pub fn allows(&self, now: Duration) -> bool {
        let mut state = self.0.lock();
        if state.failures < THRESHOLD {
            return true;
        }
        if now < state.closed_until {
            return false;
        }
        state.closed_until = now + state.pause;
        true
    }

    /// Whether [`Breaker::allows`] would refuse; takes no probe.
    pub fn is_open(&self, now: Duration) -> bool {
        let state = self.0.lock();
        state.failures >= THRESHOLD && now < state.closed_until
    }

    /// Whether it opened, and nothing has succeeded since.
    pub fn has_opened(&self) -> bool {
        self.0.lock().failures >= THRESHOLD
    }

    pub fn succeeded(&self) {
        let mut state = self.0.lock();
        if state.failures >= THRESHOLD {
            metrics::laravel_breaker_open(0);
        }
        *state = State::default();
    }

    pub fn failed(&self, now: Duration) {
        let mut state = self.0.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= THRESHOLD {
            metrics::laravel_breaker_open(1);
            state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            state.closed_until = now + state.pause;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_and_lets_single_probes_through() {
        let (breaker, second) = (Breaker::default(), Duration::from_secs);
        for _ in 0..THRESHOLD {
            assert!(breaker.allows(second(0)));
            breaker.failed(second(0));
        }
        assert!(!breaker.allows(Duration::from_millis(999)));
        assert!(breaker.allows(second(1)), "a probe");
        assert!(!breaker.allows(second(1)), "and only one");
        breaker.failed(second(1));
        assert!(!breaker.allows(Duration::from_millis(2999)), "the pause grows");
        assert!(breaker.allows(second(3)));
        breaker.succeeded();
        assert!(breaker.allows(second(3)) && breaker.allows(second(3)));
    }
}
