//! The two scripts by which calls come and change.

use std::time::Duration;

use fred::types::Value;

use super::calls::{RedisCalls, deadline, outcome};
use super::life::generation_key;
use super::reading::{Key, duration, flag, json, number, order_in, parse_at, unexpected, version_text};
use super::telling::told;
use super::{counters, outbox, script, timeline};
use crate::call::{Call, EarlyCommand, Milestone, State, Timestamp, Version};
use crate::fault_injection::{self, Bug};
use crate::store::{CallStore, Created, OUTCOMES_PER_USER, OutboxMessage, StoreError, Swap, Telling, Told};

/// A create that is carried out so long after it was sent has been given up by its writer: longer than a command waits
/// for its answer, and not much.
const NOBODY_WAITS: Duration = Duration::from_millis(2100);
/// Of the reply of `create`, before what was told.
const CREATED: usize = 4;
/// The same of `swap`.
const SWAPPED: usize = 2;

impl RedisCalls {
    pub(super) async fn create_script(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        (now, telling): (Timestamp, Option<&Telling>),
    ) -> Result<(Created, Option<Told>), StoreError> {
        let (caller, callee) = (&call.caller.user, &call.callee.user);
        let telling = self.tells(telling).filter(|_| call.is_live());
        let (sessions, to_tell) = self.to_tell(call, telling);
        let is_over = !call.is_live();
        let mut keys = vec![
            self.call_key(&call.id),
            self.key("line", caller),
            self.key("line", callee),
            self.due_key(),
            self.key("verdicts", caller),
            self.key("verdicts", callee),
            if is_over { self.key("outcomes", caller) } else { format!("{}rings:{caller}:{callee}", self.tag) },
            self.timeline_key(&call.id),
            self.order_key(),
            self.owed_key(caller, Some(callee)),
            self.owed_key(caller, None),
            self.owed_key(callee, Some(caller)),
            generation_key(&self.tag),
        ];
        keys.extend(sessions);
        let keep = if is_over { self.retention.ended } else { self.retention.live };
        let signature = seen.iter().map(|early| early.at.as_millis().to_string()).collect::<Vec<_>>().join(",");
        let mut arguments = vec![
            call.id.as_str().into(),
            version_text(call.version).into(),
            flag(!is_over),
            json("call", call)?.into(),
            duration(keep),
            deadline(call),
            number(now.as_millis()),
            duration(self.retention.early_command),
            signature.into(),
            self.call_prefix().into(),
            self.life.judged().into(),
            self.life.sent_now(),
            duration(NOBODY_WAITS),
        ];
        if is_over {
            arguments.extend(self.listed(call)?);
            arguments.push(counters::argument(&self.tag, call));
        } else {
            let budget = self.retention.ring_budget;
            let patience =
                |patience: Option<Duration>| patience.filter(|_| call.is_ringing()).map_or_else(|| "".into(), duration);
            let rings = if call.is_ringing() { self.retention.rings_per_minute } else { 0 };
            arguments.extend([
                number(u64::from(rings)),
                patience(budget.patience_of_callee()),
                patience(budget.patience_of_caller()),
                flag(budget.charge(call).forgiven),
            ]);
            arguments.extend(to_tell);
        }
        arguments.extend(timeline::arguments(milestones)?);
        arguments.extend(outbox::arguments(&self.tag, self.bounds, messages)?);
        let reply: Vec<String> = script::CREATE.run(&self.client, keys, arguments).await?;
        let created = self.created(call, &reply)?;
        let told = match created {
            Created::Created(_) => told(call, telling, reply.get(CREATED..).unwrap_or_default())?,
            _ => None,
        };
        Ok((created, told))
    }

    pub(super) async fn swap_script(
        &self,
        next: &Call,
        (seen, indexed): (Version, Option<Timestamp>),
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        telling: Option<&Telling>,
    ) -> Result<(Swap, Option<Told>), StoreError> {
        let overwrites = fault_injection::is_on(Bug::SkipVersionCheck);
        let seen = if overwrites { self.load(&next.id).await?.map_or(seen, |stored| stored.version) } else { seen };
        let keeps_lines = fault_injection::strikes(Bug::LeakLine, 10);
        let is_over = !next.is_live() && !keeps_lines;
        let keep = duration(if next.is_live() { self.retention.live } else { self.retention.ended });
        let telling = self.tells(telling);
        let (sessions, to_tell) = self.to_tell(next, telling);
        let mut keys =
            vec![self.call_key(&next.id), self.due_key(), self.timeline_key(&next.id), generation_key(&self.tag)];
        let mut arguments = vec![
            next.id.as_str().into(),
            version_text(seen).into(),
            version_text(next.version).into(),
            flag(!is_over),
            json("call", next)?.into(),
            // Until it is over, or its longest time is, it lives for as long as it was created to.
            match next.state {
                State::Trying | State::Ringing | State::Active { doubtful: false, .. } => "".into(),
                State::Active { doubtful: true, .. } | State::Ended(_) => keep.clone(),
            },
            if indexed.is_some() && indexed == next.deadline() { "same".into() } else { deadline(next) },
            keep,
            self.life.judged().into(),
        ];
        arguments.extend(to_tell);
        // Each key and argument that is not needed costs as much as one that is.
        if is_over {
            let (caller, callee) = (&next.caller.user, &next.callee.user);
            keys.extend([
                self.key("line", caller),
                self.key("line", callee),
                self.owed_key(caller, Some(callee)),
                self.owed_key(caller, None),
                self.key("outcomes", caller),
                self.key("outcomes", callee),
                self.order_key(),
            ]);
            let charge = self.retention.ring_budget.charge(next);
            arguments.extend(self.listed(next)?);
            // Whom it lets ring again is on the line until then.
            arguments.extend([
                number(charge.at.as_millis()),
                duration(charge.callee),
                duration(charge.caller),
                flag(charge.forgiven),
            ]);
            arguments.push(counters::argument(&self.tag, next));
        }
        keys.extend(sessions);
        arguments.extend(timeline::arguments(milestones)?);
        arguments.extend(outbox::arguments(&self.tag, self.bounds, messages)?);
        let reply: Vec<String> = script::SWAP.run(&self.client, keys, arguments).await?;
        match (reply.first().map(String::as_str), reply.get(1)) {
            (Some("done"), Some(over)) => {
                let over = order_in(over)?.max(next.over);
                Ok((Swap::Done { over }, told(next, telling, reply.get(SWAPPED..).unwrap_or_default())?))
            }
            (Some("gone"), _) => Ok((Swap::Gone, None)),
            (Some("another"), _) => Err(StoreError::Another),
            (Some("stale"), Some(record)) => {
                Ok((Swap::Stale(Box::new(parse_at("call", Key::Call(&next.id), record)?)), None))
            }
            _ => Err(unexpected("swap", &reply)),
        }
    }

    /// An outcome, for how long it is listed and among how many.
    fn listed(&self, call: &Call) -> Result<[Value; 3], StoreError> {
        Ok([outcome(call)?, duration(self.retention.ended), number(OUTCOMES_PER_USER as u64)])
    }
}
