//! Calls by id and by user.

use super::{Calls, Failure};
use crate::call::{Call, CallId, UserId};

impl Calls {
    /// A call as it is stored.
    pub async fn load(&self, id: &CallId) -> Result<Option<Call>, Failure> {
        Ok(self.store.load(id).await?)
    }

    /// The call of a user under an id that is another's call, too: the one he dialled, or the one he is in.
    pub async fn doubled(&self, id: &CallId, user: &UserId) -> Result<Option<Call>, Failure> {
        if id.is_doubled() {
            return Ok(None);
        }
        if let Some(dialled) = self.store.load(&id.doubled(user)).await? {
            return Ok(Some(dialled));
        }
        let is_it = |line: &Call| line.id.is_doubled() && line.known_id() == *id;
        Ok(self.store.line(user).await?.filter(is_it))
    }

    /// A call as this node last saw it, or as it is stored.
    pub async fn cached_or_stored(&self, id: &CallId) -> Result<Option<Call>, Failure> {
        if let Some(call) = self.cache.last_seen(id) {
            return Ok(Some(Call::clone(&call)));
        }
        self.identity.all_restored().await?;
        Ok(self.store.load(id).await?)
    }
}
