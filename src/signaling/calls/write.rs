//! Swaps in the next record of a call, and finds out what became of a swap whose reply was lost.

use std::time::Duration;

use super::{Announced, Announcement, Calls, Failure};
use crate::call::{Audience, Call, Milestone};
use crate::store::{StoreError, Swap};
use crate::telemetry::trace::{self, Kind};
use crate::telemetry::{call_log, metrics};

/// A write of unknown outcome is read back after this pause, for so long: longer than a command may take.
const READ_BACK_PAUSE: Duration = Duration::from_millis(100);
const READ_BACK_FOR: Duration = Duration::from_secs(5);

/// How a write of a call ended.
pub enum Swapped {
    /// As it is stored now, and who was told of it in the same step.
    Done(Box<Call>, Option<Announced>),
    Stale(Box<Call>),
    Gone,
    /// Not written, since the store is another than what it was decided on.
    Another,
}

impl Calls {
    /// Swaps in the next record. A reply that was lost is found out by reading back: the own nonce stored means won.
    pub async fn write(
        &self,
        next: &Call,
        seen: &Call,
        mut added: Vec<Milestone>,
        audience: Audience,
    ) -> Result<Swapped, Failure> {
        // What happened to the call and is not written yet goes along.
        let waiting = self.timeline.take(&next.id);
        if !waiting.is_empty() {
            added.splice(0..0, waiting.iter().cloned());
        }
        let written = self.write_with(next, seen, &added, audience).await;
        if !matches!(written, Ok(Swapped::Done(..))) {
            self.timeline.take_back(&next.id, waiting);
        }
        written
    }

    async fn write_with(
        &self,
        next: &Call,
        seen: &Call,
        added: &[Milestone],
        audience: Audience,
    ) -> Result<Swapped, Failure> {
        let started = self.node.clock.elapsed();
        let messages = self.messages.of(Some(seen), next);
        loop {
            let swap = async {
                let announcement = Announcement::of(next, audience, &self.node);
                let swapped = self.store.swap_telling(next, seen, &messages, added, &announcement.telling).await?;
                Ok((swapped.0, announcement.came_to(swapped.1)))
            };
            match self.noticed(trace::part("store: swap", Kind::Client, swap).await).await {
                Ok((Swap::Done { over }, announced)) => {
                    self.messages.posted(&messages);
                    call_log::happened(next, added);
                    return Ok(Swapped::Done(Box::new(Call { over, ..next.clone() }), announced));
                }
                Ok((Swap::Gone, _)) => return Ok(Swapped::Gone),
                Ok((Swap::Stale(stored), _)) if stored.version == next.version => {
                    return Ok(Swapped::Done(stored, None));
                }
                Ok((Swap::Stale(stored), _)) => return Ok(Swapped::Stale(stored)),
                // Another won, and wrote what this version can't read: nothing is unknown.
                Err(error @ StoreError::Corrupt { .. }) => return Err(error.into()),
                Err(StoreError::Another) => return Ok(Swapped::Another),
                // Nothing to read back: a hang-up waits in its queue, everybody else is told.
                Err(error) if error.is_refusal() => return Err(error.into()),
                Err(error) => {
                    metrics::store_failed();
                    tracing::debug!(call = %next.id, %error, "outcome of a swap unknown, reading back");
                    if self.node.since(started) > READ_BACK_FOR {
                        return Err(Failure::Unavailable);
                    }
                    tokio::time::sleep(READ_BACK_PAUSE).await;
                    self.identity.all_restored().await?;
                    match self.store.load(&next.id).await {
                        Ok(Some(stored)) if stored.version == next.version => {
                            return Ok(Swapped::Done(Box::new(stored), None));
                        }
                        Ok(Some(stored)) if stored.version == seen.version => {}
                        Ok(Some(stored)) => return Ok(Swapped::Stale(Box::new(stored))),
                        Ok(None) => return Ok(Swapped::Gone),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}
