//! What phones say.

use std::sync::Arc;

use crate::call::{Actor, Call, CallId, Command, Refusal, UserId};
use crate::signaling::backend::Rejections;
use crate::signaling::calls::{Failure, Initiate};
use crate::signaling::connections::Connections;
use crate::signaling::delivery::{Handed, MessageContent};
use crate::signaling::node::NodeContext;
use crate::signaling::presence::{Presence, SubscribeError};
use crate::signaling::sessions::Session;
use crate::signaling::use_cases::{Dialing, Initiated, PhoneCommands};
use crate::telemetry::call_log;
use crate::telemetry::metrics::Departure;

/// What phones say.
pub struct Phones {
    pub(in crate::signaling) node: Arc<NodeContext>,
    pub(in crate::signaling) connections: Arc<Connections>,
    pub(in crate::signaling) dialing: Arc<Dialing>,
    pub(in crate::signaling) commands: Arc<PhoneCommands>,
    pub(in crate::signaling) rejections: Arc<Rejections>,
    pub(in crate::signaling) presence: Arc<Presence>,
}

impl Phones {
    /// Makes a socket that was authenticated part of the cluster and tells what it missed.
    pub async fn connect(&self, session: &Arc<Session>) {
        call_log::came_or_went(&session.user, true);
        let (connections, session) = (Arc::clone(&self.connections), Arc::clone(session));
        self.node.to_its_end(async move { connections.connect(&session).await }).await;
    }

    /// A socket is gone: removes this session and no other, and starts the grace of a party that has none left.
    pub async fn disconnect(&self, session: &Arc<Session>, found: Departure) {
        call_log::came_or_went(&session.user, false);
        let (connections, session) = (Arc::clone(&self.connections), Arc::clone(session));
        self.node.to_its_end(async move { connections.disconnect(&session, found).await }).await;
    }

    /// Rings the receiver. Answers after `call:incoming` went out to every node that holds him.
    pub async fn initiate(&self, by: &Actor, request: Initiate) -> Result<Initiated, Failure> {
        let (dialing, connections, by) = (Arc::clone(&self.dialing), Arc::clone(&self.connections), by.clone());
        let dial = async move {
            let dialled = dialing.initiate(&by, request).await;
            if dialled.is_ok() {
                connections.said(&by).await;
            }
            dialled
        };
        self.node.to_its_end(dial).await
    }

    /// What follows the answer to an initiate: an outcome that was waiting, or an accept that had overtaken the answer.
    pub async fn after_initiate(&self, session: &Arc<Session>, id: &CallId, answer: &Initiated, overtaken: bool) {
        let (dialing, session, id, answer) =
            (Arc::clone(&self.dialing), Arc::clone(session), id.clone(), answer.clone());
        self.node.to_its_end(async move { dialing.after_initiate(&session, &id, &answer, overtaken).await }).await;
    }

    /// A device of the callee shows that it rings.
    pub async fn alert(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        self.node.to_its_end(async move { commands.alert(by, &id).await }).await
    }

    pub async fn accept(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        self.node.to_its_end(async move { commands.accept(by, &id).await }).await
    }

    pub async fn reject(&self, by: Actor, id: &CallId, reason: Option<String>) -> Result<Call, Failure> {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        self.node.to_its_end(async move { commands.reject(by, &id, reason).await }).await
    }

    pub async fn cancel(&self, by: Actor, id: &CallId, reason: Option<String>) -> Result<Call, Failure> {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        self.node.to_its_end(async move { commands.cancel(by, &id, reason).await }).await
    }

    pub async fn end(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        self.node.to_its_end(async move { commands.end(by, &id).await }).await
    }

    /// A party of an accepted call asks for video, answers that, or goes back to audio.
    pub async fn switch_type(&self, id: &CallId, command: Command) -> Result<Call, Failure> {
        let (commands, id) = (Arc::clone(&self.commands), id.clone());
        self.node.to_its_end(async move { commands.switch_type(&id, &command).await }).await
    }

    /// Hands a participant's message to the other side of a live call.
    pub async fn message(&self, by: &Actor, id: &CallId, content: MessageContent) -> Result<Handed, Failure> {
        let (commands, by, id) = (Arc::clone(&self.commands), by.clone(), id.clone());
        self.node.to_its_end(async move { commands.message(&by, &id, content).await }).await
    }

    /// Subscribes a session to users and answers who is online.
    pub async fn subscribe(
        &self,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let (presence, session, users) = (Arc::clone(&self.presence), Arc::clone(session), users.to_vec());
        self.node.to_its_end(async move { presence.subscribe(&session, &users).await }).await
    }

    pub async fn unsubscribe(
        &self,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let (presence, session, users) = (Arc::clone(&self.presence), Arc::clone(session), users.to_vec());
        self.node.to_its_end(async move { presence.unsubscribe(&session, &users).await }).await
    }

    /// What the sender's own session hears about a command that was refused.
    pub fn answer_refused(&self, session: &Arc<Session>, refusal: Refusal, call: &Call) {
        self.commands.answer_refused(session, refusal, call);
    }

    /// A call was rejected that nobody initiated here.
    pub fn reject_unknown(&self, session: &Arc<Session>, id: &CallId, wire_id: &str, reason: Option<String>) {
        self.rejections.reject_unknown(session, id, wire_id, reason);
    }

    /// Whether the user is party to this call and it is live; when the store can't tell, it is.
    pub async fn is_own_live_call(&self, user: &UserId, id: &CallId) -> bool {
        self.commands.is_own_live_call(user, id).await
    }
}
