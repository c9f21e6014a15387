use fred::clients::Client;
use fred::interfaces::ListInterface;
use fred::types::Value;

use super::reading::{Key, json, number, readable};
use crate::call::Milestone;
use crate::store::StoreError;

/// What `timeline` in `lua/timeline.lua` takes: how many, then each.
pub(super) fn arguments<'m>(milestones: impl IntoIterator<Item = &'m Milestone>) -> Result<Vec<Value>, StoreError> {
    let mut arguments = vec![number(0)];
    for milestone in milestones {
        arguments.push(json("milestone", milestone)?.into());
    }
    arguments[0] = number(arguments.len() as u64 - 1);
    Ok(arguments)
}

pub(super) async fn read(client: &Client, key: String) -> Result<Vec<Milestone>, StoreError> {
    let texts: Vec<String> = client.lrange(key.as_str(), 0, -1).await?;
    // One that a newer version wrote is not ours to judge.
    Ok(readable("milestone", Key::Other(&key), &texts))
}
