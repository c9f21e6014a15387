use std::time::Duration;

use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface, SortedSetsInterface};
use fred::types::{Expiration, Value};

use super::life::{Life, RestoreReport, generation_key};
use super::reading::{
    Key, duration, flag, json, last_kept, number, optional, order_in, parse_at, parse_version, passed_over, readable,
    tag, unexpected, version_text,
};
use super::{outbox, script, timeline};
use crate::call::{Call, CallId, EarlyCommand, Milestone, NodeId, Timestamp, UserId, Version};
use crate::store::memory::outcome_of;
use crate::store::{
    CallStore, Created, EARLY_COMMANDS_PER_USER, Generation, LastKept, OUTCOMES_PER_USER, OutboxBounds, OutboxMessage,
    ReconnectSnapshot, RestoreReports, RestoreStage, Restored, Retention, StoreError, Swap,
};

const LINES_AT_ONCE: usize = 512;
/// What `restore` says of a store that nobody has asked which it is.
const ANOTHER: u64 = 4;

/// Calls, lines, deadlines and early commands in one hash slot.
pub struct RedisCalls {
    pub(super) client: Client,
    pub(super) life: Life,
    pub(super) retention: Retention,
    pub(super) bounds: OutboxBounds,
    pub(super) prefix: String,
    /// `{prefix:c}:`; the braces are the hash tag.
    pub(super) tag: String,
}

impl RedisCalls {
    pub fn new(client: Client, prefix: &str, retention: Retention) -> Self {
        let life = Life::new(&client);
        let (bounds, tag) = (OutboxBounds::default(), tag(prefix));
        Self { client, life, retention, bounds, prefix: prefix.to_owned(), tag }
    }

    /// With other bounds for the outbox messages it appends.
    pub fn bounded(self, bounds: OutboxBounds) -> Self {
        Self { bounds, ..self }
    }

    pub(super) fn call_prefix(&self) -> String {
        format!("{}call:", self.tag)
    }

    pub(super) fn call_key(&self, id: &CallId) -> String {
        format!("{}call:{id}", self.tag)
    }

    pub(super) fn key(&self, kind: &str, user: &UserId) -> String {
        format!("{}{kind}:{user}", self.tag)
    }

    pub(super) fn timeline_key(&self, id: &CallId) -> String {
        format!("{}timeline:{id}", self.tag)
    }

    pub(super) fn due_key(&self) -> String {
        format!("{}due", self.tag)
    }

    /// What is owed in ring time at one callee, or at all.
    pub(super) fn owed_key(&self, caller: &UserId, callee: Option<&UserId>) -> String {
        match callee {
            Some(callee) => format!("{}owed:{caller}:{callee}", self.tag),
            None => format!("{}owed:{caller}", self.tag),
        }
    }

    pub(super) fn order_key(&self) -> String {
        format!("{}order", self.tag)
    }

    /// What a change of a call touches.
    pub(super) fn keys_of(&self, call: &Call) -> Vec<String> {
        let (caller, callee) = (&call.caller.user, &call.callee.user);
        vec![
            self.call_key(&call.id),
            self.key("line", caller),
            self.key("line", callee),
            self.due_key(),
            self.key("outcomes", caller),
            self.key("outcomes", callee),
        ]
    }

    async fn line_script(&self, user: &UserId, outcomes: usize) -> Result<Vec<String>, StoreError> {
        let keys = vec![self.key("line", user), self.key("outcomes", user), self.order_key()];
        Ok(script::LINE.run(&self.client, keys, vec![self.call_prefix().into(), number(outcomes as u64)]).await?)
    }
}

#[async_trait]
impl CallStore for RedisCalls {
    async fn create(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        now: Timestamp,
    ) -> Result<Created, StoreError> {
        Ok(self.create_script(call, seen, messages, milestones, (now, None)).await?.0)
    }

    async fn load(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        let record: Option<String> = script::timed("load", self.client.hget(self.call_key(id), "d")).await?;
        record.map(|record| parse_at("call", Key::Call(id), &record)).transpose()
    }

    async fn swap(
        &self,
        next: &Call,
        seen: Version,
        messages: &[OutboxMessage],
        milestones: &[Milestone],
    ) -> Result<Swap, StoreError> {
        Ok(self.swap_script(next, (seen, None), messages, milestones, None).await?.0)
    }

    async fn note(&self, notes: &[(CallId, Milestone)]) -> Result<(), StoreError> {
        let (mut keys, mut arguments) = (Vec::new(), Vec::new());
        for of_call in notes.chunk_by(|one, next| one.0 == next.0) {
            let id = &of_call[0].0;
            keys.extend([self.call_key(id), self.timeline_key(id)]);
            arguments.extend(timeline::arguments(of_call.iter().map(|(_, milestone)| milestone))?);
        }
        if keys.is_empty() {
            return Ok(());
        }
        Ok(script::NOTE.run(&self.client, keys, arguments).await?)
    }

    async fn timeline(&self, id: &CallId) -> Result<Vec<Milestone>, StoreError> {
        timeline::read(&self.client, self.timeline_key(id)).await
    }

    async fn versions(&self, ids: &[CallId]) -> Result<Vec<Option<(Version, LastKept)>>, StoreError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let keys = ids.iter().map(|id| self.call_key(id)).collect();
        let reply: Vec<String> = script::VERSIONS.run(&self.client, keys, vec![]).await?;
        let version = |(id, text): (&CallId, &String)| {
            let (version, kept) = text.split_once(' ').unwrap_or((text, ""));
            (!version.is_empty()).then(|| (parse_version(id, version), last_kept(kept)))
        };
        Ok(ids.iter().zip(&reply).map(version).collect())
    }

    async fn lines(&self, users: &[UserId]) -> Result<Vec<Option<CallId>>, StoreError> {
        if users.is_empty() {
            return Ok(vec![]);
        }
        let mut lines: Vec<Option<String>> = Vec::with_capacity(users.len());
        // A node puts back thousands of calls at once: nobody waits for one long command.
        for some in users.chunks(LINES_AT_ONCE) {
            let keys: Vec<String> = some.iter().map(|user| self.key("line", user)).collect();
            lines.extend(self.client.mget::<Vec<Option<String>>, _>(keys).await?);
        }
        let read = |(user, id): (&UserId, Option<String>)| {
            let parsed = CallId::stored(&id?);
            parsed.inspect_err(|_| passed_over("line", Key::User(user), "no call id")).ok()
        };
        Ok(users.iter().zip(lines).map(read).collect())
    }

    async fn line(&self, user: &UserId) -> Result<Option<Call>, StoreError> {
        let reply = self.line_script(user, 0).await?;
        reply.first().map_or(Ok(None), |record| optional(Key::User(user), record))
    }

    async fn reconnect_snapshot(&self, user: &UserId) -> Result<ReconnectSnapshot, StoreError> {
        let reply = self.line_script(user, OUTCOMES_PER_USER).await?;
        let [line, order, last, outcomes @ ..] = reply.as_slice() else { return Err(unexpected("line", &reply)) };
        let (line, last) = (optional(Key::User(user), line), optional(Key::User(user), last));
        let (order, kept) = order.split_once(' ').unwrap_or((order, ""));
        Ok(ReconnectSnapshot {
            kept: last_kept(kept),
            taken: line.is_err(),
            line: line.unwrap_or(None),
            last: last.unwrap_or(None),
            outcomes: readable("outcome", Key::User(user), outcomes),
            order: order_in(order)?,
        })
    }

    async fn claim_due(
        &self,
        due: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<CallId>, StoreError> {
        let arguments = vec![
            number(due.as_millis()),
            number((now + lease).as_millis()),
            number(limit as u64),
            self.call_prefix().into(),
        ];
        let reply: Vec<String> = script::CLAIM.run(&self.client, vec![self.due_key()], arguments).await?;
        let read = |id: &String| {
            CallId::stored(id).inspect_err(|_| passed_over("deadline", Key::Other(id), "no call id")).ok()
        };
        Ok(reply.iter().filter_map(read).collect())
    }

    async fn keep_early(&self, id: &CallId, early: &EarlyCommand, now: Timestamp) -> Result<Option<Call>, StoreError> {
        let keys = vec![self.call_key(id), self.key("verdicts", &early.user)];
        let field = if early.trusted { format!("{id}|t") } else { id.to_string() };
        let arguments = vec![
            field.into(),
            format!("{}|{}", early.at.as_millis(), json("verdict", early)?).into(),
            number(now.as_millis()),
            duration(self.retention.early_command),
            number(EARLY_COMMANDS_PER_USER as u64),
        ];
        let reply: String = script::VERDICT.run(&self.client, keys, arguments).await?;
        optional(Key::Call(id), &reply)
    }

    async fn leave_notice(&self, user: &UserId, call: &CallId, ttl: Duration) -> Result<(), StoreError> {
        let expiry = Some(Expiration::PX(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        Ok(self.client.set::<(), _, _>(self.key("notice", user), call.as_str(), expiry, None, false).await?)
    }

    async fn claim_notice(&self, user: &UserId, claimant: u64, claim: Duration) -> Result<Option<CallId>, StoreError> {
        let keys = vec![self.key("notice", user), self.key("noticed", user)];
        let taken: String = script::NOTICE.run(&self.client, keys, vec![number(claimant), duration(claim)]).await?;
        Ok(CallId::stored(&taken).ok())
    }

    async fn drop_notice(&self, user: &UserId) -> Result<(), StoreError> {
        Ok(self.client.del::<(), _>(vec![self.key("notice", user), self.key("noticed", user)]).await?)
    }

    async fn generation(&self) -> Result<Generation, StoreError> {
        self.life.generation(&self.client, &self.tag).await
    }

    fn decide_for(&self, generation: &Generation) {
        self.life.decide_for(generation);
    }

    async fn reached(&self) -> Result<(), StoreError> {
        self.life.reached(&self.client).await
    }

    fn connection(&self) -> u64 {
        self.life.connection()
    }

    async fn report_restored(
        &self,
        generation: &Generation,
        node: &NodeId,
        done: RestoreStage,
    ) -> Result<RestoreReports, StoreError> {
        let said = RestoreReport { node: Some(node), done };
        self.life.report_restored(&self.client, &self.tag, generation, said).await
    }

    async fn restore_reports(&self, generation: &Generation) -> Result<RestoreReports, StoreError> {
        let nothing = RestoreReport { node: None, done: RestoreStage::Nothing };
        self.life.report_restored(&self.client, &self.tag, generation, nothing).await
    }

    async fn restore(&self, call: &Call, messages: &[OutboxMessage]) -> Result<Restored, StoreError> {
        let keep = if call.is_live() { self.retention.live } else { self.retention.ended };
        let mut arguments = vec![
            call.id.as_str().into(),
            version_text(call.version).into(),
            number(call.version.counter),
            flag(call.is_live()),
            json("call", call)?.into(),
            duration(keep),
            deadline(call),
            outcome(call)?,
            duration(self.retention.ended),
            number(OUTCOMES_PER_USER as u64),
            self.call_prefix().into(),
            number(call.order.max(call.over)),
            self.life.asked().into(),
        ];
        arguments.extend(outbox::arguments(&self.tag, self.bounds, messages)?);
        let mut keys = self.keys_of(call);
        keys.extend([self.order_key(), generation_key(&self.tag)]);
        let answer: u64 = script::RESTORE.run(&self.client, keys, arguments).await?;
        if answer == ANOTHER {
            return Err(StoreError::Another);
        }
        Ok(Restored { written: answer & 1 == 1, without_line: answer & 2 == 2 })
    }

    async fn raise_order(&self, order: u64) -> Result<u64, StoreError> {
        let newest: String = script::RAISE.run(&self.client, vec![self.order_key()], vec![number(order)]).await?;
        newest.parse().map_err(|_| unexpected("raise", &[newest]))
    }

    async fn live_calls(&self) -> Result<u64, StoreError> {
        Ok(self.client.zcard(self.due_key()).await?)
    }
}

/// One that can't be read is of some version: not that of any record here.
pub(super) fn deadline(call: &Call) -> Value {
    call.deadline().map_or_else(|| "".into(), |deadline| number(deadline.as_millis()))
}

pub(super) fn outcome(call: &Call) -> Result<Value, StoreError> {
    outcome_of(call).map_or_else(|| Ok("".into()), |outcome| Ok(json("outcome", &outcome)?.into()))
}
