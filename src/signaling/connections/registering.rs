//! All sessions of this node are registered again: under a new epoch, or in a store that forgot them.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::{Registrar, Replay};
use crate::signaling::presence::Presence;
use crate::signaling::sessions::Session;
use crate::store::StoreError;

/// Sessions that a node registers again at the same time.
const AT_ONCE: usize = 64;

/// Registers again.
pub struct Registering {
    pub registrar: Arc<Registrar>,
    pub replay: Arc<Replay>,
    pub presence: Arc<Presence>,
}

impl Registering {
    /// Registers all sessions of this node, under the epoch of now. One that fails does not keep the others from it; as
    /// many as are on their way at once mean that the store is away. The first failure is returned in the end.
    pub async fn register_all(&self) -> Result<(), StoreError> {
        let sessions = self.registrar.local.all();
        if !sessions.is_empty() {
            tracing::info!(sessions = sessions.len(), "registering all sessions again");
        }
        let total = sessions.len();
        let mut registered = stream::iter(sessions)
            .map(|session| async move { (session.id.clone(), self.register_again(&session).await) })
            .buffer_unordered(AT_ONCE);
        let (mut failed, mut first) = (0, None);
        while let Some((session, outcome)) = registered.next().await {
            let Err(error) = outcome else { continue };
            failed += 1;
            if first.is_none() {
                tracing::debug!(%session, %error, "registering a session again failed, to be repeated");
                first = Some(error);
            }
            if failed >= AT_ONCE {
                break;
            }
        }
        drop(registered);
        if let Some(error) = first {
            tracing::warn!(failed, total, "not all sessions could be registered again");
            return Err(error);
        }
        self.presence.watch_all_again().await
    }

    /// Registers a session that is known here and tells it what it may have missed meanwhile.
    async fn register_again(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        let registered = self.registrar.register(session).await?;
        if !registered.written {
            return Ok(());
        }
        let desk = self.registrar.calls.desk(&session.user).await?;
        self.registrar.evict_surplus(&session.id, &registered.sessions, desk.line.as_ref()).await;
        self.replay.replay(session, &desk).await;
        if desk.order > 0 {
            session.joined(desk.order);
        }
        Ok(())
    }
}
