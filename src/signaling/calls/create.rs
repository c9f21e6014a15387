//! Calls that are new to the store.

use super::{Announced, Announcement, Calls, NewCalls};
use crate::call::{Audience, Call, EarlyCommand, milestones, resolve};
use crate::store::{Created, StoreError};
use crate::telemetry::call_log;
use crate::telemetry::trace::{self, Kind};

/// Early commands that come between in a row before a call is given up that is settled.
const ATTEMPTS: u32 = 16;

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

    /// Creates a call that is settled: what phones said of it before it was known changes nothing. Where the backend had
    /// reported its end then, its receiver was told so: that is how it ended, and it exists.
    pub async fn create_settled(&self, call: &Call) -> Result<Created, StoreError> {
        let (mut over, mut seen): (Option<Call>, _) = (None, Vec::new());
        for _ in 0..ATTEMPTS {
            let (created, _) = self.create(over.as_ref().unwrap_or(call), &seen).await?;
            match created {
                Created::EarlyCommands(early_commands) => seen = early_commands,
                Created::Created(ended) if over.is_some() => return Ok(Created::Exists(ended)),
                created => return Ok(created),
            }
            let is_told = |early: &&EarlyCommand| early.trusted && early.user == call.callee.user;
            let told: Vec<_> = seen.iter().filter(is_told).cloned().collect();
            over = Some(resolve(&NewCalls::trying(call), &told)).filter(|resolved| !resolved.is_live());
        }
        Ok(Created::EarlyCommands(seen))
    }
}
