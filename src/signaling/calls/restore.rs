//! Calls that the store has lost.

use super::{Calls, Failure};
use crate::call::{Call, CallId, What};
use crate::store::{Restored, StoreError};

impl Calls {
    /// Restores a call with all it has to tell the backend, under the same ids.
    pub async fn restore(&self, call: &Call) -> Result<Restored, StoreError> {
        let messages = self.messages.of(None, call);
        let restored = self.noticed(self.store.restore(call, &messages).await).await?;
        if restored.written {
            self.timeline.note(&call.id, self.node.milestone(What::Restored));
            self.messages.posted(&messages);
        }
        if restored.without_line {
            // Where too many wait, the index offers it to whoever claims deadlines.
            let _ = self.without_line.try_send(call.id.clone());
        }
        Ok(restored)
    }

    /// Restores a call that this node holds and the store has lost, unless another did meanwhile; false where nothing
    /// was lost.
    pub async fn restore_one(&self, id: &CallId) -> bool {
        let Some(call) = self.cache.last_seen(id) else { return false };
        let is_back = self.identity.may_have_lost().await && self.restore(&call).await.is_ok();
        // Asked of the server that took it, which may be another than the one that had lost it: then nothing is decided on what
        // only this node knows before the others have put back what they do.
        is_back && self.identity.check().await.is_ok()
    }

    /// What is not there may only not be put back yet: then nobody says that there is no such call.
    pub async fn unless_lost<T>(&self, answer: Result<T, Failure>) -> Result<T, Failure> {
        match answer {
            Err(Failure::NotFound) if self.identity.may_have_lost().await => Err(Failure::Unavailable),
            answer => answer,
        }
    }

    /// A live call that is gone from the store though nothing was lost: it ended where nobody told this node, long ago.
    pub async fn is_gone(&self, call: &Call) -> bool {
        // Read first: the answer may be that of a store that has lost it.
        matches!(self.store.load(&call.id).await, Ok(None)) && !self.identity.may_have_lost().await
    }
}
