use async_trait::async_trait;

use super::StoreError;
use crate::call::Call;

/// An id that somebody took for a call of his own is given to whose it is.
#[async_trait]
pub trait Vacates: Send + Sync {
    /// Removes the record of a call that is over, and its timeline, if this is the version that is stored: the id is free
    /// for another call. False where it is not; then nothing is removed.
    async fn vacate(&self, ended: &Call) -> Result<bool, StoreError>;
}
