use async_trait::async_trait;

use super::MemoryStore;
use crate::call::{Call, EarlyCommand, Milestone, Timestamp};
use crate::store::{CallStore, Created, OutboxMessage, StoreError, Swap, Telling, Tells, Told};

/// Whoever is on this memory finds sessions without a wait.
#[async_trait]
impl Tells for MemoryStore {
    async fn create_telling(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        (now, _): (Timestamp, &Telling),
    ) -> Result<(Created, Option<Told>), StoreError> {
        Ok((self.create(call, seen, messages, milestones, now).await?, None))
    }

    async fn swap_telling(
        &self,
        next: &Call,
        seen: &Call,
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        _: &Telling,
    ) -> Result<(Swap, Option<Told>), StoreError> {
        Ok((self.swap(next, seen.version, messages, milestones).await?, None))
    }
}
