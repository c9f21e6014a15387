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
        self.create_telling(call, seen, call.is_ringing().then_some(Audience::BOTH)).await
    }

    async fn create_telling(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        audience: Option<Audience>,
    ) -> Result<(Created, Option<Announced>), StoreError> {
        // A line that is not put back yet would not make busy.
        self.identity.all_restored().await?;
        let (messages, now) = (self.messages.of(None, call), self.node.now());
        let added = milestones(None, call, None, now, &self.node.id);
        let create = async {
            let Some(audience) = audience else {
                return Ok((self.store.create(call, seen, &messages, &added, now).await?, None));
            };
            let announcement = Announcement::of(call, audience, &self.node);
            let telling = (now, &announcement.telling);
            let (created, told) = self.store.create_telling(call, seen, &messages, &added, telling).await?;
            Ok((created, announcement.came_to(told)))
        };
        let created = self.noticed(trace::part("store: create", Kind::Client, create).await).await?;
        if let (Created::Created(call), _) = &created {
            self.messages.posted(&messages);
            call_log::happened(call, &added);
            // One that was over before it began has no other end.
            self.node.traces.ended(call);
        }
        Ok(created)
    }

    /// Creates a call that is settled: what phones said of it before it was known changes nothing. Where the backend had
    /// reported its end then, its receiver was told so: that is how it ended, and it exists. The caller of one that lives is
    /// told in the same step: no other node knows of it where this one dies behind the write.
    pub async fn create_settled(&self, call: &Call) -> Result<(Created, Option<Announced>), StoreError> {
        let (mut over, mut seen): (Option<Call>, _) = (None, Vec::new());
        for _ in 0..ATTEMPTS {
            let settled = over.as_ref().unwrap_or(call);
            let audience = settled.is_live().then_some(Audience { caller: true, callee: false });
            let created = self.create_telling(settled, &seen, audience).await?;
            match created {
                (Created::EarlyCommands(early_commands), _) => seen = early_commands,
                (Created::Created(ended), _) if over.is_some() => return Ok((Created::Exists(ended), None)),
                created => return Ok(created),
            }
            let is_told = |early: &&EarlyCommand| early.trusted && early.user == call.callee.user;
            let told: Vec<_> = seen.iter().filter(is_told).cloned().collect();
            over = Some(resolve(&NewCalls::trying(call), &told)).filter(|resolved| !resolved.is_live());
        }
        Ok((Created::EarlyCommands(seen), None))
    }
}
