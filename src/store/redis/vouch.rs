use std::time::Duration;

use async_trait::async_trait;

use super::calls::RedisCalls;
use super::reading::{number, unexpected};
use super::script;
use crate::call::{CallId, Timestamp};
use crate::store::{Generation, StoreError, Unvouched, Vouches};

/// Longer than the calls of a generation are sorted out.
const VOUCHED_FOR: Duration = Duration::from_secs(600);
/// A node that slept through all of that must not take the loss for a new one.
const DATED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
const AT_ONCE: usize = 512;

impl RedisCalls {
    fn vouch_keys(&self, generation: &Generation) -> [String; 2] {
        let name = generation.name();
        [format!("{}vouched:{name}", self.tag), format!("{}lost:{name}", self.tag)]
    }
}

#[async_trait]
impl Vouches for RedisCalls {
    async fn vouch(&self, generation: &Generation, calls: &[CallId], now: Timestamp) -> Result<(), StoreError> {
        let mut rest = calls;
        loop {
            let (some, later) = rest.split_at(rest.len().min(AT_ONCE));
            let ttls = [VOUCHED_FOR, DATED_FOR].map(|ttl| number(ttl.as_millis() as u64));
            let ids = some.iter().map(|id| id.as_str().into());
            let arguments = ttls.into_iter().chain([number(now.as_millis())]).chain(ids).collect();
            script::VOUCH.run::<u64>(&self.client, self.vouch_keys(generation).to_vec(), arguments).await?;
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    async fn unvouched(&self, generation: &Generation, from: u64, bite: usize) -> Result<Unvouched, StoreError> {
        let keys = [vec![self.due_key()], self.vouch_keys(generation).to_vec()].concat();
        let arguments = vec![number(from), number(bite as u64), self.call_prefix().into()];
        let reply: Vec<String> = script::UNVOUCHED.run(&self.client, keys, arguments).await?;
        let [next, lost_at, ids @ ..] = reply.as_slice() else { return Err(unexpected("unvouched", &reply)) };
        Ok(Unvouched {
            calls: ids.iter().filter_map(|id| CallId::stored(id).ok()).collect(),
            lost_at: lost_at.parse().ok().map(Timestamp::from_millis),
            next: next.parse().ok().filter(|next| *next != 0),
        })
    }
}
