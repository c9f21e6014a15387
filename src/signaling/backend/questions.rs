//! Questions to an unmodified backend, which knows what nobody told us.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::{Actor, Asked, Call, CallId, Command, RowStatus, SealedToken, UserId};
use crate::telemetry::metrics::{self, Inquired};

const MINUTE: Duration = Duration::from_secs(60);
/// Questions in a minute about the unknown calls of one user, or about one call: they are charged to a user's allowance at
/// the backend, and about a call that makes somebody busy to parties who did not ask.
const PER_MINUTE: u32 = 6;
/// Users or calls whose questions are counted; more have to wait until a minute is over.
const COUNTED: usize = 10_000;
/// Questions about absent phones at the same time: when all nodes were away they come for all calls at once, and others
/// are urgent.
const ABSENT_AT_ONCE: usize = 4;

/// The backend's own table of calls.
#[async_trait]
pub trait BackendCallTable: Send + Sync {
    /// Its row of a call, asked for with the first of these tokens that it accepts.
    async fn row(&self, id: &CallId, tokens: &[SealedToken]) -> Asked;
}

/// Questions to an unmodified backend, within their bounds.
pub struct Questions {
    table: Option<Arc<dyn BackendCallTable>>,
    /// About unknown calls.
    unknown: Minutes<UserId>,
    /// About calls that make somebody busy, by one of their parties or by anybody else.
    busy: Minutes<(CallId, bool)>,
    absent: Semaphore,
}

/// Questions in the current minute: when it began, on a clock that only runs forward, and how many.
struct Minutes<K>(Mutex<HashMap<K, (Duration, u32)>>);

impl<K: Eq + Hash> Minutes<K> {
    fn take(&self, key: K, now: Duration) -> bool {
        let mut asked = self.0.lock();
        if asked.len() >= COUNTED {
            asked.retain(|_, (since, _)| now.saturating_sub(*since) < MINUTE);
        }
        if asked.len() >= COUNTED && !asked.contains_key(&key) {
            return false;
        }
        let (since, count) = asked.entry(key).or_insert((now, 0));
        if now.saturating_sub(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= PER_MINUTE
    }
}

impl Questions {
    pub fn new(table: Option<Arc<dyn BackendCallTable>>) -> Self {
        let (unknown, busy) = (Minutes(Mutex::default()), Minutes(Mutex::default()));
        Self { table, unknown, busy, absent: Semaphore::new(ABSENT_AT_ONCE) }
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        self.table.is_some()
    }

    /// Waits for a turn to ask about absent phones; absent where nobody's turn came in time.
    pub async fn turn_for_absent(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(MINUTE, self.absent.acquire()).await.ok()?.ok()
    }

    /// The backend's row of a call, or that it could not be asked.
    pub async fn ask(&self, id: &CallId, tokens: &[SealedToken], patience: Duration) -> Asked {
        let Some(table) = &self.table else { return Asked::Unknown };
        if tokens.is_empty() {
            return Asked::Unknown;
        }
        tokio::time::timeout(patience, table.row(id, tokens)).await.unwrap_or(Asked::Unavailable)
    }

    /// Whether this user may ask about one more unknown call in this minute.
    pub fn take(&self, user: &UserId, now: Duration) -> bool {
        self.unknown.take(user.clone(), now)
    }

    /// Whether one more question may be asked in this minute about a call that makes somebody busy. Its parties ask with
    /// tokens that may be newer than the record's: what others ask does not count against them.
    pub fn take_busy(&self, line: &CallId, by_party: bool, now: Duration) -> bool {
        self.busy.take((line.clone(), by_party), now)
    }
}

/// What the backend says of a live call that was not said here, counted; absent where it could not be asked.
pub fn decided_elsewhere(call: &Call, asked: &Asked) -> Option<Option<Command>> {
    let decided = match asked {
        Asked::Row(row) if row.is_of(call) => command_of(call, row.status),
        // Of another call, whose id a phone took.
        Asked::Row(_) | Asked::Unknown | Asked::Forbidden => None,
        Asked::Unavailable => {
            metrics::inquired(Inquired::Unavailable);
            return None;
        }
    };
    metrics::inquired(match &decided {
        Some(Command::Accept { .. }) => Inquired::Accepted,
        Some(_) => Inquired::Over,
        None => Inquired::Stands,
    });
    Some(decided)
}

fn command_of(call: &Call, status: RowStatus) -> Option<Command> {
    let callee = || Actor::over_http(&call.callee.user, None);
    match (status, call.is_ringing()) {
        (RowStatus::Open, _) | (RowStatus::Ongoing, false) => None,
        (RowStatus::Ongoing, true) => Some(Command::Accept { by: callee() }),
        (RowStatus::Rejected, true) => Some(Command::Reject { by: callee(), reason: None }),
        (RowStatus::Cancelled, true) => {
            Some(Command::Cancel { by: Actor::over_http(&call.caller.user, None), reason: None })
        }
        // Its own deadline says so.
        (RowStatus::Missed, true) => None,
        (RowStatus::Ended, true) => Some(Command::Dismiss { reason: None }),
        (status, false) => status.is_final().then_some(Command::Dismiss { reason: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dials_a_busy_user_again_and_again_spends_little_of_his_allowance() {
        let (questions, second) = (Questions::new(None), Duration::from_secs);
        let call = |number: usize| CallId::parse(&format!("CALL_{number}")).unwrap();
        let asked = |by_party, now| (0..100).filter(|_| questions.take_busy(&call(0), by_party, now)).count();
        assert_eq!((asked(false, second(1)), asked(false, second(60)), asked(false, second(61))), (6, 0, 6));
        assert_eq!((asked(true, second(61)), asked(true, second(62))), (6, 0), "a party's own");
        // However many calls there are.
        assert!((1..2 * COUNTED).any(|number| !questions.take_busy(&call(number), false, second(62))));
        assert_eq!(questions.busy.0.lock().len(), COUNTED);
        assert!(questions.take_busy(&call(3 * COUNTED), false, second(122)), "once the minute is over");
    }
}
