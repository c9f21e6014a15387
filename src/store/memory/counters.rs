use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use async_trait::async_trait;

use super::MemoryStore;
use crate::call::{Call, counted};
use crate::store::{COUNTED_FOR, Counters, StoreError};

/// Counters by minute.
#[derive(Default)]
pub(super) struct Minutes(BTreeMap<u64, BTreeMap<String, u64>>);

impl Minutes {
    /// Counts a call that is over.
    pub fn add(&mut self, call: &Call) {
        let Some(counted) = counted(call) else { return };
        let counters = self.0.entry(counted.minute).or_default();
        for counter in counted.counters {
            *counters.entry(counter).or_default() += 1;
        }
        let kept_from = counted.minute.saturating_sub(COUNTED_FOR.as_secs() / 60);
        self.0 = self.0.split_off(&kept_from);
    }
}

#[async_trait]
impl Counters for MemoryStore {
    async fn counts(&self, minutes: RangeInclusive<u64>) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut sums = BTreeMap::new();
        if minutes.is_empty() {
            return Ok(sums);
        }
        for (counter, count) in self.minutes.lock().0.range(minutes).flat_map(|(_, counters)| counters) {
            *sums.entry(counter.clone()).or_default() += count;
        }
        Ok(sums)
    }
}
