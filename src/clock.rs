//! The one home of time. Store time is the store's clock: a monotonic clock that also counts suspension, plus an
//! offset estimated at each lease renewal. The node's wall clock is asked once, for the memory store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use crate::call::Timestamp;

#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System {
        offset: AtomicI64,
        last: AtomicU64,
        /// What the offset was last taken from; absent until the store's time is known.
        estimate: Mutex<Option<Estimate>>,
    },
    /// Moved by tests.
    Manual(watch::Sender<u64>),
}

/// A reading of the store's clock.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    offset: i64,
    /// Milliseconds by which it may be wrong: half of the time the answer took.
    error: i64,
    at: Duration,
}

impl Estimate {
    /// Two clocks drift apart by at most 200 parts in a million.
    fn error_at(&self, now: Duration) -> i64 {
        self.error + millis(now.saturating_sub(self.at)) / 5000
    }
}

impl Clock {
    /// The machine's clock, until [`Clock::follow`] learns the store's.
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    pub fn system() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let offset = millis(wall) - millis(boot_time());
        Self(Arc::new(Source::System {
            offset: AtomicI64::new(offset),
            last: AtomicU64::new(0),
            estimate: Mutex::default(),
        }))
    }

    pub fn manual(start: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(watch::Sender::new(start.as_millis()))))
    }

    /// Store time. Never moves backwards.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System { offset, last, .. } => {
                let now = millis(boot_time()) + offset.load(Ordering::Relaxed);
                let now = u64::try_from(now).unwrap_or(0);
                Timestamp::from_millis(last.fetch_max(now, Ordering::Relaxed).max(now))
            }
            Source::Manual(time) => Timestamp::from_millis(*time.borrow()),
        }
    }

    /// Store time as finely as the machine counts. May step back a little where the store's clock is learnt anew.
    pub fn since_epoch(&self) -> Duration {
        match &*self.0 {
            Source::System { offset, .. } => {
                let (boot, offset) = (boot_time(), offset.load(Ordering::Relaxed));
                let shift = Duration::from_millis(offset.unsigned_abs());
                if offset < 0 { boot.saturating_sub(shift) } else { boot + shift }
            }
            Source::Manual(time) => Duration::from_millis(*time.borrow()),
        }
    }

    /// Time since an arbitrary start, counting suspension: measures how old a decision is.
    pub fn elapsed(&self) -> Duration {
        boot_time()
    }

    /// Learns the store's time, read between the two monotonic readings. A reading that took long says less than an
    /// older one that did not: nodes compare each other's times, and a busy machine must not set them apart.
    pub fn follow(&self, store_now: Timestamp, asked: Duration, answered: Duration) {
        if let Source::System { offset, last, estimate } = &*self.0 {
            let middle = (millis(asked) + millis(answered)) / 2;
            let store_now = i64::try_from(store_now.as_millis()).unwrap_or(i64::MAX);
            let error = (millis(answered) - millis(asked)) / 2 + 1;
            let new = Estimate { offset: store_now - middle, error, at: answered };
            let mut estimate = estimate.lock();
            let better = estimate.is_none_or(|old| {
                let old_error = old.error_at(answered);
                // Further apart than both may be wrong: it is another clock now.
                error <= old_error || (new.offset - old.offset).abs() > error + old_error
            });
            if !better {
                return;
            }
            offset.store(new.offset, Ordering::Relaxed);
            if estimate.replace(new).is_none() {
                // The machine's wall clock, which may be ahead, is forgotten.
                last.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Returns at `time` or later.
    pub async fn sleep_until(&self, time: Timestamp) {
        match &*self.0 {
            Source::System { .. } => loop {
                let left = time.since(self.now());
                if left.is_zero() {
                    return;
                }
                // Capped, so that a store clock that jumped is noticed.
                tokio::time::sleep(left.min(Duration::from_secs(1))).await;
            },
            Source::Manual(sender) => {
                let mut time_passes = sender.subscribe();
                let reached = time_passes.wait_for(|now| *now >= time.as_millis()).await;
                debug_assert!(reached.is_ok(), "the clock holds its own sender");
            }
        }
    }

    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Moves a manual clock forward; the system's clock can't be moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &*self.0 {
            time.send_modify(|now| *now += u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By how much the clock is ahead of a store whose time is the boot time plus `ahead`.
    fn ahead(clock: &Clock, ahead: u64) -> i64 {
        let now = i64::try_from(clock.now().as_millis()).unwrap();
        now - (millis(boot_time()) + i64::try_from(ahead).unwrap())
    }

    #[test]
    fn a_slow_answer_does_not_set_the_clock() {
        let clock = Clock::system();
        let asked = boot_time();
        let store = |ahead: u64, at: Duration| Timestamp::from_millis(u64::try_from(millis(at)).unwrap() + ahead);
        clock.follow(store(5000, asked), asked, asked + Duration::from_millis(2));
        assert!(ahead(&clock, 5000).abs() <= 3);
        // 800 ms under way, all of it after the store looked at its clock.
        clock.follow(store(5000, asked), asked, asked + Duration::from_millis(800));
        assert!(ahead(&clock, 5000).abs() <= 3);
        // Another server, whose clock is 20 s ahead.
        clock.follow(store(25_000, asked), asked, asked + Duration::from_millis(100));
        assert!(ahead(&clock, 25_000).abs() <= 60);
    }
}
