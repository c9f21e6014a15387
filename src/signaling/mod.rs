//! The use cases: what a phone's event, Laravel's word, a deadline or a dead node means for calls and sessions.
//! Knows the traits of store and bus, neither Redis nor sockets.

mod announce;
mod backend;
mod calls;
mod claim;
mod cluster;
mod connecting;
mod deadlines;
mod delivery;
mod directory;
mod door;
mod drain;
mod epochs;
mod eviction;
mod healing;
mod inbox;
mod initiate;
mod lease;
mod ledger;
mod loss;
mod node;
mod outgoing;
mod people;
mod policy;
mod presence;
mod retry;
mod sessions;
mod settle;
mod sweep;
mod timeline;
mod transition;
mod verdicts;
mod vouch;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::bus::Word;
pub use crate::store::Page;
pub use backend::{BackendWord, Told, WordOutcome};
pub use cluster::Waiting;
pub use door::Signaling;
pub use initiate::{Initiate, Initiated};
pub use ledger::Ledger;
pub use policy::Policy;
pub use presence::{SubscribeError, WATCHED_PER_SESSION};
pub use sessions::{Newcomer, Ready, ReadyCall, Session, Spoken, Voice};
pub use transition::Failure;

use crate::bus::{Bus, BusError, Inbound};
use crate::call::NodeId;
use crate::clock::Clock;
use crate::store::{Bell, CallStore, Outbox, SessionStore, StoreError};
pub use crate::store::{DeadLetter, Replayed, Which};
use crate::telemetry::trace::Traces;
use calls::{CallCache, OutboxMessages};
use cluster::{Isolation, Members, Messenger, OwnLease, Place, Registration, Routes, SelfTest, StallDetector};
use directory::Directory;
use ledger::Questions;
use loss::Trust;
use node::NodeContext;
use people::SentAway;
use presence::Watchers;
use retry::RetryQueue;
use sessions::LocalSessions;
use timeline::Timeline;

/// One node's part of the cluster. What the edges may ask of it is [`Signaling`].
struct Node {
    node: Arc<NodeContext>,
    store: Arc<dyn CallStore>,
    sessions: Arc<dyn SessionStore>,
    bus: Arc<dyn Bus>,
    outbox: Arc<dyn Outbox>,
    local: Arc<LocalSessions>,
    cache: Arc<CallCache>,
    messages: Arc<OutboxMessages>,
    timeline: Arc<Timeline>,
    members: Arc<Members>,
    registration: Arc<Registration>,
    lease: Arc<OwnLease>,
    routes: Routes,
    stall: Arc<StallDetector>,
    self_test: Arc<SelfTest>,
    isolation: Isolation,
    messenger: Arc<Messenger>,
    directory: Arc<Directory>,
    subscriptions: Watchers,
    retries: RetryQueue,
    trust: Trust,
    sent_away: SentAway,
    ledger: Option<Arc<dyn Ledger>>,
    questions: Questions,
}

/// What [`Signaling::start`] is built from.
pub struct Parts {
    pub node: NodeId,
    pub address: String,
    /// Where this node says whether it is ready.
    pub probe: String,
    pub clock: Clock,
    pub policy: Policy,
    pub calls: Arc<dyn CallStore>,
    pub sessions: Arc<dyn SessionStore>,
    pub bus: Arc<dyn Bus>,
    pub outbox: Arc<dyn Outbox>,
    /// Rung when letters were written to the outbox.
    pub bell: Bell,
    /// An unmodified backend that can be asked about calls.
    pub ledger: Option<Arc<dyn Ledger>>,
    pub traces: Traces,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// The node could not join the cluster yet.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("taking the node's lease failed")]
    Lease(#[from] StoreError),
    #[error("listening to the node's channel failed")]
    Bus(#[from] BusError),
}

impl Node {
    /// Takes a lease, listens to the node's channel and starts the loops; waits for a store that is away or refuses. The
    /// loops end with the parts' `stop`; the death of one before that is an error that stops the node.
    async fn start(parts: Parts) -> Arc<Self> {
        let Parts { node, address, probe, clock, policy, calls: store, sessions, bus, outbox, bell, ledger, .. } =
            parts;
        let Parts { traces, tasks, stop, .. } = parts;
        let node = Arc::new(NodeContext { id: node, clock, policy, traces, tasks, stop });
        let local = Arc::new(LocalSessions::default());
        let timeline = Arc::new(Timeline::new(Arc::clone(&node), Arc::clone(&store)));
        let members = Arc::new(Members::new(Arc::clone(&node)));
        let place = Place { address, probe };
        let lease = Arc::new(OwnLease::new(
            Arc::clone(&node),
            Arc::clone(&sessions),
            Arc::clone(&members),
            Arc::clone(&local),
            place,
        ));
        let stall = Arc::new(StallDetector::new(node.clock.elapsed()));
        let self_test = Arc::new(SelfTest::new(Arc::clone(&node), Arc::clone(&bus)));
        let signaling = Arc::new(Self {
            cache: Arc::default(),
            messages: Arc::new(OutboxMessages::new(Arc::clone(&node), bell)),
            registration: Arc::new(Registration::new(Arc::clone(&node))),
            routes: Routes::new(Arc::clone(&members), Arc::clone(&lease)),
            isolation: Isolation {
                node: Arc::clone(&node),
                lease: Arc::clone(&lease),
                self_test: Arc::clone(&self_test),
                stall: Arc::clone(&stall),
            },
            messenger: Arc::new(Messenger {
                node: Arc::clone(&node),
                bus: Arc::clone(&bus),
                members: Arc::clone(&members),
                timeline: Arc::clone(&timeline),
            }),
            directory: Arc::new(Directory {
                node: Arc::clone(&node),
                store: Arc::clone(&sessions),
                local: Arc::clone(&local),
                members: Arc::clone(&members),
            }),
            subscriptions: Watchers::default(),
            retries: RetryQueue::default(),
            trust: Trust::default(),
            sent_away: SentAway::default(),
            questions: Questions::default(),
            node,
            store,
            sessions,
            bus,
            outbox,
            local,
            timeline,
            members,
            lease,
            stall,
            self_test,
            ledger,
        });
        let mut waiting = Waiting::new(&signaling.node.clock);
        let inbox = loop {
            match signaling.join_cluster().await {
                Ok(inbox) => break inbox,
                Err(error) => waiting.after(&error).await,
            }
        };
        waiting.over();
        signaling.node.run("inbox", Arc::clone(&signaling).read_inbox(inbox));
        signaling.node.run("lease", Arc::clone(&signaling).keep_lease());
        signaling.node.run("sweep", Arc::clone(&signaling).sweep_dead_nodes());
        signaling.node.run("timers", Arc::clone(&signaling).fire_timers());
        signaling.node.run("deadlines", Arc::clone(&signaling).claim_deadlines());
        signaling.node.run("healing", Arc::clone(&signaling).heal());
        signaling.node.run("self-test", Arc::clone(&signaling.self_test).keep_asking());
        signaling.node.run("losses", Arc::clone(&signaling).notice_losses());
        let (stall, clock) = (Arc::clone(&signaling.stall), signaling.node.clock.clone());
        signaling.node.run("pulse", async move { stall.keep_beating(clock).await });
        signaling.node.run("timelines", Arc::clone(&signaling.timeline).keep_writing());
        signaling.node.run("retries", Arc::clone(&signaling).retry_words());
        signaling
    }

    async fn join_cluster(self: &Arc<Self>) -> Result<mpsc::Receiver<Inbound>, JoinError> {
        self.renew_lease().await?;
        Ok(self.bus.listen(&self.node.id).await?)
    }

    /// Users with a session and live calls, of the whole cluster.
    async fn counts(&self) -> Result<(u64, u64), StoreError> {
        let (users, calls) = tokio::join!(self.sessions.online_count(), self.store.live_calls());
        Ok((users?, calls?))
    }

    /// Sessions on this node.
    fn local_sessions(&self) -> usize {
        self.local.len()
    }
}
