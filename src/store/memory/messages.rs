use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use super::said::SaidInCall;
use crate::call::{Call, CallId, Role, Timestamp};
use crate::store::{KeptMessage, LastKept, MESSAGE_IDS_KNOWN, Messages, NewMessage, Placed, StoreError};

const MINUTE: Duration = Duration::from_secs(60);

impl MemoryStore {
    pub(super) fn last_kept(&self, call: &CallId) -> LastKept {
        self.said.lock().get(call).map(SaidInCall::last_kept).unwrap_or_default()
    }
}

#[async_trait]
impl Messages for MemoryStore {
    async fn place(&self, call: &CallId, message: NewMessage<'_>, now: Timestamp) -> Result<Placed, StoreError> {
        let calls = self.calls.lock();
        if !calls.records.get(call).is_some_and(Call::is_live) {
            return Ok(Placed::Over);
        }
        let mut all = self.said.lock();
        if !all.contains_key(call) && all.len() % 256 == 255 {
            // Those of calls that only time took away.
            all.retain(|id, _| calls.records.get(id).is_some_and(Call::is_live));
        }
        let said = all.entry(call.clone()).or_default();
        let side = match message.by {
            Role::Caller => &mut said.caller,
            Role::Callee => &mut said.callee,
        };
        let known = side.ids.iter().find(|(id, ..)| Some(id.as_str()) == message.id);
        if let Some((_, order, kept_before)) = known {
            return Ok(Placed::At { order: *order, kept_before: *kept_before, again: true });
        }
        if let Some(each) = MINUTE.checked_div(self.retention.messages_per_minute) {
            let whole_at = side.whole_at.max(now) + each;
            if let Some(wait) = whole_at.since(now).checked_sub(MINUTE).filter(|wait| !wait.is_zero()) {
                return Ok(Placed::TooMany { wait });
            }
            side.whole_at = whole_at;
        }
        let (order, kept_before) = ((side.last + 1).max(now.as_millis().saturating_mul(1000)), side.last_kept);
        side.last = order;
        if let Some(id) = message.id {
            side.ids.push_back((id.to_owned(), order, kept_before));
            if side.ids.len() > MESSAGE_IDS_KNOWN {
                side.ids.pop_front();
            }
        }
        if let Some(text) = message.keep {
            side.last_kept = order;
            let id = message.id.map(str::to_owned);
            said.keep(message.by, KeptMessage { order, id, text: text.to_owned() });
        }
        Ok(Placed::At { order, kept_before, again: false })
    }

    async fn kept(&self, call: &CallId, by: Role) -> Result<(u64, Vec<KeptMessage>), StoreError> {
        let is_live = self.calls.lock().records.get(call).is_some_and(Call::is_live);
        let all = self.said.lock();
        let Some(said) = all.get(call).filter(|_| is_live) else { return Ok((0, vec![])) };
        let messages = said.kept.iter().filter(|(role, _)| *role == by).map(|(_, kept)| kept.clone());
        Ok((said.last_kept().of(by), messages.collect()))
    }
}
