use std::time::Duration;

use async_trait::async_trait;

use super::reading::{duration, last_kept, number, unexpected};
use super::{RedisCalls, script};
use crate::call::{CallId, Role, Timestamp};
use crate::store::{
    KeptMessage, MESSAGE_BYTES_KEPT, MESSAGE_IDS_KNOWN, MESSAGES_KEPT, Messages, NewMessage, Placed, StoreError,
};

fn side(role: Role) -> &'static str {
    match role {
        Role::Caller => "0",
        Role::Callee => "1",
    }
}

fn read_kept(entry: &str, of: Role) -> Option<KeptMessage> {
    let mut parts = entry.splitn(4, ' ');
    parts.next().filter(|by| *by == side(of))?;
    let order = parts.next()?.parse().ok()?;
    let id = parts.next().filter(|id| !id.is_empty()).map(str::to_owned);
    Some(KeptMessage { order, id, text: parts.next()?.to_owned() })
}

impl RedisCalls {
    fn messages_key(&self, id: &CallId) -> String {
        format!("{}messages:{id}", self.tag)
    }
}

#[async_trait]
impl Messages for RedisCalls {
    async fn place(&self, call: &CallId, message: NewMessage<'_>, now: Timestamp) -> Result<Placed, StoreError> {
        let arguments = vec![
            side(message.by).into(),
            number(now.as_millis()),
            message.id.unwrap_or_default().into(),
            message.keep.unwrap_or_default().into(),
            duration(self.retention.live),
            number(MESSAGES_KEPT as u64),
            number(MESSAGE_BYTES_KEPT as u64),
            number(self.retention.messages_per_minute.into()),
            number(MESSAGE_IDS_KNOWN as u64),
        ];
        let keys = vec![self.call_key(call), self.messages_key(call)];
        let reply: Vec<String> = script::MESSAGE.run(&self.client, keys, arguments).await?;
        let parsed = |text: &String| text.parse::<u64>().map_err(|_| unexpected("message", &reply));
        match reply.as_slice() {
            [over] if over == "over" => Ok(Placed::Over),
            [wait, millis] if wait == "wait" => Ok(Placed::TooMany { wait: Duration::from_millis(parsed(millis)?) }),
            [order, kept_before, again] => {
                Ok(Placed::At { order: parsed(order)?, kept_before: parsed(kept_before)?, again: again == "1" })
            }
            _ => Err(unexpected("message", &reply)),
        }
    }

    async fn kept(&self, call: &CallId, by: Role) -> Result<(u64, Vec<KeptMessage>), StoreError> {
        let keys = vec![self.call_key(call), self.messages_key(call)];
        let reply: Vec<String> = script::KEPT.run(&self.client, keys, vec![number(MESSAGES_KEPT as u64)]).await?;
        let [kept, entries @ ..] = reply.as_slice() else { return Err(unexpected("kept", &reply)) };
        Ok((last_kept(kept).of(by), entries.iter().filter_map(|entry| read_kept(entry, by)).collect()))
    }
}
