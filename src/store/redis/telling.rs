//! What a script that changes a call needs to tell it in the same step, and what it says of that.

use async_trait::async_trait;
use fred::interfaces::ClientLike;
use fred::types::Value;

use super::calls::RedisCalls;
use super::reading::{Key, readable, unexpected};
use super::sessions::sessions_key;
use crate::call::{Call, EarlyCommand, Milestone, NodeId, Timestamp};
use crate::store::{Created, OutboxMessage, StoreError, Swap, Telling, Tells, Told};

impl RedisCalls {
    /// Sessions are in other slots than calls: what touches both in one step is possible only where there are no slots.
    pub(super) fn tells<'t>(&self, telling: Option<&'t Telling>) -> Option<&'t Telling> {
        telling.filter(|_| !self.client.is_clustered())
    }

    /// The keys and arguments of `lua/tell.lua`.
    pub(super) fn to_tell(&self, call: &Call, telling: Option<&Telling>) -> (Vec<String>, [Value; 5]) {
        let Some(telling) = telling else { return (Vec::new(), [(); 5].map(|()| "".into())) };
        let users: Vec<_> = telling.audience.roles().map(|role| &call.party(role).user).collect();
        let user = |place: usize| Value::from(users.get(place).map_or("", |user| user.as_str()));
        let keys = users.iter().map(|user| sessions_key(&self.prefix, user)).collect();
        let channel = format!("{}:node:", self.prefix);
        (keys, [telling.own.as_str().into(), channel.into(), telling.head.as_str().into(), user(0), user(1)])
    }
}

#[async_trait]
impl Tells for RedisCalls {
    async fn create_telling(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        (now, telling): (Timestamp, &Telling),
    ) -> Result<(Created, Option<Told>), StoreError> {
        self.create_script(call, seen, messages, milestones, (now, Some(telling))).await
    }

    async fn swap_telling(
        &self,
        next: &Call,
        seen: &Call,
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        telling: &Telling,
    ) -> Result<(Swap, Option<Told>), StoreError> {
        self.swap_script(next, (seen.version, seen.deadline()), messages, milestones, Some(telling)).await
    }
}

/// Reads what `lua/tell.lua` added to the reply.
pub(super) fn told(call: &Call, telling: Option<&Telling>, added: &[String]) -> Result<Option<Told>, StoreError> {
    let Some(telling) = telling else { return Ok(None) };
    let (mut told, mut rest) = (Told::default(), added);
    for role in telling.audience.roles() {
        let counted = rest.split_first().and_then(|(count, rest)| rest.split_at_checked(count.parse().ok()?));
        let Some((sessions, after)) = counted else { return Err(unexpected("tell", added)) };
        *told.sessions(role) = readable("session", Key::User(&call.party(role).user), sessions);
        rest = after;
    }
    let heard = rest.chunks_exact(2).filter_map(|pair| Some((NodeId::stored(&pair[0]).ok()?, pair[1].parse().ok()?)));
    told.heard = heard.collect();
    Ok(Some(told))
}
