//! Load, decide, swap: the one way in which a call changes.

use std::sync::Arc;
use std::time::Duration;

use super::write::Swapped;
use super::{Announced, Calls, Failure};
use crate::call::{Audience, Call, CallId, Command, Refusal, State, Timestamp, milestones, refused, step};
use crate::fault_injection;
use crate::telemetry::metrics;

/// Lost swaps and lost replies in a row before a command is given up as unavailable.
const ATTEMPTS: u32 = 16;
/// What a command did.
pub enum Changed {
    /// Nothing: the call is as the command wants it.
    Not(Box<Call>),
    /// It is refused on this record, read from the store: it may have changed unnoticed.
    Refused(Refusal, Box<Call>),
    Written(Box<Written>),
}

/// A call that was changed, and who is to hear of it.
pub struct Written {
    pub call: Call,
    pub audience: Audience,
    /// By the clock's `elapsed`.
    pub decided_at: Duration,
    /// Who was told in the step that wrote it.
    pub announced: Option<Announced>,
    /// The sender is refused all the same.
    pub refusal: Option<Refusal>,
}

/// What a command makes of a record, for whom, and whether its sender is refused all the same.
type Next = (Call, Audience, Option<Refusal>);

impl Calls {
    /// Applies a command to a call; whoever asked tells whom it concerns.
    pub async fn change(&self, id: &CallId, command: &Command) -> Result<Changed, Failure> {
        let said_at = self.node.said_at();
        match self.change_under(id, command, said_at).await? {
            // Who is none in it may have a call of his own under its id.
            Changed::Refused(Refusal::NotAParticipant, call) => match self.own_under(id, command).await? {
                Some(own) => self.change_under(&own.id, command, said_at).await,
                None => Ok(Changed::Refused(Refusal::NotAParticipant, call)),
            },
            changed => Ok(changed),
        }
    }

    async fn own_under(&self, id: &CallId, command: &Command) -> Result<Option<Call>, Failure> {
        match (command, command.by()) {
            (Command::Initiate { .. }, _) | (_, None) => Ok(None),
            (_, Some(by)) => self.doubled(id, &by.user).await,
        }
    }

    async fn change_under(&self, id: &CallId, command: &Command, said_at: Timestamp) -> Result<Changed, Failure> {
        // What the node last saw saves a read; it is trusted only as far as a swap confirms it.
        let mut cached = self.cache.last_seen(id);
        for _ in 0..ATTEMPTS {
            self.identity.all_restored().await?;
            let (call, fresh) = match cached.take() {
                Some(seen) => (Call::clone(&seen), false),
                None => match self.store.load(id).await? {
                    Some(call) => (call, true),
                    None if self.restore_one(id).await => continue,
                    None => return Err(Failure::NotFound),
                },
            };
            let decided_at = self.node.clock.elapsed();
            let (mut next, audience, refusal) = match self.decide(&call, command, said_at) {
                Ok(Some(next)) => next,
                // Said by what may be old: read afresh.
                Ok(None) | Err(_) if !fresh => continue,
                Ok(None) => return Ok(Changed::Not(Box::new(call))),
                Err(refusal) => {
                    if let Some(milestone) = refused(&call, command, refusal, self.node.now(), &self.node.id) {
                        self.timeline.note(id, milestone);
                    }
                    return Ok(Changed::Refused(refusal, Box::new(call)));
                }
            };
            next.version = call.version.next(rand::random());
            next.note_request(&call);
            next.named |= command.is_of_backend();
            let added = milestones(Some(&call), &next, command.by(), self.node.now(), &self.node.id);
            let is_over = call.is_live() && !next.is_live();
            // All nodes of both learn that it is over, not only those with somebody to tell: what one still took for
            // live, it would put back after a loss of the store.
            let audience = if is_over { Audience::BOTH } else { audience };
            let announced = match self.write(&next, &call, added, audience).await? {
                Swapped::Done(stored, announced) => {
                    next = *stored;
                    announced
                }
                Swapped::Gone if self.restore_one(id).await => continue,
                Swapped::Gone => return Err(Failure::NotFound),
                Swapped::Another => continue,
                // Written, its reply lost, and answered before that was found out.
                Swapped::Stale(stored) if stored.was_asked_in(next.version) => return Ok(Changed::Not(stored)),
                Swapped::Stale(stored) => {
                    cached = Some(Arc::from(stored));
                    continue;
                }
            };
            if call.is_ringing() && matches!(next.state, State::Active { .. }) {
                metrics::call_accepted();
            }
            metrics::type_changed(&call, &next);
            if is_over {
                metrics::call_ended(&next);
                self.node.traces.ended(&next);
            }
            fault_injection::after_swap(id).await;
            return Ok(Changed::Written(Box::new(Written { call: next, audience, decided_at, announced, refusal })));
        }
        tracing::warn!(call = %id, attempts = ATTEMPTS, "too many concurrent changes of one call");
        Err(Failure::Unavailable)
    }

    fn decide(&self, call: &Call, command: &Command, said_at: Timestamp) -> Result<Option<Next>, Refusal> {
        // Talk is paid for until somebody hangs up, not until the store took that.
        let hangs_up = call.accepted_at().is_some() && command.hangs_up();
        match step(call, command, if hangs_up { said_at } else { self.node.now() }) {
            Ok(decision) => {
                let audience = Audience { caller: decision.tell_caller, callee: decision.tell_callee };
                Ok(decision.next.map(|next| (next, audience, None)))
            }
            Err(refused) => match refused.record {
                Some(record) => Ok(Some((*record, Audience::CALLEE, Some(refused.refusal)))),
                None => Err(refused.refusal),
            },
        }
    }
}
