use async_trait::async_trait;

use super::calls::RedisCalls;
use super::reading::version_text;
use super::script;
use crate::call::Call;
use crate::store::{StoreError, Vacates};

#[async_trait]
impl Vacates for RedisCalls {
    async fn vacate(&self, ended: &Call) -> Result<bool, StoreError> {
        let keys = vec![self.call_key(&ended.id), self.timeline_key(&ended.id)];
        let removed: u64 = script::VACATE.run(&self.client, keys, vec![version_text(ended.version).into()]).await?;
        Ok(removed == 1)
    }
}
