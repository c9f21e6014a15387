//! Parties whose devices have left, and those that are back.

use std::sync::Arc;

use crate::call::{Audience, Call, Command, Role, State, Timestamp, UserId};
use crate::signaling::calls::Failure;
use crate::signaling::cluster::{Leftover, StoreIdentity};
use crate::signaling::commands::Commands;
use crate::signaling::directory::Directory;
use crate::signaling::presence::Presence;
use crate::signaling::sessions::Session;
use crate::store::{CallStore, SessionRecord, StoreError};

/// How often it is looked whether a device has other sessions: each time one came or left meanwhile.
const LOOKS: u32 = 4;

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
        self.write(call, &Command::Return { role }).await.map(drop)
    }

    /// Absent where somebody else found it first or the call ended meanwhile, which is as good. An error: the store failed.
    async fn write(&self, call: &Call, command: &Command) -> Result<Option<Call>, StoreError> {
        match self.commands.apply(&call.id, command).await {
            Ok(next) => Ok(Some(next)),
            Err(Failure::Unavailable) => Err(StoreError::Unavailable("who is there could not be written".into())),
            Err(_) => Ok(None),
        }
    }

    /// Does once more what follows from a session that left while the store failed. As [`Absences::leave`].
    pub async fn take_leave(&self, left: &Leftover) -> Result<bool, StoreError> {
        match left.removed_at {
            None => self.leave(&left.session, left.left_at).await,
            Some(_) => self.remove(&left.session).await,
        }
    }

    /// Removes a session that left, once what follows for its user's call is stored: whoever dies in between leaves a session
    /// that others sweep. An error: the store failed, it is to be done again; and so it is where false is returned: who
    /// subscribed to its user could not be told.
    pub async fn leave(&self, gone: &SessionRecord, left_at: Timestamp) -> Result<bool, StoreError> {
        let concerns_call = self.begin(gone, Some(left_at)).await?;
        let is_told = self.remove(gone).await?;
        if concerns_call {
            // Two that leave at the same time take each other for there until they are removed.
            self.begin_in_call(gone, Some(left_at)).await?;
        }
        Ok(is_told)
    }

    /// Removes a session that left. False where who subscribed to its user could not be told.
    async fn remove(&self, gone: &SessionRecord) -> Result<bool, StoreError> {
        Ok(!self.presence.store.unregister(gone).await? || self.presence.went_away(&gone.user).await.is_ok())
    }

    /// Stores the grace of a party whose device has no session left since `left_at`, then looks again: a session that
    /// came in between would otherwise be overlooked by both. Where nobody knows when it left, that is now, unless another
    /// of its sessions did before. Returns whether the device is that of a party to a call. An error: the store failed, it
    /// is to be done again.
    pub async fn begin(&self, gone: &SessionRecord, left_at: Option<Timestamp>) -> Result<bool, StoreError> {
        self.presence.post_presence(&gone.user, false);
        self.begin_in_call(gone, left_at).await
    }

    /// The same where its user is known to have gone.
    pub async fn begin_in_call(&self, gone: &SessionRecord, left_at: Option<Timestamp>) -> Result<bool, StoreError> {
        let Some(mut call) = self.line(&gone.user).await? else { return Ok(false) };
        let Some(role) = call.role_of(&gone.user) else { return Ok(false) };
        if !call.party(role).device.matches(&gone.device) {
            return Ok(false);
        }
        let found = self.commands.node.now();
        let at = left_at.unwrap_or(found);
        let leave = Command::Leave { role, at, acks: gone.acks, found };
        // Others of the device come and go meanwhile, and what they find is written meanwhile.
        let mut is_written = false;
        for _ in 0..LOOKS {
            let is_there = self.directory.is_still_there(&call, role).await?;
            let is_absent = call.party(role).absent_since.is_some();
            let command = match (is_there, is_absent) {
                (true, false) => break,
                (true, true) => &Command::Return { role },
                (false, true) if is_written || left_at.is_none() => break,
                (false, _) => &leave,
            };
            is_written = !is_there;
            let Some(next) = self.write(&call, command).await? else { break };
            call = next;
        }
        Ok(true)
    }

    /// The call that a user is in. That he is in none is not believed of a store which came back while it was asked: the call
    /// may not be put back yet.
    async fn line(&self, user: &UserId) -> Result<Option<Call>, StoreError> {
        loop {
            self.identity.all_restored().await?;
            match self.store.line(user).await {
                Ok(None) if !self.identity.knows_connection() => {}
                // A call of another version is not ours to judge: its maximum ends it.
                Err(StoreError::Corrupt { .. }) => return Ok(None),
                line => return line,
            }
        }
    }
}
