use async_trait::async_trait;

use super::MemoryStore;
use crate::call::Call;
use crate::store::{StoreError, Vacates};

#[async_trait]
impl Vacates for MemoryStore {
    async fn vacate(&self, ended: &Call) -> Result<bool, StoreError> {
        Ok(self.calls.lock().remove_ended(ended))
    }
}
