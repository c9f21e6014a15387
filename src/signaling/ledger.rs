//! An unmodified backend knows what nobody told us: it is asked before a ring is given up, before somebody is told
//! busy because of an old call, about a call both of whose phones are away, and about one that was never initiated here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Failure, Node, Session, Word};
use crate::call::{
    Actor, Asked, Call, CallId, Command, Device, EndReason, Ender, Push, Role, Row, RowStatus, SealedToken, State,
    Timestamp, UserId, Verb,
};
use crate::store::Created;
use crate::telemetry::metrics::{self, Inquired};

/// Below the pause between two inquiries.
const RING_PATIENCE: Duration = Duration::from_secs(4);
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
const VERDICT_PATIENCE: Duration = Duration::from_millis(1500);
/// A ring this young is believed, and an accepted call.
const RING_BELIEVED: Duration = Duration::from_secs(3);
const BELIEVED: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
const VERDICTS_PER_MINUTE: u32 = 6;
/// Users whose questions are counted; beyond it those of past minutes go.
const COUNTED: usize = 10_000;
/// Questions about absent phones at the same time: when all nodes were away they come for all calls at once, and others
/// are urgent.
const ABSENT_AT_ONCE: usize = 4;

/// The backend's own table of calls.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Its row of a call, asked for with the first of these tokens that it accepts.
    async fn row(&self, id: &CallId, tokens: &[SealedToken]) -> Asked;
}

/// Bounds of what is asked.
pub(super) struct Questions {
    /// About unknown calls, by user: start of the minute and questions in it.
    unknown: Mutex<HashMap<UserId, (Timestamp, u32)>>,
    absent: Semaphore,
}

impl Default for Questions {
    fn default() -> Self {
        Self { unknown: Mutex::default(), absent: Semaphore::new(ABSENT_AT_ONCE) }
    }
}

impl Questions {
    pub(super) fn take(&self, user: &UserId, now: Timestamp) -> bool {
        let mut asked = self.unknown.lock();
        if asked.len() >= COUNTED {
            asked.retain(|_, (since, _)| now.since(*since) < MINUTE);
        }
        let (since, count) = asked.entry(user.clone()).or_insert((now, 0));
        if now.since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= VERDICTS_PER_MINUTE
    }
}

/// What the backend says of a live call that was not said here, counted; absent where it could not be asked.
pub(super) fn decided_elsewhere(call: &Call, asked: &Asked) -> Option<Option<Command>> {
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

impl Node {
    pub(super) async fn ask(&self, id: &CallId, tokens: &[SealedToken], patience: Duration) -> Asked {
        let Some(ledger) = &self.ledger else { return Asked::Unknown };
        if tokens.is_empty() {
            return Asked::Unknown;
        }
        tokio::time::timeout(patience, ledger.row(id, tokens)).await.unwrap_or(Asked::Unavailable)
    }

    /// Asks whether a ring that is about to time out was answered elsewhere: one lost word must not cut a call that is
    /// paid for. The next question is stored already, so that nothing rests on this node.
    pub(super) fn ask_before_deadline(self: &Arc<Self>, call: Call) {
        let signaling = Arc::clone(self);
        self.node.spawn(async move {
            let tokens = [&call.caller.tokens[..], &call.callee.tokens].concat();
            let asked = signaling.ask(&call.known_id(), &tokens, RING_PATIENCE).await;
            // Unavailable: asked again, by whoever fires the stored deadline.
            let Some(decided) = decided_elsewhere(&call, &asked) else { return };
            // Refused: something came in meanwhile. Failed: the stored question is asked.
            drop(signaling.transition(&call.id, &decided.unwrap_or(Command::Stand)).await);
        });
    }

    /// Asks whether an accepted call goes on both of whose phones are away, neither with `acks`: two lost sockets are not
    /// two dead phones. The next question is stored already.
    pub(super) fn ask_about_absent(self: &Arc<Self>, call: Call) {
        if self.ledger.is_none() {
            return;
        }
        let signaling = Arc::clone(self);
        self.node.spawn(async move {
            // Nobody's turn within a minute: asked again by then.
            let turn = tokio::time::timeout(MINUTE, signaling.questions.absent.acquire()).await;
            let Ok(Ok(_turn)) = turn else { return };
            let tokens = [&call.caller.tokens[..], &call.callee.tokens].concat();
            let asked = signaling.ask(&call.known_id(), &tokens, RING_PATIENCE).await;
            let Some(Some(command)) = decided_elsewhere(&call, &asked) else { return };
            // Refused: it ended meanwhile. Failed: asked again in a minute.
            drop(signaling.transition(&call.id, &command).await);
        });
    }

    /// Whether a call that makes somebody busy is over by the backend's table; then it ends here too. A ring that was
    /// answered there is active from now on.
    pub(super) async fn is_over_elsewhere(self: &Arc<Self>, line: &Call, dialer: &Actor) -> bool {
        let (since, believed) = match line.state {
            State::Trying | State::Ringing => (line.created_at, RING_BELIEVED),
            State::Active { accepted_at, .. } => (accepted_at, BELIEVED),
            State::Ended(_) => return false,
        };
        if self.ledger.is_none() || self.node.now().since(since) < believed {
            return false;
        }
        let dialer = dialer.token.iter().filter(|_| line.role_of(&dialer.user).is_some()).cloned();
        let tokens: Vec<SealedToken> =
            line.caller.tokens.iter().chain(&line.callee.tokens).cloned().chain(dialer).collect();
        let asked = self.ask(&line.known_id(), &tokens, BUSY_PATIENCE).await;
        let Some(Some(command)) = decided_elsewhere(line, &asked) else { return false };
        let is_accept = matches!(command, Command::Accept { .. });
        self.displace(line, command).await.is_ok() && !is_accept
    }

    /// A call was rejected that nobody initiated here: callers often have no socket at that moment. If the backend
    /// knows it as one that rings this user, its caller is told.
    pub(super) fn reject_unknown(
        self: &Arc<Self>,
        session: &Arc<Session>,
        id: &CallId,
        spelled: &str,
        reason: Option<String>,
    ) {
        let by = session.actor();
        let Some(token) = by.token.clone().filter(|_| self.ledger.is_some()) else { return };
        if !self.questions.take(&by.user, self.node.now()) {
            return;
        }
        let (signaling, session) = (Arc::clone(self), Arc::clone(session));
        let (id, spelled) = (id.clone(), spelled.to_owned());
        self.node.spawn(async move {
            let Asked::Row(row) = signaling.ask(&id, &[token], VERDICT_PATIENCE).await else { return };
            let known = row.receiver.as_ref() == Some(&by.user);
            if !known || !matches!(row.status, RowStatus::Open | RowStatus::Rejected) {
                return;
            }
            match signaling.record_rejected(&by, &row, &id, &spelled, reason).await {
                Ok(()) => drop(session.voice().reject_confirmed(&spelled)),
                Err(failure) => tracing::warn!(call = %id, ?failure, "a rejection before its call was only kept"),
            }
        });
    }

    async fn record_rejected(
        self: &Arc<Self>,
        by: &Actor,
        row: &Row,
        id: &CallId,
        spelled: &str,
        reason: Option<String>,
    ) -> Result<(), Failure> {
        let Some(caller) = row.caller.clone().filter(|caller| *caller != by.user) else { return Ok(()) };
        // Already rejected there: nothing is left to tell it.
        let told = row.status == RowStatus::Rejected;
        let device = if told { Device::Unknown } else { by.device.clone() };
        let ender = Ender { role: Role::Callee, device, verb: Verb::Reject };
        let mut call = self.call_by_word(id, spelled, &caller, &by.user);
        call.push = Push::Unwanted;
        call.callee.tokens = by.token.iter().cloned().collect();
        let call = call.ended(EndReason::Rejected, Some(ender), reason.clone(), self.node.now());
        if let Created::Exists(_) = self.create_settled(&call).await? {
            // Initiated meanwhile: it has met the verdict that was kept.
            return Ok(());
        }
        let reason = reason.unwrap_or_else(|| "User declined".into());
        self.spread(&caller, Word::Rejected { call_id: spelled.to_owned(), reason }).await?;
        Ok(())
    }
}
