//! What is no change of a call and travels as it is: a message between the parties, a command about a call without a
//! record, the application's own events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Body, DirectEvent};
use crate::call::{CallId, NotificationKind, UserId};
use crate::signaling::cluster::Messenger;
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{CallStore, StoreError};

const EVENT_LIFE: Duration = Duration::from_secs(5);

/// Sends to users what is no change of a call.
pub struct DirectDelivery {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub local: Arc<LocalSessions>,
    pub directory: Arc<Directory>,
    pub messenger: Arc<Messenger>,
}

impl DirectDelivery {
    /// Sends an event to all sessions of a user, wherever they are; false where the user has none.
    pub async fn send(self: &Arc<Self>, user: &UserId, event: DirectEvent) -> Result<bool, StoreError> {
        let sessions = self.directory.sessions_of(user).await?;
        self.send_here(user, &event);
        let nodes: HashSet<_> = sessions.iter().map(|session| session.node.clone()).collect();
        for node in nodes.into_iter().filter(|node| *node != self.node.id) {
            let body = Body::Direct { user: user.clone(), event: event.clone() };
            self.messenger.post(node, self.node.now() + EVENT_LIFE, body).await;
        }
        Ok(!sessions.is_empty())
    }

    /// Sends an event to the user's sessions on this node.
    pub fn send_here(self: &Arc<Self>, user: &UserId, event: &DirectEvent) {
        if let DirectEvent::Message(message) = event {
            self.take_message(user, message);
            return;
        }
        for session in self.local.of(user) {
            let send = || session.sender().direct(event, self.node.now());
            if let Some((id, kind)) = ahead_of(event) {
                session.notify_ahead(&id, kind, send);
            } else {
                send();
            }
        }
    }
}

/// Of which call it says what, where the record that the call may get says the same.
fn ahead_of(event: &DirectEvent) -> Option<(CallId, NotificationKind)> {
    let (id, kind) = match event {
        DirectEvent::Cancelled { call_id, .. } => (call_id, NotificationKind::Cancelled),
        DirectEvent::Rejected { call_id, .. } => (call_id, NotificationKind::Rejected),
        DirectEvent::Message(_) | DirectEvent::App { .. } => return None,
    };
    Some((CallId::parse(id).ok()?, kind))
}
