use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;

use super::owed::Owed;
use super::rings::Rings;
use super::{MemoryStore, outcome_of};
use crate::call::{Call, CallId, EarlyCommand, MILESTONES, Milestone, NodeId, Timestamp, UserId, Version};
use crate::store::{
    CallOutcome, CallStore, Created, EARLY_COMMANDS_PER_USER, Generation, LastKept, OUTCOMES_PER_USER, OutboxMessage,
    ReconnectSnapshot, RestoreReports, RestoreStage, Restored, Retention, StoreError, Swap,
};

#[derive(Default)]
pub(super) struct Calls {
    pub(super) records: HashMap<CallId, Call>,
    timelines: HashMap<CallId, Vec<Milestone>>,
    lines: HashMap<UserId, CallId>,
    pub(super) deadlines: HashMap<CallId, Timestamp>,
    due: BTreeSet<(Timestamp, CallId)>,
    /// Records in the order in which they may be forgotten.
    garbage: BTreeSet<(Timestamp, CallId)>,
    keep_until: HashMap<CallId, Timestamp>,
    early_commands: HashMap<UserId, Vec<(CallId, EarlyCommand)>>,
    outcomes: HashMap<UserId, Vec<CallOutcome>>,
    notices: HashMap<UserId, Notice>,
    rings: Rings,
    owed: Owed,
    last_cleaning: Timestamp,
    /// Of the last generation that anybody vouched in: when that began, and for which calls.
    pub(super) vouched: Option<(Generation, Timestamp, HashSet<CallId>)>,
    /// The newest that was handed out.
    order: u64,
}

struct Notice {
    call: CallId,
    until: Timestamp,
    /// By whom, and until when.
    claimed: Option<(u64, Timestamp)>,
}

impl Calls {
    fn live_on_line(&self, user: &UserId) -> Option<&Call> {
        self.records.get(self.lines.get(user)?).filter(|call| call.is_live())
    }

    fn next_order(&mut self, now: Timestamp) -> u64 {
        self.order = (self.order + 1).max(now.as_millis().saturating_mul(1000));
        self.order
    }

    fn index(&mut self, id: &CallId, deadline: Option<Timestamp>) {
        if let Some(old) = self.deadlines.remove(id) {
            self.due.remove(&(old, id.clone()));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert(id.clone(), deadline);
            self.due.insert((deadline, id.clone()));
        }
    }

    fn put(&mut self, call: &Call, keep_until: Timestamp) {
        self.index(&call.id, call.deadline());
        if let Some(old) = self.keep_until.insert(call.id.clone(), keep_until) {
            self.garbage.remove(&(old, call.id.clone()));
        }
        self.garbage.insert((keep_until, call.id.clone()));
        self.records.insert(call.id.clone(), call.clone());
    }

    pub(super) fn remove_ended(&mut self, ended: &Call) -> bool {
        let stored = self.records.get(&ended.id);
        if !stored.is_some_and(|stored| stored.version == ended.version && !stored.is_live()) {
            return false;
        }
        self.records.remove(&ended.id);
        self.timelines.remove(&ended.id);
        if let Some(keep_until) = self.keep_until.remove(&ended.id) {
            self.garbage.remove(&(keep_until, ended.id.clone()));
        }
        true
    }

    fn note(&mut self, id: &CallId, milestones: &[Milestone]) {
        if self.records.contains_key(id) && !milestones.is_empty() {
            let timeline = self.timelines.entry(id.clone()).or_default();
            timeline.extend_from_slice(milestones);
            timeline.drain(..timeline.len().saturating_sub(MILESTONES));
        }
    }

    fn list_outcome(&mut self, user: &UserId, call: &Call) {
        if let Some(outcome) = outcome_of(call) {
            let outcomes = self.outcomes.entry(user.clone()).or_default();
            outcomes.retain(|listed| listed.call_id != call.id);
            // One that is put back may be older than others.
            let place = outcomes.partition_point(|listed| listed.ended_at > outcome.ended_at);
            outcomes.insert(place, outcome);
            outcomes.truncate(OUTCOMES_PER_USER);
        }
    }

    /// The TTLs of this backend.
    fn collect_garbage(&mut self, now: Timestamp, retention: Retention) {
        while let Some((keep_until, id)) = self.garbage.first().cloned().filter(|(at, _)| *at <= now) {
            self.garbage.remove(&(keep_until, id.clone()));
            self.keep_until.remove(&id);
            self.index(&id, None);
            self.timelines.remove(&id);
            if let Some(call) = self.records.remove(&id) {
                for user in [&call.caller.user, &call.callee.user] {
                    if self.lines.get(user) == Some(&id) {
                        self.lines.remove(user);
                    }
                }
            }
        }
        if now.since(self.last_cleaning) > Duration::from_secs(10) {
            self.last_cleaning = now;
            self.rings.clean(now);
            self.owed.clean(now);
            self.notices.retain(|_, notice| notice.until > now);
            self.early_commands.retain(|_, kept| {
                kept.retain(|(_, early)| early.at + retention.early_command > now);
                !kept.is_empty()
            });
            self.outcomes.retain(|_, listed| {
                listed.retain(|outcome| outcome.ended_at + retention.ended > now);
                !listed.is_empty()
            });
        }
    }
}

#[async_trait]
impl CallStore for MemoryStore {
    async fn create(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        now: Timestamp,
    ) -> Result<Created, StoreError> {
        let mut calls = self.calls.lock();
        calls.collect_garbage(now, self.retention);
        if let Some(existing) = calls.records.get(&call.id) {
            return Ok(Created::Exists(Box::new(existing.clone())));
        }
        let kept: Vec<EarlyCommand> = [&call.caller.user, &call.callee.user]
            .into_iter()
            .filter_map(|user| calls.early_commands.get(user))
            .flatten()
            .filter(|(id, early)| *id == call.id && early.at + self.retention.early_command > now)
            .map(|(_, early)| early.clone())
            .collect();
        if kept.len() != seen.len() || kept.iter().any(|early| !seen.contains(early)) {
            return Ok(Created::EarlyCommands(kept));
        }
        if !call.is_live() {
            let order = calls.next_order(now);
            let call = Call { order, over: order, ..call.clone() };
            calls.put(&call, now + self.retention.ended);
            calls.list_outcome(&call.caller.user, &call);
            calls.note(&call.id, milestones);
            self.outbox.lock().append(messages);
            self.minutes.lock().add(&call);
            return Ok(Created::Created(Box::new(call)));
        }
        let on_line = |user| calls.live_on_line(user).cloned().map(Box::new);
        let (caller, callee) = (on_line(&call.caller.user), on_line(&call.callee.user));
        let owing = calls.owed.refuses(call, self.retention.ring_budget, now);
        let limited = owing.or_else(|| calls.rings.refuses(call, self.retention.rings_per_minute, now));
        if caller.is_some() || callee.is_some() {
            return Ok(Created::Busy { caller, callee, limited });
        }
        if let Some((limit, wait)) = limited {
            return Ok(Created::TooManyRings { limit, wait });
        }
        calls.rings.begins(call, self.retention.rings_per_minute, now);
        calls.owed.begins(call, self.retention.ring_budget);
        calls.lines.insert(call.caller.user.clone(), call.id.clone());
        calls.lines.insert(call.callee.user.clone(), call.id.clone());
        let call = Call { order: calls.next_order(now), ..call.clone() };
        calls.put(&call, now + self.retention.live);
        calls.note(&call.id, milestones);
        self.said.lock().remove(&call.id);
        self.outbox.lock().append(messages);
        Ok(Created::Created(Box::new(call)))
    }

    async fn load(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        Ok(self.calls.lock().records.get(id).cloned())
    }

    async fn swap(
        &self,
        next: &Call,
        seen: Version,
        messages: &[OutboxMessage],
        milestones: &[Milestone],
    ) -> Result<Swap, StoreError> {
        let mut calls = self.calls.lock();
        let Some(stored) = calls.records.get(&next.id) else { return Ok(Swap::Gone) };
        if stored.version != seen {
            return Ok(Swap::Stale(Box::new(stored.clone())));
        }
        let was_live = stored.is_live();
        let keep = if next.is_live() { self.retention.live } else { self.retention.ended };
        let now = self.clock.now();
        let over = if was_live && !next.is_live() { calls.next_order(now) } else { next.over };
        let next = &Call { over, ..next.clone() };
        calls.put(next, now + keep);
        calls.note(&next.id, milestones);
        self.outbox.lock().append(messages);
        calls.owed.changes(next, was_live, self.retention.ring_budget);
        if was_live && !next.is_live() {
            for user in [&next.caller.user, &next.callee.user] {
                if calls.lines.get(user) == Some(&next.id) {
                    calls.lines.remove(user);
                }
                calls.list_outcome(user, next);
            }
            self.minutes.lock().add(next);
            self.said.lock().remove(&next.id);
        }
        Ok(Swap::Done { over })
    }

    async fn note(&self, notes: &[(CallId, Milestone)]) -> Result<(), StoreError> {
        let mut calls = self.calls.lock();
        for (id, milestone) in notes {
            calls.note(id, std::slice::from_ref(milestone));
        }
        Ok(())
    }

    async fn timeline(&self, id: &CallId) -> Result<Vec<Milestone>, StoreError> {
        Ok(self.calls.lock().timelines.get(id).cloned().unwrap_or_default())
    }

    async fn versions(&self, ids: &[CallId]) -> Result<Vec<Option<(Version, LastKept)>>, StoreError> {
        let calls = self.calls.lock();
        Ok(ids.iter().map(|id| calls.records.get(id).map(|call| (call.version, self.last_kept(id)))).collect())
    }

    async fn lines(&self, users: &[UserId]) -> Result<Vec<Option<CallId>>, StoreError> {
        let calls = self.calls.lock();
        Ok(users.iter().map(|user| calls.lines.get(user).cloned()).collect())
    }

    async fn line(&self, user: &UserId) -> Result<Option<Call>, StoreError> {
        Ok(self.calls.lock().live_on_line(user).cloned())
    }

    async fn reconnect_snapshot(&self, user: &UserId) -> Result<ReconnectSnapshot, StoreError> {
        let calls = self.calls.lock();
        let outcomes = calls.outcomes.get(user).cloned().unwrap_or_default();
        let last = outcomes.first().and_then(|outcome| calls.records.get(&outcome.call_id)).cloned();
        let line = calls.live_on_line(user).cloned();
        let kept = line.as_ref().map(|call| self.last_kept(&call.id)).unwrap_or_default();
        Ok(ReconnectSnapshot { line, kept, taken: false, outcomes, last, order: calls.order })
    }

    async fn claim_due(
        &self,
        due: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<CallId>, StoreError> {
        let mut calls = self.calls.lock();
        let claimed: Vec<CallId> =
            calls.due.iter().take_while(|(at, _)| *at <= due).take(limit).map(|(_, id)| id.clone()).collect();
        for id in &claimed {
            calls.index(id, Some(now + lease));
        }
        Ok(claimed)
    }

    async fn keep_early(&self, id: &CallId, early: &EarlyCommand, now: Timestamp) -> Result<Option<Call>, StoreError> {
        let mut calls = self.calls.lock();
        calls.collect_garbage(now, self.retention);
        if let Some(call) = calls.records.get(id) {
            return Ok(Some(call.clone()));
        }
        let kept = calls.early_commands.entry(early.user.clone()).or_default();
        kept.retain(|(call, other)| {
            (call != id || other.trusted != early.trusted) && other.at + self.retention.early_command > now
        });
        if kept.len() >= EARLY_COMMANDS_PER_USER {
            kept.remove(0);
        }
        kept.push((id.clone(), early.clone()));
        Ok(None)
    }

    async fn leave_notice(&self, user: &UserId, call: &CallId, ttl: Duration) -> Result<(), StoreError> {
        let until = self.clock.now() + ttl;
        self.calls.lock().notices.insert(user.clone(), Notice { call: call.clone(), until, claimed: None });
        Ok(())
    }

    async fn claim_notice(&self, user: &UserId, claimant: u64, claim: Duration) -> Result<Option<CallId>, StoreError> {
        let now = self.clock.now();
        let mut calls = self.calls.lock();
        let Some(notice) = calls.notices.get_mut(user).filter(|notice| notice.until > now) else { return Ok(None) };
        if notice.claimed.is_some_and(|(by, until)| by != claimant && until > now) {
            return Ok(None);
        }
        notice.claimed = Some((claimant, now + claim));
        Ok(Some(notice.call.clone()))
    }

    async fn drop_notice(&self, user: &UserId) -> Result<(), StoreError> {
        self.calls.lock().notices.remove(user);
        Ok(())
    }

    async fn generation(&self) -> Result<Generation, StoreError> {
        Ok(Generation::new("memory"))
    }

    fn decide_for(&self, _: &Generation) {}

    async fn reached(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn connection(&self) -> u64 {
        0
    }

    async fn restore(&self, call: &Call, messages: &[OutboxMessage]) -> Result<Restored, StoreError> {
        let mut calls = self.calls.lock();
        calls.order = calls.order.max(call.order).max(call.over);
        let stored = calls.records.get(&call.id);
        let written = stored.is_none_or(|stored| {
            (stored.is_live() || !call.is_live()) && stored.version.counter < call.version.counter
        });
        let live = call.is_live() && (written || stored.is_some_and(Call::is_live));
        let same = stored.is_some_and(|stored| stored.version == call.version);
        let keep = if call.is_live() { self.retention.live } else { self.retention.ended };
        if written {
            calls.put(call, self.clock.now() + keep);
        }
        let mut without_line = false;
        for user in [&call.caller.user, &call.callee.user] {
            if live && calls.live_on_line(user).is_some_and(|other| other.id != call.id) {
                without_line = true;
            } else if live {
                calls.lines.insert(user.clone(), call.id.clone());
            } else if written && calls.lines.get(user) == Some(&call.id) {
                calls.lines.remove(user);
            }
            if written {
                calls.list_outcome(user, call);
            }
        }
        if without_line {
            calls.index(&call.id, Some(Timestamp::from_millis(0)));
        } else if live && same {
            calls.index(&call.id, call.deadline());
        }
        if written {
            self.outbox.lock().append(messages);
        }
        Ok(Restored { written, without_line })
    }

    async fn report_restored(&self, _: &Generation, _: &NodeId, _: RestoreStage) -> Result<RestoreReports, StoreError> {
        // It lasts as long as its nodes.
        Ok(RestoreReports::default())
    }

    async fn restore_reports(&self, _: &Generation) -> Result<RestoreReports, StoreError> {
        Ok(RestoreReports::default())
    }

    async fn raise_order(&self, order: u64) -> Result<u64, StoreError> {
        let mut calls = self.calls.lock();
        calls.order = calls.order.max(order);
        Ok(calls.order)
    }

    async fn live_calls(&self) -> Result<u64, StoreError> {
        Ok(self.calls.lock().deadlines.len() as u64)
    }
}
