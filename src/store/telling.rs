use async_trait::async_trait;

use super::{Created, OutboxMessage, SessionRecord, StoreError, Swap};
use crate::call::{Audience, Call, EarlyCommand, Milestone, NodeId, Role, Timestamp};

/// Changes calls as [`CallStore`](super::CallStore) does, and in the same step tells what was written; no `Told` where
/// nothing was, or the store can't do both: then it is to be told afterwards.
#[async_trait]
pub trait Tells: Send + Sync {
    async fn create_telling(
        &self,
        call: &Call,
        seen: &[EarlyCommand],
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        now_telling: (Timestamp, &Telling),
    ) -> Result<(Created, Option<Told>), StoreError>;

    /// `seen` is the record that `next` was made of.
    async fn swap_telling(
        &self,
        next: &Call,
        seen: &Call,
        messages: &[OutboxMessage],
        milestones: &[Milestone],
        telling: &Telling,
    ) -> Result<(Swap, Option<Told>), StoreError>;
}

/// Whom the write of a call is told to in the same step, where the store can do both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    pub audience: Audience,
    /// The node that writes: it tells its own sessions itself.
    pub own: NodeId,
    /// The envelope up to its body.
    pub head: String,
}

/// Whom it was told to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// All sessions of the parties asked for, of dead nodes too: leases are the reader's to judge.
    pub caller: Vec<SessionRecord>,
    pub callee: Vec<SessionRecord>,
    /// The other nodes that hold them, each with how many listened.
    pub heard: Vec<(NodeId, usize)>,
}

impl Told {
    pub fn sessions(&mut self, role: Role) -> &mut Vec<SessionRecord> {
        match role {
            Role::Caller => &mut self.caller,
            Role::Callee => &mut self.callee,
        }
    }
}
