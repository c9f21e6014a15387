//! Load, decide, swap, tell: the one way in which a call changes.

use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::announce::Announced;
use super::delivery::Audience;
use crate::call::{Call, CallId, Command, Milestone, Refusal, State, milestones, refused, step};
use crate::sabotage;
use crate::store::{StoreError, Swap};
use crate::telemetry::metrics::{self, ErrorCode};
use crate::telemetry::trace::{self, Kind};
use crate::telemetry::{About, tale};

/// Lost swaps and lost replies in a row before a command is given up as unavailable.
const ATTEMPTS: u32 = 16;
/// A write of unknown outcome is read back after this pause, for so long: longer than a command may take.
const READ_BACK_PAUSE: Duration = Duration::from_millis(100);
const READ_BACK_FOR: Duration = Duration::from_secs(5);

/// Why a command came to nothing.
#[derive(Debug, Clone)]
pub enum Failure {
    NotFound,
    Refused {
        refusal: Refusal,
        call: Box<Call>,
    },
    /// The caller rang too often or too long for nothing; the next ring is free after `wait`.
    TooManyRings {
        wait: Duration,
    },
    Unavailable,
}

impl Failure {
    /// As acknowledgements call it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Failure::NotFound => ErrorCode::CallNotFound,
            Failure::TooManyRings { .. } => ErrorCode::RateLimited,
            Failure::Unavailable => ErrorCode::Unavailable,
            Failure::Refused { refusal: Refusal::NotAParticipant, .. } => ErrorCode::NotAParticipant,
            Failure::Refused {
                refusal: Refusal::InvalidState | Refusal::AnsweredElsewhere | Refusal::Over | Refusal::NotDue,
                ..
            } => ErrorCode::InvalidState,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // Counted and named where it was read.
            StoreError::Corrupt { .. } => tracing::debug!(%error, "a command met a record of another version"),
            StoreError::Unavailable(_) | StoreError::Another => {
                tracing::debug!(%error, "the store failed a command");
                metrics::store_failed();
            }
        }
        Failure::Unavailable
    }
}

/// How a write of a call ended.
pub(super) enum Written {
    /// As it is stored now, and who was told of it in the same step.
    Done(Box<Call>, Option<Announced>),
    Stale(Box<Call>),
    Gone,
}

impl Node {
    /// Applies a command to a call and tells whom it concerns. Returns the call as it stands afterwards.
    pub(super) async fn transition(self: &Arc<Self>, id: &CallId, command: &Command) -> Result<Call, Failure> {
        let by = command.by();
        let about = About {
            call: Some(id.clone()),
            user: by.map(|by| by.user.clone()),
            session: by.and_then(|by| by.session.clone()),
        };
        let changed = async {
            let judged = match self.change(id, command).await {
                Err(Failure::Refused { refusal: Refusal::NotAParticipant, call }) => {
                    // Who is none in it may have a call of his own under its id.
                    match self.own_under(id, command).await? {
                        Some(own) => self.change(&own.id, command).await,
                        None => Err(Failure::Refused { refusal: Refusal::NotAParticipant, call }),
                    }
                }
                judged => judged,
            };
            trace::note("outcome", || {
                judged.as_ref().map_or_else(|failure| failure.code().name(), |call| call.state.name())
            });
            judged
        };
        self.node.traces.run(command.name(), Kind::Internal, about, changed).await
    }

    async fn own_under(&self, id: &CallId, command: &Command) -> Result<Option<Call>, Failure> {
        match (command, command.by()) {
            (Command::Initiate { .. }, _) | (_, None) => Ok(None),
            (_, Some(by)) => self.doubled(id, &by.user).await,
        }
    }

    async fn change(self: &Arc<Self>, id: &CallId, command: &Command) -> Result<Call, Failure> {
        // What the node last saw saves a read; it is trusted only as far as a swap confirms it.
        let mut cached = self.cache.last_seen(id);
        for _ in 0..ATTEMPTS {
            self.all_put_back().await?;
            let (call, fresh) = match cached.take() {
                Some(seen) => (Call::clone(&seen), false),
                None => match self.store.load(id).await? {
                    Some(call) => (call, true),
                    None if self.put_back_one(id).await => continue,
                    None => return Err(Failure::NotFound),
                },
            };
            let decided_at = self.node.clock.elapsed();
            let (mut next, audience, refusal) = match step(&call, command, self.node.now()) {
                Ok(decision) => match decision.next {
                    Some(next) => {
                        let audience = Audience { caller: decision.tell_caller, callee: decision.tell_callee };
                        (next, audience, None)
                    }
                    None if fresh => return Ok(call),
                    None => continue,
                },
                Err(refused) if !fresh && refused.record.is_none() => continue,
                Err(refused) => match refused.record {
                    Some(record) => (*record, Audience { caller: false, callee: true }, Some(refused.refusal)),
                    None => {
                        self.learn_if_watched(&call);
                        if let Some(milestone) =
                            self::refused(&call, command, refused.refusal, self.node.now(), &self.node.id)
                        {
                            self.timeline.note(id, milestone);
                        }
                        return Err(Failure::Refused { refusal: refused.refusal, call: Box::new(call) });
                    }
                },
            };
            next.version = call.version.next(rand::random());
            next.named |= command.is_of_backend();
            let added = milestones(Some(&call), &next, command.by(), self.node.now(), &self.node.id);
            // All nodes of both learn that it is over, not only those with somebody to tell: what one still took for
            // live, it would put back after a loss of the store.
            let audience = if call.is_live() && !next.is_live() { Audience::BOTH } else { audience };
            let announced = match self.write(&next, &call, added, audience).await? {
                Written::Done(stored, announced) => {
                    next = *stored;
                    announced
                }
                Written::Gone if self.put_back_one(id).await => continue,
                Written::Gone => return Err(Failure::NotFound),
                Written::Stale(stored) => {
                    cached = Some(Arc::from(stored));
                    continue;
                }
            };
            if call.is_ringing() && matches!(next.state, State::Active { .. }) {
                metrics::call_accepted();
            }
            metrics::type_changed(&call, &next);
            if call.is_live() && !next.is_live() {
                metrics::call_ended(&next);
                self.node.traces.ended(&next);
            }
            sabotage::after_swap(id).await;
            let told = self.speak(next, audience, decided_at, announced).await;
            return match refusal {
                Some(refusal) => Err(Failure::Refused { refusal, call: Box::new(told) }),
                None => Ok(told),
            };
        }
        tracing::warn!(call = %id, attempts = ATTEMPTS, "too many concurrent changes of one call");
        Err(Failure::Unavailable)
    }

    /// Swaps in the next record. A reply that was lost is found out by reading back: the own nonce stored means won.
    pub(super) async fn write(
        self: &Arc<Self>,
        next: &Call,
        seen: &Call,
        mut added: Vec<Milestone>,
        audience: Audience,
    ) -> Result<Written, Failure> {
        // What happened to the call and is not written yet goes along.
        let waiting = self.timeline.take(&next.id);
        if !waiting.is_empty() {
            added.splice(0..0, waiting.iter().cloned());
        }
        let written = self.write_with(next, seen, &added, audience).await;
        if !matches!(written, Ok(Written::Done(..))) {
            self.timeline.take_back(&next.id, waiting);
        }
        written
    }

    async fn write_with(
        self: &Arc<Self>,
        next: &Call,
        seen: &Call,
        added: &[Milestone],
        audience: Audience,
    ) -> Result<Written, Failure> {
        let started = self.node.clock.elapsed();
        let letters = self.messages.of(Some(seen), next);
        loop {
            let swap = async {
                let announcement = self.announcement(next, audience);
                let swapped = self.store.swap_telling(next, seen, &letters, added, &announcement.telling).await?;
                Ok((swapped.0, announcement.came_to(swapped.1)))
            };
            match trace::part("store: swap", Kind::Client, swap).await {
                Ok((Swap::Done { over }, announced)) => {
                    self.messages.posted(&letters);
                    tale::happened(next, added);
                    return Ok(Written::Done(Box::new(Call { over, ..next.clone() }), announced));
                }
                Ok((Swap::Gone, _)) => return Ok(Written::Gone),
                Ok((Swap::Stale(stored), _)) if stored.version == next.version => {
                    return Ok(Written::Done(stored, None));
                }
                Ok((Swap::Stale(stored), _)) => return Ok(Written::Stale(stored)),
                // Another won, and wrote what this version can't read: nothing is unknown.
                Err(error @ StoreError::Corrupt { .. }) => return Err(error.into()),
                // Nothing to read back: a hang-up waits in its queue, everybody else is told.
                Err(error) if error.is_refusal() => return Err(error.into()),
                Err(error) => {
                    metrics::store_failed();
                    tracing::debug!(call = %next.id, %error, "outcome of a swap unknown, reading back");
                    if self.node.since(started) > READ_BACK_FOR {
                        return Err(Failure::Unavailable);
                    }
                    tokio::time::sleep(READ_BACK_PAUSE).await;
                    self.all_put_back().await?;
                    match self.store.load(&next.id).await {
                        Ok(Some(stored)) if stored.version == next.version => {
                            return Ok(Written::Done(Box::new(stored), None));
                        }
                        Ok(Some(stored)) if stored.version == seen.version => {}
                        Ok(Some(stored)) => return Ok(Written::Stale(Box::new(stored))),
                        Ok(None) => return Ok(Written::Gone),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    /// Tells the audience, unless the decision has grown old meanwhile: then the call is read again and the truth of
    /// now is told.
    async fn speak(
        self: &Arc<Self>,
        call: Call,
        audience: Audience,
        decided_at: Duration,
        announced: Option<Announced>,
    ) -> Call {
        match self.still_true(&call, decided_at).await {
            Some(call) => {
                self.tell_rest(&call, audience, announced).await;
                call
            }
            // Nothing certain can be said; healing tells when the store is back.
            None => call,
        }
    }

    /// The call, if what was decided of it is recent, else as it stands now.
    pub(super) async fn still_true(&self, call: &Call, decided_at: Duration) -> Option<Call> {
        if self.node.since(decided_at) <= self.node.policy.late_decision {
            return Some(call.clone());
        }
        metrics::late_decision();
        self.store.load(&call.id).await.ok().flatten()
    }
}
