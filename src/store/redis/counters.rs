use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use fred::types::Value;

use super::RedisCalls;
use super::reading::unexpected;
use super::script;
use crate::call::{Call, counted};
use crate::store::{COUNTED_FOR, Counters, StoreError};

/// Minutes that one script adds up: a millisecond or two, so that no call waits for who looks at statistics.
const AT_ONCE: u64 = 60;

/// What the counters of a minute are for: key, how long they are kept, counters. Nothing for a call that goes on.
pub fn argument(tag: &str, call: &Call) -> Value {
    let Some(counted) = counted(call) else { return "".into() };
    format!("{tag}minute:{} {} {}", counted.minute, COUNTED_FOR.as_millis(), counted.counters.join(" ")).into()
}

#[async_trait]
impl Counters for RedisCalls {
    async fn counts(&self, minutes: RangeInclusive<u64>) -> Result<BTreeMap<String, u64>, StoreError> {
        let (mut from, to) = minutes.into_inner();
        let mut sums = BTreeMap::new();
        while from <= to {
            let until = to.min(from + AT_ONCE - 1);
            let keys: Vec<String> = (from..=until).map(|minute| format!("{}minute:{minute}", self.tag)).collect();
            let reply: Vec<String> = script::COUNTS.run(&self.client, keys, vec![]).await?;
            for pair in reply.chunks(2) {
                let [counter, count] = pair else { return Err(unexpected("counts", &reply)) };
                *sums.entry(counter.clone()).or_default() += count.parse::<u64>().unwrap_or_default();
            }
            from = until + 1;
        }
        Ok(sums)
    }
}
