use std::collections::HashSet;

use async_trait::async_trait;

use super::MemoryStore;
use crate::call::{CallId, Timestamp};
use crate::store::{Generation, StoreError, Unvouched, Vouches};

#[async_trait]
impl Vouches for MemoryStore {
    async fn vouch(&self, generation: &Generation, calls: &[CallId], now: Timestamp) -> Result<(), StoreError> {
        let mut stored = self.calls.lock();
        if stored.vouched.as_ref().is_none_or(|(of, ..)| of != generation) {
            stored.vouched = Some((generation.clone(), now, HashSet::new()));
        }
        if let Some((_, _, vouched)) = &mut stored.vouched {
            vouched.extend(calls.iter().cloned());
        }
        Ok(())
    }

    async fn unvouched(&self, generation: &Generation, _from: u64, _bite: usize) -> Result<Unvouched, StoreError> {
        let stored = self.calls.lock();
        let of_it = stored.vouched.as_ref().filter(|(of, ..)| of == generation);
        let is_vouched = |id: &CallId| of_it.is_some_and(|(_, _, vouched)| vouched.contains(id));
        Ok(Unvouched {
            calls: stored.deadlines.keys().filter(|id| !is_vouched(id)).cloned().collect(),
            lost_at: of_it.map(|(_, lost_at, _)| *lost_at),
            next: None,
        })
    }
}
