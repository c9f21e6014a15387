//! What a change of a call has to tell the backend: letters for the outbox, written in the same step as the change.

use std::sync::Arc;

use super::announce::Announced;
use super::delivery::Audience;
use super::{Failure, Node};
use crate::call::{Call, CallId, Command, UserId, Verdict, milestones};
use crate::store::{Created, DeadLetter, Replayed, StoreError, Which};
use crate::telemetry::tale;
use crate::telemetry::trace::{self, Kind};

impl Node {
    /// Creates a call together with its letters, and tells other nodes of it in the same step if it rings.
    pub(super) async fn create(
        self: &Arc<Self>,
        call: &Call,
        seen: &[Verdict],
    ) -> Result<(Created, Option<Announced>), StoreError> {
        // A line that is not put back yet would not make busy.
        self.all_put_back().await?;
        let (letters, now) = (self.messages.of(None, call), self.node.now());
        let added = milestones(None, call, None, now, &self.node.id);
        let create = async {
            if !call.is_ringing() {
                return Ok((self.store.create(call, seen, &letters, &added, now).await?, None));
            }
            let announcement = self.announcement(call, Audience::BOTH);
            let telling = (now, &announcement.telling);
            let (created, told) = self.store.create_telling(call, seen, &letters, &added, telling).await?;
            Ok((created, announcement.came_to(told)))
        };
        let created = trace::part("store: create", Kind::Client, create).await;
        if let Err(StoreError::Another) = created {
            // Whoever tries again waits for what is put back into this one.
            self.check_generation().await?;
        }
        let created = created?;
        if let (Created::Created(call), _) = &created {
            self.messages.posted(&letters);
            tale::happened(call, &added);
            // One that was over before it began has no other end.
            self.node.traces.ended(call);
        }
        Ok(created)
    }

    /// Creates a call that is settled: verdicts that wait for it change nothing.
    pub(super) async fn create_settled(self: &Arc<Self>, call: &Call) -> Result<Created, StoreError> {
        match self.create(call, &[]).await?.0 {
            Created::Verdicts(verdicts) => Ok(self.create(call, &verdicts).await?.0),
            created => Ok(created),
        }
    }

    /// The newest letters that were given up.
    pub(super) async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.outbox.dead_letters(limit).await
    }

    /// Has dead letters sent again, some at most.
    pub(super) async fn replay_letters(&self, which: &Which) -> Result<Replayed, StoreError> {
        self.outbox.replay(which, self.node.now()).await
    }

    /// Takes back that a receiver wants nothing more.
    pub(super) async fn webhooks_on(&self) -> Result<(), StoreError> {
        self.outbox.switch_off(None).await
    }

    pub(super) async fn append_presence(&self, user: &UserId, online: bool) {
        let letter = self.messages.of_presence(user, online);
        match self.outbox.append(std::slice::from_ref(&letter)).await {
            Ok(()) => self.messages.posted(&[letter]),
            Err(error) => tracing::debug!(%error, "a user's presence could not be posted"),
        }
    }

    /// Asks for a push at once where no device of the callee can confirm the ring.
    pub(super) fn push_now(self: &Arc<Self>, id: &CallId) {
        let (signaling, id) = (Arc::clone(self), id.clone());
        self.node.spawn(async move {
            match signaling.transition(&id, &Command::Push).await {
                Ok(_) | Err(Failure::NotFound | Failure::Refused { .. } | Failure::TooManyRings { .. }) => {}
                // Its deadline is stored: the push is two seconds late.
                Err(Failure::Unavailable) => tracing::warn!(call = %id, "asking for a push at once failed"),
            }
        });
    }

    /// Asks by webhook whether a call that makes others busy still is one.
    pub(super) fn verify(self: &Arc<Self>, line: &Call) {
        if !self.node.policy.webhooks || line.is_ringing() {
            return;
        }
        let (signaling, id) = (Arc::clone(self), line.id.clone());
        // Refused where it was asked a moment ago.
        self.node.spawn(async move { drop(signaling.transition(&id, &Command::Verify).await) });
    }
}
