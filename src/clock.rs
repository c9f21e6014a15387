//! The one home of time. Store time is a clock that all nodes share: the store's own clock, plus a shift kept in the
//! store that takes back every step of it. A node follows it by a monotonic clock that also counts suspension, plus an
//! offset estimated at each lease renewal. Waiting and ageing inside a node use the monotonic clock.

mod estimate;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

pub use estimate::{Reading, SLEW, Shift, StoreTime};

use crate::call::Timestamp;
use estimate::{Estimates, Judged, millis};

#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System {
        /// Store time less the monotonic clock, in milliseconds.
        offset: AtomicI64,
        last: AtomicU64,
        /// What the offset was last taken from.
        estimates: Mutex<Estimates>,
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
            estimates: Mutex::default(),
        }))
    }

    pub fn manual(start: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(watch::Sender::new(start.as_millis()))))
    }

    /// Store time. Never moves backwards, but where a node that has known it for a moment, or took back a step itself, learns from others that it was wrong.
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

    /// The same for what waits or ages as long as [`Clock::sleep`] does: by a manual clock where that is in use.
    pub fn uptime(&self) -> Duration {
        match &*self.0 {
            Source::System { .. } => boot_time(),
            Source::Manual(time) => Duration::from_millis(*time.borrow()),
        }
    }

    /// Learns the store's time. Where the store's own clock made a step, this clock does not: returns the shift that is
    /// to be written to the store, so that it makes none for anybody.
    pub fn follow(&self, reading: Reading) -> Option<Shift> {
        let Source::System { offset, last, estimates } = &*self.0 else { return None };
        match estimates.lock().judge(reading) {
            Judged::Kept => None,
            Judged::Follow(new) => {
                offset.store(new, Ordering::Relaxed);
                None
            }
            Judged::Anew(new) => {
                offset.store(new, Ordering::Relaxed);
                last.store(0, Ordering::Relaxed);
                None
            }
            Judged::Stepped(shift) => Some(shift),
        }
    }

    /// The shift that [`Clock::follow`] asked for is written.
    pub fn shifted(&self, shift: Shift) {
        if let Source::System { estimates, .. } = &*self.0 {
            estimates.lock().shifted(shift, boot_time());
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

    /// Waits by the monotonic clock, whatever store time does meanwhile.
    pub async fn sleep(&self, duration: Duration) {
        match &*self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(_) => self.sleep_until(self.now() + duration).await,
        }
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
