//! Calls that are new to the store.

use super::{Announced, Announcement, Calls};
use crate::call::{Audience, Call, EarlyCommand, milestones};
use crate::store::{Created, StoreError};
use crate::telemetry::call_log;
use crate::telemetry::trace::{self, Kind};

impl Calls {
    /// Creates a call together with its outbox messages, and tells other nodes of it in the same step if it rings.
    pub async fn create(&self, call: &Call, seen: &[EarlyCommand]) -> Result<(Created, Option<Announced>), StoreError> {
        // A line that is not put back yet would not make busy.
        self.identity.all_restored().await?;
        let (messages, now) = (self.messages.of(None, call), self.node.now());
        let added = milestones(None, call, None, now, &self.node.id);
        let create = async {
            if !call.is_ringing() {
                return Ok((self.store.create(call, seen, &messages, &added, now).await?, None));
            }
            let announcement = Announcement::of(call, Audience::BOTH, &self.node);
            let telling = (now, &announcement.telling);
            let (created, told) = self.store.create_telling(call, seen, &messages, &added, telling).await?;
            Ok((created, announcement.came_to(told)))
        };
        let created = trace::part("store: create", Kind::Client, create).await;
        if let Err(StoreError::Another) = created {
            // Whoever tries again waits for what is put back into this one.
            self.identity.check().await?;
        }
        let created = created?;
        if let (Created::Created(call), _) = &created {
            self.messages.posted(&messages);
            call_log::happened(call, &added);
            // One that was over before it began has no other end.
            self.node.traces.ended(call);
        }
        Ok(created)
    }

    /// Creates a call that is settled: early commands that wait for it change nothing.
    pub async fn create_settled(&self, call: &Call) -> Result<Created, StoreError> {
        match self.create(call, &[]).await?.0 {
            Created::EarlyCommands(early_commands) => Ok(self.create(call, &early_commands).await?.0),
            created => Ok(created),
        }
    }
}
