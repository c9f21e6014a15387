//! An outage of the store, in two lines: what every command and every loop of a node has to say of it meanwhile is at
//! `debug`.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// A process has one store.
static REDIS: LazyLock<Outage> = LazyLock::new(Outage::default);

/// What Redis says itself of why it refuses: each is said once in an outage, since an operator goes by it.
const REFUSALS: [&str; 8] = ["NOREPLICAS", "READONLY", "NOPERM", "NOAUTH", "WRONGPASS", "LOADING", "OOM", "MISCONF"];

/// Redis failed a command, refused it or did not answer.
pub fn redis_failed(error: &impl Display) {
    let text = error.to_string();
    match REDIS.failed(REFUSALS.into_iter().find(|refusal| text.contains(refusal))) {
        Some(true) => tracing::warn!(error = text, "redis lost: what follows of it is said at debug"),
        Some(false) => tracing::warn!(error = text, "redis is there and refuses"),
        None => {}
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
    refusals: Vec<&'static str>,
}

impl Default for Outage {
    fn default() -> Self {
        Self { clock: Clock::system(), lost: Mutex::default() }
    }
}

impl Outage {
    /// True where it begins, false where Redis has another reason than before.
    fn failed(&self, refusal: Option<&'static str>) -> Option<bool> {
        let mut lost = self.lost.lock();
        let begins = lost.is_none();
        let lost = lost.get_or_insert_with(|| Lost { since: self.clock.elapsed(), failed: 0, refusals: Vec::new() });
        lost.failed += 1;
        let is_new = refusal.is_some_and(|refusal| !lost.refusals.contains(&refusal));
        lost.refusals.extend(refusal.filter(|_| is_new));
        (begins || is_new).then_some(begins)
    }

    /// How long it was, and how many commands it failed.
    fn over(&self) -> Option<(Duration, u64)> {
        let Lost { since, failed, .. } = self.lost.lock().take()?;
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
        assert_eq!([outage.failed(None), outage.failed(None), outage.failed(None)], [Some(true), None, None]);
        assert_eq!(outage.over().map(|(_, failed)| failed), Some(3));
        assert!(outage.over().is_none());
        let refusals = [Some("LOADING"), Some("LOADING"), None, Some("NOREPLICAS"), Some("LOADING")];
        assert_eq!(refusals.map(|refusal| outage.failed(refusal)), [Some(true), None, None, Some(false), None]);
    }
}
