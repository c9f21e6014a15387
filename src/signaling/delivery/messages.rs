//! What the parties of a live call say to each other: to each device of the other side, in the order of the store; what is
//! kept also to who missed it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::DirectDelivery;
use crate::bus::{Body, DirectEvent, Message};
use crate::call::{Call, CallId, Device, NodeId, Role, UserId};
use crate::signaling::sessions::{MessageDelivery, Session};
use crate::store::{LastKept, NewMessage, Placed, StoreError};

/// How long a message looks for the node of a phone.
const MESSAGE_LIFE: Duration = Duration::from_secs(10);

/// A message as its sender's phone has it.
#[derive(Clone, Debug)]
pub struct MessageContent {
    pub data: Value,
    /// It is told again to a device that joins or returns.
    pub keep: bool,
    /// The sender's own name for it.
    pub id: Option<String>,
}

/// What became of a message.
pub enum HandOver {
    Handed(Box<Handed>),
    TooMany {
        wait: Duration,
    },
    /// The call is over.
    Over,
}

/// To whom a message was handed.
#[derive(Clone, Debug)]
pub struct Handed {
    pub call: Call,
    pub to: UserId,
    /// Devices of his with a session that took it here, or whose node heard it.
    pub devices: usize,
    pub order: u64,
    pub kept: bool,
    /// It was handed over before.
    pub again: bool,
}

impl DirectDelivery {
    /// Gives a message of a party its place and hands it to the other side.
    pub async fn send_in_call(
        self: &Arc<Self>,
        call: &Call,
        role: Role,
        content: MessageContent,
    ) -> Result<HandOver, StoreError> {
        let text = content.keep.then(|| content.data.to_string());
        let new = NewMessage { by: role, id: content.id.as_deref(), keep: text.as_deref() };
        let (order, kept_before, again) = match self.store.place(&call.id, new, self.node.now()).await? {
            Placed::At { order, kept_before, again } => (order, kept_before, again),
            Placed::TooMany { wait } => return Ok(HandOver::TooMany { wait }),
            Placed::Over => return Ok(HandOver::Over),
        };
        let kept = content.keep;
        let message = Message { order, kept_before, ..message_of(call, role, content) };
        let to = call.party(role.other()).user.clone();
        let devices = self.hand_to(&to, message).await?;
        Ok(HandOver::Handed(Box::new(Handed { call: call.clone(), to, devices, order, kept, again })))
    }

    /// Returns how many devices it was handed to.
    async fn hand_to(self: &Arc<Self>, to: &UserId, message: Message) -> Result<usize, StoreError> {
        let mut by_node: HashMap<NodeId, HashSet<Device>> = HashMap::new();
        for session in self.directory.sessions_of(to).await? {
            by_node.entry(session.node).or_default().insert(session.device);
        }
        let mut devices = self.take_message(to, &message);
        by_node.remove(&self.node.id);
        for (node, there) in by_node {
            let body = Body::Direct { user: to.clone(), event: DirectEvent::Message(Box::new(message.clone())) };
            if self.messenger.post(node, self.node.now() + MESSAGE_LIFE, body).await {
                devices.extend(there);
            }
        }
        Ok(devices.len())
    }

    /// Tells a message to the user's sessions here. Returns the devices that take it, or had it before.
    pub(super) fn take_message(self: &Arc<Self>, user: &UserId, message: &Message) -> HashSet<Device> {
        let mut devices = HashSet::new();
        let message = Arc::new(message.clone());
        for session in self.local.of(user) {
            match session.messages().deliver(&message, session.sender(), self.node.now()) {
                MessageDelivery::Now | MessageDelivery::Waits | MessageDelivery::Known => {}
                MessageDelivery::Missing => {
                    if let Some(call) = &message.call {
                        self.read_kept(&session, call.clone());
                    }
                }
                MessageDelivery::TooEarly => continue,
            }
            devices.insert(session.device.clone());
        }
        devices
    }

    /// Tells the sessions here what the other side said and was kept, and they have not heard.
    pub fn heal(self: &Arc<Self>, call: &Call, kept: LastKept) {
        for role in [Role::Caller, Role::Callee].into_iter().filter(|role| kept.of(role.other()) > 0) {
            for session in self.local.of(&call.party(role).user) {
                self.catch_up(&session, call, kept);
            }
        }
    }

    /// The same of one session of a party.
    pub fn catch_up(self: &Arc<Self>, session: &Arc<Session>, call: &Call, kept: LastKept) {
        let Some(role) = call.role_of(&session.user) else { return };
        if session.messages().is_to_catch_up(&call.id, kept.of(role.other())) {
            self.read_kept(session, call.id.clone());
        }
    }

    /// What comes meanwhile waits at the session.
    fn read_kept(self: &Arc<Self>, session: &Arc<Session>, id: CallId) {
        let (direct, session) = (Arc::clone(self), Arc::clone(session));
        self.node.spawn(async move {
            let kept = direct.kept_for(&session.user, &id).await.ok();
            session.messages().deliver_kept(&id, kept, session.sender(), direct.node.now());
        });
    }

    async fn kept_for(&self, user: &UserId, id: &CallId) -> Result<(u64, Vec<Message>), StoreError> {
        let Some(call) = self.store.load(id).await? else { return Ok((0, vec![])) };
        let Some(role) = call.role_of(user) else { return Ok((0, vec![])) };
        let other = role.other();
        let (last_kept, kept) = self.store.kept(&call.id, other).await?;
        let messages = kept.into_iter().filter_map(|kept| {
            let content = MessageContent { data: serde_json::from_str(&kept.text).ok()?, keep: true, id: kept.id };
            Some(Message { order: kept.order, ..message_of(&call, other, content) })
        });
        Ok((last_kept, messages.collect()))
    }
}

fn message_of(call: &Call, by: Role, content: MessageContent) -> Message {
    Message {
        call_id: call.wire_id.clone(),
        sender: call.party(by).user.clone(),
        data: content.data,
        id: content.id,
        call: Some(call.id.clone()),
        order: 0,
        kept_before: 0,
        keep: content.keep,
    }
}
