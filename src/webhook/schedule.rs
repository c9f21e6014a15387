//! When a webhook that failed is sent again, as data.

use std::time::Duration;

use crate::call::Timestamp;
use crate::store::{Claim, Settled};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// Seconds until the next attempt, by attempts that failed: some three days in all.
const RECORDS: [u64; 9] = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// The messages of a call wait for one that fails so many times, then it goes its own way: order where the receiver had
/// a bad moment, no call held up for days by one message that it will not take.
const WAITED_FOR: u32 = 3;
/// A push is tried again until nothing rings any more.
const PUSHES: [u64; 5] = [1, 1, 2, 3, 5];
/// What a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * HOUR);

/// What becomes of a record after a failed attempt; `wait` is what the receiver asked for, `jitter` 0 to 1.
pub(super) fn record_failed(
    claim: &Claim,
    error: &str,
    wait: Option<Duration>,
    jitter: f64,
    now: Timestamp,
) -> Settled {
    let attempts = claim.attempts + 1;
    let Some(pause) = RECORDS.get(claim.attempts as usize) else {
        return Settled::Dead { error: error.to_owned(), attempts };
    };
    let at = now + later(*pause, wait, jitter);
    if attempts < WAITED_FOR { Settled::Later { at, attempts } } else { Settled::Apart { at, attempts } }
}

/// What becomes of a push after a failed attempt.
pub(super) fn push_failed(claim: &Claim, wait: Option<Duration>, jitter: f64, now: Timestamp) -> Settled {
    let pause = PUSHES.get(claim.attempts as usize).unwrap_or(&PUSHES[PUSHES.len() - 1]);
    Settled::Later { at: now + later(*pause, wait, jitter), attempts: claim.attempts + 1 }
}

/// Jitter only adds, up to a tenth: nothing is sent before the receiver asked for it.
fn later(pause: u64, wait: Option<Duration>, jitter: f64) -> Duration {
    let pause = Duration::from_secs(pause).max(wait.unwrap_or_default().min(LONGEST_WAIT));
    pause.mul_f64(1.0 + jitter / 10.0)
}

#[cfg(test)]
pub(in crate::webhook) mod tests {
    use super::*;
    use crate::store::{OutboxMessage, Queue};

    pub fn claim(attempts: u32) -> Claim {
        let now = Timestamp::from_millis(0);
        let message = OutboxMessage {
            id: "1.1".into(),
            queue: Queue::Events,
            call: None,
            at: now,
            due: now,
            until: None,
            body: "{}".into(),
        };
        Claim::of(message, attempts)
    }

    #[test]
    fn records_are_tried_over_days_and_then_given_up() {
        let now = Timestamp::from_millis(1000);
        let mut total = Duration::ZERO;
        for failed in 0..RECORDS.len() as u32 {
            let (at, attempts) = match record_failed(&claim(failed), "x", None, 0.0, now) {
                Settled::Later { at, attempts } if failed < 2 => (at, attempts),
                Settled::Apart { at, attempts } if failed >= 2 => (at, attempts),
                other => panic!("{other:?} after {failed}"),
            };
            assert_eq!(attempts, failed + 1);
            total += at.since(now);
        }
        assert!(total > Duration::from_secs(75 * HOUR) && total < Duration::from_secs(77 * HOUR), "{total:?}");
        assert!(matches!(record_failed(&claim(9), "HTTP 500", None, 0.0, now), Settled::Dead { attempts: 10, .. }));
    }

    #[test]
    fn the_receivers_wish_is_a_minimum() {
        let now = Timestamp::from_millis(0);
        let at = |wait, jitter| match record_failed(&claim(0), "x", wait, jitter, now) {
            Settled::Later { at, .. } => at.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!(at(None, 0.0), 5000);
        assert_eq!(at(None, 1.0), 5500);
        assert_eq!(at(Some(Duration::from_secs(60)), 0.0), 60_000);
        assert_eq!(at(Some(Duration::from_secs(1)), 0.0), 5000);
        assert_eq!(at(Some(Duration::from_secs(1_000_000)), 0.0), 86_400_000);
    }

    #[test]
    fn pushes_are_tried_in_seconds() {
        let now = Timestamp::from_millis(0);
        for (failed, expected) in [(0, 1000), (2, 2000), (4, 5000), (40, 5000)] {
            let settled = push_failed(&claim(failed), None, 0.0, now);
            assert_eq!(settled, Settled::Later { at: Timestamp::from_millis(expected), attempts: failed + 1 });
        }
    }
}
