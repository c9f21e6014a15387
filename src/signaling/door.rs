//! The door of this node. Whatever changes something runs in a task of the node: who asked waits for the result and may
//! vanish meanwhile, as an HTTP client does that loses patience. There is no other way in.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::backend::{BackendWord, WordOutcome};
use super::{DeadLetter, Failure, Initiate, Initiated, Node, Page, Parts, Session, SubscribeError, Which};
use crate::call::{Actor, Call, CallId, Command, Milestone, NodeId, Refusal, Statistics, TokenHash, UserId};
use crate::clock::Clock;
use crate::store::{Replayed, StoreError};
use crate::telemetry::metrics::Departure;
use crate::telemetry::tale;
use crate::telemetry::trace::Traces;

/// What the edges may ask of this node. Cheap to share.
pub struct Signaling {
    node: Arc<Node>,
}

impl Signaling {
    /// Takes a lease, listens to the node's channel and starts the loops; waits for a store that is away or refuses. The
    /// loops end with the parts' `stop`; the death of one before that is an error that stops the node.
    pub async fn start(parts: Parts) -> Arc<Self> {
        Arc::new(Self { node: Node::start(parts).await })
    }

    /// Runs work to its end in a task of the node, whatever becomes of whoever waits for it here.
    async fn to_its_end<F>(&self, work: impl FnOnce(Arc<Node>) -> F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.node.node.to_its_end(work(Arc::clone(&self.node))).await
    }
}

/// What phones say.
impl Signaling {
    /// Makes a socket that was authenticated part of the cluster and tells what it missed.
    pub async fn connect(&self, session: &Arc<Session>) {
        tale::came_or_went(&session.user, true);
        let session = Arc::clone(session);
        self.to_its_end(async move |node| node.connect(&session).await).await;
    }

    /// A socket is gone: removes this session and no other, and starts the grace of a party that has none left.
    pub async fn disconnect(&self, session: &Arc<Session>, found: Departure) {
        tale::came_or_went(&session.user, false);
        let session = Arc::clone(session);
        self.to_its_end(async move |node| node.disconnect(&session, found).await).await;
    }

    /// Rings the receiver. Answers after `call:incoming` went out to every node that holds him.
    pub async fn initiate(&self, by: &Actor, request: Initiate) -> Result<Initiated, Failure> {
        let by = by.clone();
        self.to_its_end(async move |node| node.initiate(&by, request).await).await
    }

    /// What follows the answer to an initiate: an outcome that was waiting, or an accept that overtook the answer.
    pub async fn after_initiate(&self, session: &Arc<Session>, id: &CallId, answer: &Initiated) {
        let (session, id, answer) = (Arc::clone(session), id.clone(), answer.clone());
        self.to_its_end(async move |node| node.after_initiate(&session, &id, &answer).await).await;
    }

    /// A device of the callee shows that it rings.
    pub async fn alert(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        let id = id.clone();
        self.to_its_end(async move |node| node.alert(by, &id).await).await
    }

    pub async fn accept(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        let id = id.clone();
        self.to_its_end(async move |node| node.accept(by, &id).await).await
    }

    pub async fn reject(&self, by: Actor, id: &CallId, reason: Option<String>) -> Result<Call, Failure> {
        let id = id.clone();
        self.to_its_end(async move |node| node.reject(by, &id, reason).await).await
    }

    pub async fn cancel(&self, by: Actor, id: &CallId, reason: Option<String>) -> Result<Call, Failure> {
        let id = id.clone();
        self.to_its_end(async move |node| node.cancel(by, &id, reason).await).await
    }

    pub async fn end(&self, by: Actor, id: &CallId) -> Result<Call, Failure> {
        let id = id.clone();
        self.to_its_end(async move |node| node.end(by, &id).await).await
    }

    /// A party of an accepted call asks for video, answers that, or goes back to audio.
    pub async fn switch_type(&self, id: &CallId, command: Command) -> Result<Call, Failure> {
        let id = id.clone();
        self.to_its_end(async move |node| node.transition(&id, &command).await).await
    }

    /// Relays a participant's message to the other side of a live call.
    pub async fn message(&self, by: &Actor, id: &CallId, data: Value) -> Result<Call, Failure> {
        let (by, id) = (by.clone(), id.clone());
        self.to_its_end(async move |node| node.message(&by, &id, data).await).await
    }

    /// Watches users for a session and answers who is online.
    pub async fn subscribe(
        &self,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let (session, users) = (Arc::clone(session), users.to_vec());
        self.to_its_end(async move |node| node.subscribe(&session, &users).await).await
    }

    pub async fn unsubscribe(
        &self,
        session: &Arc<Session>,
        users: &[UserId],
    ) -> Result<Vec<(UserId, bool)>, SubscribeError> {
        let (session, users) = (Arc::clone(session), users.to_vec());
        self.to_its_end(async move |node| node.unsubscribe(&session, &users).await).await
    }

    /// What the sender's own session hears about a verdict that was refused.
    pub fn answer_refused(&self, session: &Arc<Session>, refusal: Refusal, call: &Call) {
        self.node.answer_refused(session, refusal, call);
    }

    /// A call was rejected that nobody initiated here.
    pub fn reject_unknown(&self, session: &Arc<Session>, id: &CallId, spelled: &str, reason: Option<String>) {
        self.node.reject_unknown(session, id, spelled, reason);
    }
}

/// What Laravel says.
impl Signaling {
    /// Laravel rings the receiver in the caller's name, at once.
    pub async fn word_initiated(&self, caller: &UserId, request: Initiate) -> Result<Initiated, Failure> {
        let caller = caller.clone();
        self.to_its_end(async move |node| node.word_initiated(&caller, request).await).await
    }

    /// What became of a call over REST. While the store fails or stands still it waits and is obeyed later, and this is
    /// answered within a second or so.
    pub async fn word(&self, id: &CallId, word: BackendWord) -> WordOutcome {
        let id = id.clone();
        let (tell, told) = oneshot::channel();
        let obeyed = self.to_its_end(async move |node| node.word(&id, word, tell).await);
        // Its task has more to do when it has told.
        let obeyed = async {
            obeyed.await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            Ok(told) = told => told,
            never = obeyed => never,
        }
    }

    /// Says an event of the application's own to every session of a user; false where he has none.
    pub async fn say_to_user(&self, user: &UserId, event: String, data: Value) -> Result<bool, Failure> {
        let user = user.clone();
        self.to_its_end(async move |node| node.say_to_user(&user, event, data).await).await
    }

    /// Ends every session of a user, wherever it is, with a disconnect packet. Returns how many there were.
    pub async fn send_away(&self, user: &UserId, reason: &str) -> Result<usize, Failure> {
        let (user, reason) = (user.clone(), reason.to_owned());
        self.to_its_end(async move |node| node.send_away(&user, &reason).await).await
    }

    /// Ends every session that came with a token which is no longer accepted, wherever it is.
    pub async fn revoke(&self, user: &UserId, token: TokenHash) {
        let user = user.clone();
        self.to_its_end(async move |node| node.revoke(&user, token).await).await;
    }
}

/// What operators say.
impl Signaling {
    /// Has dead letters sent again, some at most.
    pub async fn replay_letters(&self, which: &Which) -> Result<Replayed, StoreError> {
        let which = which.clone();
        self.to_its_end(async move |node| node.replay_letters(&which).await).await
    }

    /// Takes back that a receiver wants nothing more.
    pub async fn webhooks_on(&self) -> Result<(), StoreError> {
        self.to_its_end(async move |node| node.webhooks_on().await).await
    }

    /// Closes the transports of this node's sessions evenly over `window`.
    pub async fn drain(&self, window: Duration) {
        self.to_its_end(async move |node| node.drain(window).await).await;
    }

    /// Waits until no word waits for the store any more, for so long at most.
    pub async fn finish_words(&self, patience: Duration) {
        self.to_its_end(async move |node| node.finish_words(patience).await).await;
    }

    /// Takes leave of every session and of the lease: a stopping node leaves nothing for others to sweep.
    pub async fn leave(&self) {
        self.to_its_end(async move |node| node.leave().await).await;
    }
}

/// Questions: nothing is changed by them, so that they may end with whoever asked.
impl Signaling {
    pub fn clock(&self) -> &Clock {
        &self.node.node.clock
    }

    pub fn traces(&self) -> &Traces {
        &self.node.node.traces
    }

    pub fn node(&self) -> &NodeId {
        &self.node.node.id
    }

    /// Whether the user is party to this call and it is live; when the store can't tell, it is.
    pub async fn is_own_live_call(&self, user: &UserId, id: &CallId) -> bool {
        self.node.is_own_live_call(user, id).await
    }

    /// A call as it is stored, with its history in order of time.
    pub async fn history(&self, id: &CallId) -> Result<(Call, Vec<Milestone>), Failure> {
        let id = id.clone();
        // Milestones that wait are written first.
        self.to_its_end(async move |node| node.timeline.history(&id).await?.ok_or(Failure::NotFound)).await
    }

    /// What calls were like that ended in these minutes since 1970.
    pub async fn statistics(&self, minutes: RangeInclusive<u64>) -> Result<Statistics, StoreError> {
        let counts = self.node.store.counts(minutes).await?;
        Ok(Statistics::of(counts.iter().map(|(counter, count)| (counter.as_str(), *count))))
    }

    /// Who of these has a session, in order.
    pub async fn who_is_online(&self, users: &[UserId]) -> Result<Vec<(UserId, bool)>, StoreError> {
        self.node.directory.who_is_online(users).await
    }

    /// The id of the user's newest session, opaque to its reader.
    pub async fn session_id(&self, user: &UserId) -> Result<Option<String>, StoreError> {
        self.node.directory.session_id(user).await
    }

    /// Every user with a session, in order of id.
    pub async fn connected_users(&self) -> Result<Vec<UserId>, StoreError> {
        self.node.directory.connected_users().await
    }

    /// Users with a session, page by page, with their number in all.
    pub async fn connected_page(
        &self,
        after: Option<&Page>,
        limit: usize,
    ) -> Result<(u64, Vec<UserId>, Option<Page>), StoreError> {
        self.node.directory.connected_page(after, limit).await
    }

    /// Users with a session and live calls, of the whole cluster.
    pub async fn counts(&self) -> Result<(u64, u64), StoreError> {
        self.node.counts().await
    }

    /// The newest letters that were given up.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.node.dead_letters(limit).await
    }

    /// Sessions on this node.
    pub fn local_sessions(&self) -> usize {
        self.node.local_sessions()
    }

    /// The tokens of the sessions on this node.
    pub fn live_tokens(&self) -> Vec<TokenHash> {
        self.node.live_tokens()
    }

    /// The users whom other nodes sent away, for who remembers tokens; once.
    pub fn users_sent_away(&self) -> Option<mpsc::Receiver<UserId>> {
        self.node.users_sent_away()
    }

    /// Whether the store takes this node's writes and the node hears its own channel.
    pub fn is_well(&self) -> bool {
        self.node.isolation.is_well()
    }

    /// How long the store has not renewed this node's lease, by a clock that counts suspension.
    pub fn without_store_for(&self) -> Duration {
        self.node.lease.without_store_for()
    }

    /// How long the node has tried in vain to have its lease renewed.
    pub fn tried_in_vain_for(&self) -> Duration {
        self.node.isolation.tried_in_vain_for()
    }

    /// How long it has not been proved that the node is well.
    pub fn unproven_for(&self) -> Duration {
        self.node.isolation.unproven_for()
    }

    /// Within how long another node must have proved to be well, to be better off than this one; absent while this one is.
    pub fn better_off_within(&self) -> Option<Duration> {
        self.node.isolation.better_off_within()
    }

    /// Has the lease renewed once more, and says whether it is fresh then.
    pub async fn renew_once_more(&self) -> bool {
        self.node.lease.renew_once_more().await
    }

    /// Where the other nodes known last say whether they are ready.
    pub fn probes_of_others(&self) -> Vec<String> {
        self.node.members.probes_of_others()
    }

    /// What this node's session ids say of it.
    pub fn own_tag(&self) -> String {
        self.node.members.own_tag()
    }

    /// How to reach the node that a session id names.
    pub async fn address_of(&self, tag: &str) -> Option<String> {
        self.node.routes.address_of(tag).await
    }

    /// Runs a loop of the node until the stop; if it ends before, by a panic too, the whole node stops.
    pub fn run(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.node.node.run(name, work);
    }

    /// Runs a loop that ends by itself soon after the stop.
    pub fn run_out<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.node.node.run_out(name, work);
    }
}
