//! Parties whose devices have left, and those that are back.

use std::sync::Arc;

use crate::call::{Audience, Call, Command, Role, State, Timestamp};
use crate::signaling::calls::Failure;
use crate::signaling::cluster::StoreIdentity;
use crate::signaling::commands::Commands;
use crate::signaling::directory::Directory;
use crate::signaling::presence::Presence;
use crate::signaling::sessions::Session;
use crate::store::{CallStore, SessionRecord, StoreError};

/// Begins and ends absences.
pub struct Absences {
    pub store: Arc<dyn CallStore>,
    pub identity: Arc<StoreIdentity>,
    pub directory: Arc<Directory>,
    pub presence: Arc<Presence>,
    pub commands: Arc<Commands>,
}

impl Absences {
    /// Ends the absence of the party whose device is back, and tells the ring that may have died with the caller's node.
    /// An error: the store failed, it is to be done again.
    pub async fn come_back(&self, session: &Session, call: &Call) -> Result<(), StoreError> {
        let Some(role) = call.role_of(&session.user) else { return Ok(()) };
        if role == Role::Caller && call.state == State::Trying {
            self.commands.delivery.tell(call, Audience::CALLEE).await;
        }
        self.is_present(session, call).await
    }

    /// Ends the absence of the party whose device this session is: it is back, or was there all along and its node was not.
    /// An error: the store failed, it is to be done again.
    pub async fn is_present(&self, session: &Session, call: &Call) -> Result<(), StoreError> {
        let Some(role) = call.role_of(&session.user) else { return Ok(()) };
        let party = call.party(role);
        if party.absent_since.is_none() || !party.device.matches(&session.device) {
            return Ok(());
        }
        self.ends(call, role).await
    }

    /// Refused where somebody else saw him first or the call ended meanwhile, which is as good.
    async fn ends(&self, call: &Call, role: Role) -> Result<(), StoreError> {
        match self.commands.apply(&call.id, &Command::Return { role }).await {
            Err(Failure::Unavailable) => {
                Err(StoreError::Unavailable("the end of an absence could not be written".into()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Stores the grace of a party whose device has no session left since `left_at`, then looks again: a session that
    /// came in between would otherwise be overlooked by both. Where nobody knows when it left, that is now, unless another
    /// of its sessions did before. An error: the store failed, it is to be done again.
    pub async fn begin(&self, gone: &SessionRecord, left_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.presence.post_presence(&gone.user, false);
        self.begin_in_call(gone, left_at).await
    }

    /// The same where its user is known to have gone.
    pub async fn begin_in_call(&self, gone: &SessionRecord, left_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.identity.all_restored().await?;
        let call = match self.store.line(&gone.user).await {
            Ok(Some(call)) => call,
            // A call of another version is not ours to judge: its maximum ends it.
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(role) = call.role_of(&gone.user) else { return Ok(()) };
        if !call.party(role).device.matches(&gone.device) || self.directory.is_still_there(&call, role).await {
            return Ok(());
        }
        let at = match (left_at, call.party(role).absent_since) {
            (Some(at), _) => at,
            (None, None) => self.commands.node.now(),
            (None, Some(_)) => return Ok(()),
        };
        match self.commands.apply(&call.id, &Command::Leave { role, at, acks: gone.acks }).await {
            Ok(_) if self.directory.is_still_there(&call, role).await => self.ends(&call, role).await,
            Err(Failure::Unavailable) => Err(StoreError::Unavailable("an absence could not be written".into())),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
