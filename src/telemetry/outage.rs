//! An outage of the store, in two lines: what every command and every loop of a node has to say of it meanwhile is at
//! `debug`.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// A process has one store.
static REDIS: LazyLock<Outage> = LazyLock::new(Outage::default);

/// Redis failed a command, refused it or did not answer.
pub fn redis_failed(error: &impl Display) {
    if REDIS.failed() {
        tracing::warn!(%error, "redis lost: what follows of it is said at debug");
    }
}

/// Redis renewed this node's lease.
pub fn redis_answers() {
    if let Some((waited, failed)) = REDIS.over() {
        tracing::info!(failed, "redis back after {:.1} s", waited.as_secs_f64());
    }
}

struct Outage {
    clock: Clock,
    lost: Mutex<Option<Lost>>,
}

struct Lost {
    since: Duration,
    failed: u64,
}

impl Default for Outage {
    fn default() -> Self {
        Self { clock: Clock::system(), lost: Mutex::default() }
    }
}

impl Outage {
    /// True where it begins.
    fn failed(&self) -> bool {
        let mut lost = self.lost.lock();
        let begins = lost.is_none();
        lost.get_or_insert_with(|| Lost { since: self.clock.elapsed(), failed: 0 }).failed += 1;
        begins
    }

    /// How long it was, and how many commands it failed.
    fn over(&self) -> Option<(Duration, u64)> {
        let Lost { since, failed } = self.lost.lock().take()?;
        Some((self.clock.elapsed().saturating_sub(since), failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_once_and_ends_once() {
        let outage = Outage::default();
        assert!(outage.over().is_none());
        assert_eq!([outage.failed(), outage.failed(), outage.failed()], [true, false, false]);
        assert_eq!(outage.over().map(|(_, failed)| failed), Some(3));
        assert!(outage.over().is_none());
        assert!(outage.failed());
    }
}
