use async_trait::async_trait;

use super::{Generation, StoreError};
use crate::call::{CallId, Timestamp};

/// A bite of the live calls that nobody vouched for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unvouched {
    pub calls: Vec<CallId>,
    /// When the first node vouched, in store time; absent where none did, or long ago.
    pub lost_at: Option<Timestamp>,
    /// Where the next bite begins; absent after the last.
    pub next: Option<u64>,
}

/// A store that comes back older holds calls as live that ended since. Only nodes that saw the loss can tell them apart.
#[async_trait]
pub trait Vouches: Send + Sync {
    /// Notes that these calls are known to be live in this generation, for some minutes. Who says so first, also of no
    /// call at all, dates the loss: at `now`.
    async fn vouch(&self, generation: &Generation, calls: &[CallId], now: Timestamp) -> Result<(), StoreError>;

    /// Some `bite` of the live calls with a deadline, without those vouched for in this generation; from 0, and then from
    /// `next`. A call that is live all the while is in one bite at least.
    async fn unvouched(&self, generation: &Generation, from: u64, bite: usize) -> Result<Unvouched, StoreError>;
}
