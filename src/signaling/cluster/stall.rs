//! Did this process stand still? What phones said meanwhile lay in its buffers, and some of them are long gone.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

const BEAT: Duration = Duration::from_millis(250);
/// Nobody waits longer for a first sign that his call is on its way.
const STOOD_STILL: Duration = Duration::from_secs(2);
/// Within this, what lay in buffers is read.
const CATCHING_UP: Duration = Duration::from_secs(3);

/// Times are those of [`Clock::elapsed`](crate::clock::Clock::elapsed), which goes on while the machine is suspended.
pub struct StallDetector(Mutex<Beats>);

struct Beats {
    last: Duration,
    /// When it went on after it had stood still.
    woke: Option<Duration>,
}

impl StallDetector {
    pub fn new(now: Duration) -> Self {
        Self(Mutex::new(Beats { last: now, woke: None }))
    }

    /// Notices pauses, again and again.
    pub async fn keep_beating(&self, clock: Clock) {
        loop {
            self.beat(clock.elapsed());
            tokio::time::sleep(BEAT).await;
        }
    }

    fn beat(&self, now: Duration) {
        let mut beats = self.0.lock();
        if now.saturating_sub(beats.last) > STOOD_STILL {
            beats.woke = Some(now);
        }
        beats.last = now;
    }

    /// How long it has gone on without a pause; absent where it has not stood still.
    pub fn goes_on_for(&self, now: Duration) -> Option<Duration> {
        let beats = self.0.lock();
        if now.saturating_sub(beats.last) > STOOD_STILL {
            return Some(Duration::ZERO);
        }
        beats.woke.map(|woke| now.saturating_sub(woke))
    }

    /// Whether what is read now may have been said long ago.
    pub fn catches_up(&self, now: Duration) -> bool {
        let beats = self.0.lock();
        now.saturating_sub(beats.last) > STOOD_STILL
            || beats.woke.is_some_and(|woke| now.saturating_sub(woke) < CATCHING_UP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_after_a_pause_may_be_old() {
        let (stall, at) = (StallDetector::new(Duration::ZERO), Duration::from_millis);
        stall.beat(at(250));
        assert!(!stall.catches_up(at(2200)), "busy, not still");
        assert!(stall.catches_up(at(2300)), "before the beat is back");
        assert_eq!(stall.goes_on_for(at(2200)), None);
        assert_eq!(stall.goes_on_for(at(2300)), Some(Duration::ZERO));
        stall.beat(at(2300));
        assert_eq!(stall.goes_on_for(at(3300)), Some(at(1000)), "it has tried for a second");
        stall.beat(at(3700));
        assert!(stall.catches_up(at(5200)));
        stall.beat(at(5290));
        assert!(!stall.catches_up(at(5300)));
    }
}
