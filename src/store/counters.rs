use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// Minutes are counted for so long.
pub const COUNTED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// What calls that ended were like, counted minute by minute in the step that writes their end: no ids, and no more counters
/// than [`crate::call::counted()`] has words for.
#[async_trait]
pub trait Counters: Send + Sync {
    /// The sums of all counters over these minutes since 1970; those of a newer version among them.
    async fn counts(&self, minutes: RangeInclusive<u64>) -> Result<BTreeMap<String, u64>, StoreError>;
}
