use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::call::{CallId, Role, Timestamp};

/// Messages kept of one call, and what they may take together; the oldest go first.
pub const MESSAGES_KEPT: usize = 50;
pub const MESSAGE_BYTES_KEPT: usize = 64 * 1024;
/// Ids of each side's last messages that are recognised when they come again.
pub const MESSAGE_IDS_KNOWN: usize = 32;

/// A message of one side, to be placed among the others.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'m> {
    pub by: Role,
    /// The sender's own name for it: the same again is the same message.
    pub id: Option<&'m str>,
    /// Its JSON, where it is to be kept.
    pub keep: Option<&'m str>,
}

/// A message as it is kept; its text is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    pub order: u64,
    pub id: Option<String>,
    pub text: String,
}

/// The place that a message got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    At {
        /// Rises with each message of its side, also over a loss of the store; what lies between two is no message.
        order: u64,
        /// The last of these before it that was kept; 0 for none.
        kept_before: u64,
        /// It was placed before: this is a repeat.
        again: bool,
    },
    /// Its side said too much in this call; nothing was written.
    TooMany { wait: Duration },
    /// The call is not live; nothing was written.
    Over,
}

/// The order of the last message of each side that was kept; 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastKept {
    pub caller: u64,
    pub callee: u64,
}

impl LastKept {
    pub fn of(self, role: Role) -> u64 {
        match role {
            Role::Caller => self.caller,
            Role::Callee => self.callee,
        }
    }
}

/// Messages between the parties of a live call: those of each side have an order, some are kept until the call is over.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Gives a message its order and keeps it if it is to be kept, in one write.
    async fn place(&self, call: &CallId, message: NewMessage<'_>, now: Timestamp) -> Result<Placed, StoreError>;

    /// What one side of a live call said and was kept, in its order, and the order of the last that ever was.
    async fn kept(&self, call: &CallId, by: Role) -> Result<(u64, Vec<KeptMessage>), StoreError>;
}
