//! From node to node: one channel per node, one envelope per node that holds a session of the user. At most once;
//! what is lost heals by state (`signaling::healing`).

pub mod memory;
pub mod redis;

#[cfg(test)]
pub mod contract;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::call::{Call, CallId, NodeId, SessionId, Timestamp, TokenHash, UserId};
use crate::telemetry::About;

#[derive(Debug, Clone, thiserror::Error)]
#[error("bus did not answer: {0}")]
pub struct BusError(pub String);

/// A message to the sessions that one node holds. Unknown kinds, words and foreign calls are dropped and counted, so that a newer node can
/// speak to an older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// When it was published; absent from an older node.
    #[serde(default)]
    pub sent_at: Timestamp,
    /// Not told after this.
    pub expires_at: Timestamp,
    /// The same when it is published again, because nobody seemed to have heard it: what is no call, and can't be told
    /// apart by a version, is told once. 0 from an older node.
    #[serde(default, skip_serializing_if = "is_none")]
    pub nonce: u64,
    /// The span that published it, as W3C Trace Context writes it; absent where the call is not traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// The call as it stands now, for the sessions of these users.
    Call { users: Vec<UserId>, call: Box<Call> },
    /// An end that its caller could not hear when it happened.
    Notice { user: UserId, call: Box<Call> },
    /// Sent as it is to all sessions of a user.
    #[serde(rename = "word")]
    Direct {
        user: UserId,
        #[serde(rename = "word")]
        event: DirectEvent,
    },
    /// A user that somebody subscribed to came or went.
    Presence { user: UserId, online: bool },
    /// The session is one too many: end it with a disconnect packet.
    Evict { user: UserId, session: SessionId },
    /// Laravel no longer accepts the token: sessions that came with it end.
    Revoked { user: UserId, token: TokenHash },
    /// Laravel sends the user away: every session of his ends, what is remembered of his tokens goes.
    SendAway { user: UserId },
    /// A node's question to itself whether it hears its own channel.
    SelfTest { nonce: u64 },
}

impl Envelope {
    /// The text of an envelope up to its body, for whoever adds the body himself: the script that writes a call
    /// (`lua/tell.lua`).
    pub fn head(sent_at: Timestamp, expires_at: Timestamp, nonce: u64, traceparent: Option<&str>) -> String {
        #[derive(Serialize)]
        struct Head<'t> {
            sent_at: Timestamp,
            expires_at: Timestamp,
            nonce: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            traceparent: Option<&'t str>,
        }
        let head = Head { sent_at, expires_at, nonce, traceparent };
        // Numbers and a text: nothing that can't be written.
        let mut text = serde_json::to_string(&head).unwrap_or_default();
        text.pop();
        text
    }
}

/// Reads an envelope. Nearly all carry a call: that is read as it comes, where a body of any kind is first taken apart to
/// find out which it is.
pub fn read_envelope(text: &str) -> Option<Envelope> {
    #[derive(Deserialize)]
    enum Kind {
        #[serde(rename = "call")]
        Call,
    }
    #[derive(Deserialize)]
    struct CallBody {
        #[serde(rename = "kind")]
        _kind: Kind,
        users: Vec<UserId>,
        call: Box<Call>,
    }
    #[derive(Deserialize)]
    struct CallEnvelope {
        #[serde(default)]
        sent_at: Timestamp,
        expires_at: Timestamp,
        #[serde(default)]
        nonce: u64,
        #[serde(default)]
        traceparent: Option<String>,
        body: CallBody,
    }
    if text.contains("\"body\":{\"kind\":\"call\",")
        && let Ok(CallEnvelope { sent_at, expires_at, nonce, traceparent, body }) = serde_json::from_str(text)
    {
        let body = Body::Call { users: body.users, call: body.call };
        return Some(Envelope { sent_at, expires_at, nonce, traceparent, body });
    }
    serde_json::from_str(text).ok()
}

fn is_none(nonce: &u64) -> bool {
    *nonce == 0
}

impl Body {
    pub fn about(&self) -> About {
        match self {
            Body::Call { call, .. } => About::call(&call.id),
            Body::Notice { user, call } => About { user: Some(user.clone()), ..About::call(&call.id) },
            Body::Direct { user, event } => {
                let call = match event {
                    DirectEvent::Cancelled { call_id, .. } | DirectEvent::Rejected { call_id, .. } => {
                        CallId::parse(call_id).ok()
                    }
                    DirectEvent::Message(message) => CallId::parse(&message.call_id).ok(),
                    DirectEvent::App { .. } => None,
                };
                About { call, ..About::user(user) }
            }
            Body::Evict { user, session } => About::session(user, session),
            Body::Presence { user, .. } | Body::Revoked { user, .. } | Body::SendAway { user } => About::user(user),
            Body::SelfTest { .. } => About::default(),
        }
    }
}

/// An event for all sessions of a user that is no change of a call: a command over HTTP about a call without a
/// record, a participant's message, or an event of the application's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum DirectEvent {
    Cancelled {
        call_id: String,
        reason: String,
    },
    Rejected {
        call_id: String,
        reason: String,
    },
    Message(Box<Message>),
    /// The application's own event, from Laravel.
    App {
        event: String,
        data: serde_json::Value,
    },
}

/// What a party of a call says to the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// As the call was initiated with.
    pub call_id: String,
    pub sender: UserId,
    pub data: serde_json::Value,
    /// The sender's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where the call is stored; absent from an older node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// Rises with each message of its sender; 0 from an older node.
    #[serde(default, skip_serializing_if = "is_none")]
    pub order: u64,
    /// The order of the last before it that was kept; 0 for none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub kept_before: u64,
    /// It is told again to a device that joins or returns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
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

    /// Makes the subscription anew: the node does not hear its channel though it can publish.
    async fn reconnect(&self);

    /// Starts listening to a node's channel, again by itself after each loss of the connection.
    async fn listen(&self, node: &NodeId) -> Result<mpsc::Receiver<Inbound>, BusError>;
}
