//! The one home of time. Store time is the store's clock: a monotonic clock that also counts suspension, plus an
//! offset estimated at each lease renewal. The node's wall clock is asked once, for the memory store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        /// The store's time is known.
        follows: AtomicBool,
    },
    /// Moved by tests.
    Manual(watch::Sender<u64>),
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
            follows: AtomicBool::new(false),
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

    /// Time since an arbitrary start, counting suspension: measures how old a decision is.
    pub fn elapsed(&self) -> Duration {
        boot_time()
    }

    /// Adopts the store's time, read between the two monotonic readings.
    pub fn follow(&self, store_now: Timestamp, asked: Duration, answered: Duration) {
        if let Source::System { offset, last, follows } = &*self.0 {
            let middle = (millis(asked) + millis(answered)) / 2;
            let store_now = i64::try_from(store_now.as_millis()).unwrap_or(i64::MAX);
            offset.store(store_now - middle, Ordering::Relaxed);
            if !follows.swap(true, Ordering::Relaxed) {
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
