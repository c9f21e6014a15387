//! Which store this is: the one it was, or one that lost writes. After a loss nothing is decided and no deadline judged
//! before all nodes had the time to restore what they hold.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Registration;
use super::seen::{Seen, WORDS_FIRST};
use crate::call::CallId;
use crate::signaling::call_cache::CallCache;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::store::{CallStore, Generation, StoreError};
use crate::telemetry::metrics;

/// How often a node looks whether its connection to the store was made again.
const LOOK: Duration = Duration::from_millis(100);
/// Longer than that a decision does not wait: a store that takes no writes is not restored.
const DECISIONS_WAIT: Duration = Duration::from_secs(8);
/// How often a decision looks whether this node is done with it.
const PAUSE: Duration = Duration::from_millis(10);

/// The store is another than before, or lost writes.
pub struct StoreLost {
    pub generation: Generation,
    /// The accepted calls of which this node was told, before it read anything else of that store.
    pub known: Vec<CallId>,
    /// This node has begun since the loss, and does not know whom the others wait for.
    pub began_since: bool,
}

/// What this node last saw of the store's identity.
pub struct StoreIdentity {
    pub(super) node: Arc<NodeContext>,
    pub(super) store: Arc<dyn CallStore>,
    pub(super) registration: Arc<Registration>,
    pub(super) cache: Arc<CallCache>,
    pub(super) local: Arc<LocalSessions>,
    losses: mpsc::Sender<StoreLost>,
    pub(super) seen: Mutex<Seen>,
    asking: tokio::sync::Mutex<Option<Asked>>,
}

/// The last time the store was asked which one it is.
#[derive(Clone, Copy)]
struct Asked {
    began: Duration,
    answered: bool,
}

/// Ends when calls are restored, however that ends.
pub struct Restoring(Arc<StoreIdentity>);

impl Drop for Restoring {
    fn drop(&mut self) {
        // What was said meanwhile is tried before any deadline is judged.
        self.0.rest_for(WORDS_FIRST);
        let mut seen = self.0.seen.lock();
        seen.restoring -= 1;
        self.0.decide_for_it(&seen);
    }
}

/// Ends when the others have put back, or had the time to.
pub struct Awaiting(Arc<StoreIdentity>);

impl Drop for Awaiting {
    fn drop(&mut self) {
        // From here it counts how lately the store was lost: only now nodes look for calls that they may not know.
        self.0.rest_for(Duration::ZERO);
        self.0.seen.lock().awaiting -= 1;
    }
}

impl StoreIdentity {
    /// Losses go to `losses`; each is to be restored under [`StoreIdentity::restoring`].
    pub fn new(
        node: Arc<NodeContext>,
        store: Arc<dyn CallStore>,
        registration: Arc<Registration>,
        (cache, local): (Arc<CallCache>, Arc<LocalSessions>),
        losses: mpsc::Sender<StoreLost>,
    ) -> Self {
        let (seen, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { node, store, registration, cache, local, losses, seen, asking }
    }

    /// Until it is dropped, nothing is decided: it was counted when the loss was noticed.
    pub fn restoring(self: &Arc<Self>) -> Restoring {
        Restoring(Arc::clone(self))
    }

    /// Until it is dropped, nobody here says that there is no such call, and no deadline is judged.
    pub fn awaiting(self: &Arc<Self>) -> Awaiting {
        self.seen.lock().awaiting += 1;
        Awaiting(Arc::clone(self))
    }

    /// Judges no deadline for so long.
    pub fn rest_for(&self, time: Duration) {
        let until = self.node.clock.uptime() + time;
        let quiet_until = &mut self.seen.lock().quiet_until;
        *quiet_until = until.max(*quiet_until);
    }

    /// The store lost something a moment ago.
    pub fn is_quiet(&self) -> bool {
        self.seen.lock().is_quiet(self.node.clock.uptime())
    }

    /// Whether the store was not lost again since it had this generation.
    pub fn is_still(&self, generation: &Generation) -> bool {
        self.seen.lock().generation.as_ref() == Some(generation)
    }

    /// Restoring was given up: whoever decides or looks next finds the store to be another, and all is repeated.
    pub fn is_unknown(&self) {
        self.seen.lock().generation = Some(Generation::unknown());
    }

    /// Notices a loss as soon as the store is reached again.
    pub async fn keep_looking(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            // Asked again with the next look.
            drop(self.check_connection().await);
        }
    }

    /// Whether the store has said which it is since the connection to it was made.
    pub fn knows_connection(&self) -> bool {
        let seen = self.seen.lock();
        seen.connection == self.store.connection() && !seen.is_given_up()
    }

    /// Asks which store this is, if the connection to it was made again since, or restoring was given up.
    async fn check_connection(&self) -> Result<(), StoreError> {
        if self.knows_connection() { Ok(()) } else { self.ask_once(|| self.knows_connection()).await }
    }

    /// Before a decision: waits for the store, and after a loss until every node had the time to put back what it holds.
    /// Else one that missed the last word of a call would put back what it knows, and decide on that.
    pub async fn all_restored(&self) -> Result<(), StoreError> {
        let mut first_reached = None;
        loop {
            self.store.reached().await?;
            self.check_connection().await?;
            let reached_at = *first_reached.get_or_insert_with(|| self.node.clock.elapsed());
            if self.seen.lock().is_restored() {
                return Ok(());
            }
            // Where it ends by being given up, the next question begins it anew.
            while self.seen.lock().restoring > 0 {
                if self.node.since(reached_at) > DECISIONS_WAIT {
                    return Err(StoreError::Unavailable("it is not put back yet".into()));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Whether what the store says may be the ground of a deadline: it is the one it was, or all nodes had a lease's
    /// time to put back what was lost; and what was said while it was away is tried.
    pub async fn may_judge(&self) -> bool {
        self.check_connection().await.is_ok() && self.seen.lock().may_judge(self.node.clock.uptime())
    }

    /// Asks which store this is. Another than before: writes may be lost.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.ask_once(|| false).await
    }

    /// One asks at a time. Whoever waited while another asked has its answer, also where there was none: else all who wait
    /// for a store that says nothing would ask it one after the other.
    async fn ask_once(&self, is_known: impl Fn() -> bool) -> Result<(), StoreError> {
        let came = self.node.clock.elapsed();
        let mut asked = self.asking.lock().await;
        if is_known() {
            return Ok(());
        }
        match *asked {
            Some(Asked { began, answered }) if began >= came => {
                answered.then_some(()).ok_or_else(|| StoreError::Unavailable("it did not say which store it is".into()))
            }
            Some(_) | None => {
                let began = self.node.clock.elapsed();
                let answer = self.ask_generation().await;
                *asked = Some(Asked { began, answered: answer.is_ok() });
                answer
            }
        }
    }

    async fn ask_generation(&self) -> Result<(), StoreError> {
        // Read first: a connection that breaks while it asks is asked about again.
        let connection = self.store.connection();
        let generation = self.store.generation().await?;
        let is_first = self.seen.lock().generation.is_none();
        let lost_lately = is_first && self.others_restore(&generation).await?;
        let (reconnected, lost) = {
            let mut seen = self.seen.lock();
            let reconnected = std::mem::replace(&mut seen.connection, connection) != connection;
            let before = seen.generation.replace(generation.clone());
            let lost = before.map_or(lost_lately, |before| before != generation);
            let now = self.node.clock.uptime();
            if lost {
                seen.quiet_until = now + self.node.policy.lease;
                seen.newest_then = None;
                seen.restoring += 1;
            } else if reconnected {
                seen.lets_words_first(now);
            }
            self.decide_for_it(&seen);
            (reconnected, lost)
        };
        if reconnected || lost {
            // Perhaps registrations were lost.
            self.registration.register_again();
        }
        if lost {
            metrics::store_lost();
            tracing::error!("the store is another than before or lost writes, putting back what this node holds");
            // Before anything is read: it may be from before what this node knows.
            self.registration.begin_anew();
            let known = self.known_active();
            // Nobody listens at the end of the node only.
            let _ = self.losses.send(StoreLost { generation, known, began_since: is_first }).await;
        }
        Ok(())
    }

    /// Nobody here decides for another store before all has been put back into that, whatever was decided before.
    fn decide_for_it(&self, seen: &Seen) {
        if let Some(generation) = seen.generation.as_ref().filter(|_| seen.is_restored()) {
            self.store.decide_for(generation);
        }
    }

    /// Whether the store lost something a moment ago, or can't say.
    pub async fn may_have_lost(&self) -> bool {
        self.check().await.is_err() || self.is_quiet()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::call::{NodeId, Timestamp};
    use crate::clock::Clock;
    use crate::signaling::Policy;
    use crate::store::contract::UNLIMITED;
    use crate::store::memory::MemoryStore;

    /// A node that has seen its store, and the losses that it notices.
    async fn settled() -> (Arc<StoreIdentity>, mpsc::Receiver<StoreLost>, Clock) {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let (traces, tasks, stop) = Default::default();
        let (id, policy) = (NodeId::parse("n1").unwrap(), Policy::for_tests());
        let node = Arc::new(NodeContext { id, clock: clock.clone(), policy, traces, tasks, stop });
        let store = Arc::new(MemoryStore::new(clock.clone(), UNLIMITED));
        let registration = Arc::new(Registration::new(Arc::clone(&node)));
        let (lost, losses) = mpsc::channel(16);
        let identity = Arc::new(StoreIdentity::new(node, store, registration, Default::default(), lost));
        identity.check().await.unwrap();
        assert!(identity.may_judge().await, "nothing was lost");
        (identity, losses, clock)
    }

    /// What was given up left a copy behind that nobody has put back, and everybody decided on it until the next renewal.
    #[tokio::test]
    async fn nothing_is_decided_on_what_was_given_up() {
        let (identity, mut losses, clock) = settled().await;
        identity.is_unknown();
        assert!(identity.is_quiet(), "also before anybody asks");
        let decided = identity.all_restored();
        tokio::pin!(decided);
        assert!(decided.as_mut().now_or_never().is_none(), "it asks, and waits for what is put back");
        assert_eq!(losses.try_recv().unwrap().generation.name(), "memory");

        // Given up again while somebody waits.
        identity.is_unknown();
        drop(identity.restoring());
        clock.advance(WORDS_FIRST * 2);
        let again = async {
            losses.recv().await.unwrap();
            assert!(!identity.may_judge().await, "it is being put back");
            drop(identity.restoring());
        };
        let (decided, ()) = tokio::join!(decided, again);
        decided.unwrap();
    }

    /// Nor is a deadline judged: who looks for those that are due finds the loss.
    #[tokio::test]
    async fn no_deadline_is_judged_on_what_was_given_up() {
        let (identity, mut losses, clock) = settled().await;
        identity.is_unknown();
        clock.advance(WORDS_FIRST * 2);
        assert!(!identity.may_judge().await);
        losses.try_recv().unwrap();
        drop(identity.restoring());
        clock.advance(Policy::for_tests().lease);
        assert!(identity.may_judge().await, "all was put back");
    }
}
