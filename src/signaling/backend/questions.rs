//! Questions to an unmodified backend, which knows what nobody told us.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::{Actor, Asked, Call, CallId, Command, RowStatus, SealedToken, Timestamp, UserId};
use crate::telemetry::metrics::{self, Inquired};

const MINUTE: Duration = Duration::from_secs(60);
const EARLY_COMMANDS_PER_MINUTE: u32 = 6;
/// Users whose questions are counted; beyond it those of past minutes go.
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
    /// About unknown calls, by user: start of the minute and questions in it.
    unknown: Mutex<HashMap<UserId, (Timestamp, u32)>>,
    absent: Semaphore,
}

impl Questions {
    pub fn new(table: Option<Arc<dyn BackendCallTable>>) -> Self {
        Self { table, unknown: Mutex::default(), absent: Semaphore::new(ABSENT_AT_ONCE) }
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
    pub fn take(&self, user: &UserId, now: Timestamp) -> bool {
        let mut asked = self.unknown.lock();
        if asked.len() >= COUNTED {
            asked.retain(|_, (since, _)| now.since(*since) < MINUTE);
        }
        let (since, count) = asked.entry(user.clone()).or_insert((now, 0));
        if now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= EARLY_COMMANDS_PER_MINUTE
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
