//! From node to node: one channel per node, one envelope per node that holds a session of the user. At most once;
//! what is lost heals by state (`signaling::healing`).

pub mod memory;
pub mod redis;

#[cfg(test)]
pub mod contract;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::call::{Call, NodeId, SessionId, Timestamp, UserId};

#[derive(Debug, Clone, thiserror::Error)]
#[error("bus did not answer: {0}")]
pub struct BusError(pub String);

/// A message to the sessions that one node holds. Unknown kinds are dropped and counted, so that a newer node can
/// speak to an older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Not told after this.
    pub expires_at: Timestamp,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// The call as it stands now, for the sessions of these users.
    Call { users: Vec<UserId>, call: Box<Call> },
    /// Laravel's word about a call that was never initiated here, for all sessions of a user.
    Word { user: UserId, word: Word },
    /// The session is one too many: end it with a disconnect packet.
    Evict { user: UserId, session: SessionId },
    /// A node's question to itself whether it hears its own channel.
    SelfTest { nonce: u64 },
}

/// A verdict over HTTP about a call without a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Word {
    Cancelled { call_id: String, reason: String },
    Rejected { call_id: String, reason: String },
}

/// What a node's channel brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    Envelope(Envelope),
    /// Messages may have been lost: compare with the store.
    Gap,
    /// Something that is no envelope.
    Unreadable,
}

#[async_trait]
pub trait Bus: Send + Sync {
    /// Publishes to a node's channel and returns how many listened. 0 is not death and 1 is not delivery.
    async fn publish(&self, node: &NodeId, envelope: &Envelope) -> Result<usize, BusError>;

    /// Starts listening to a node's channel, again by itself after each loss of the connection.
    async fn listen(&self, node: &NodeId) -> Result<mpsc::Receiver<Inbound>, BusError>;
}
