//! The use cases: what a phone's event, Laravel's word, a deadline or a dead node means for calls and sessions.
//! Knows the traits of store and bus, neither Redis nor sockets.

mod backend;
mod calls;
mod claim;
mod deadlines;
mod delivery;
mod door;
mod drain;
mod epochs;
mod eviction;
mod floor;
mod healing;
mod inbox;
mod isolation;
mod lease;
mod ledger;
mod loss;
mod nodes;
mod outgoing;
mod people;
mod presence;
mod pulse;
mod retry;
mod selftest;
mod sessions;
mod settle;
mod sweep;
mod timeline;
mod transition;
mod verdicts;
mod voice;
mod vouch;
mod waiting;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::bus::Word;
pub use crate::store::Page;
pub use backend::{BackendWord, Told, WordOutcome};
pub use calls::{Initiate, Initiated};
pub use door::Signaling;
pub use floor::{Newcomer, Session};
pub use ledger::Ledger;
pub use presence::{SubscribeError, WATCHED_PER_SESSION};
pub use sessions::{Ready, ReadyCall};
pub use transition::Failure;
pub use voice::{Spoken, Voice};
pub use waiting::Waiting;

use crate::bus::{Bus, BusError, Inbound};
use crate::call::{NodeId, Terms};
use crate::clock::Clock;
use crate::store::{Bell, CallStore, Outbox, SessionStore, StoreError};
pub use crate::store::{DeadLetter, Replayed, Which};
use crate::telemetry::carry;
use crate::telemetry::trace::Traces;
use floor::Floor;
use ledger::Questions;
use loss::Trust;
use nodes::Nodes;
use people::SentAway;
use presence::Watchers;
use pulse::Pulse;
use retry::RetryQueue;
use selftest::SelfTest;
use timeline::Notes;
use watch::Watch;

/// The times and bounds that decide what happens when; all from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub ring_timeout: Duration,
    pub caller_grace: Duration,
    pub caller_grace_without_acks: Duration,
    pub call_grace: Duration,
    pub call_max: Duration,
    /// Both parties away for so long, neither with `acks`: the call is called lost.
    pub lost_call: Duration,
    pub max_sessions_per_device: usize,
    /// Over all his devices and all nodes.
    pub max_sessions_per_user: usize,
    /// How long after an accept the deployed app can't hear `call:ended`.
    pub accept_hold: Duration,
    /// When an accept is told once more to a session without `acks`.
    pub accept_repeat: Duration,
    pub lease: Duration,
    pub lease_renewal: Duration,
    /// A decision older than this is not spoken: the call is read again.
    pub late_decision: Duration,
    pub heal_ringing: Duration,
    pub heal_active: Duration,
    /// Milestones of calls are told to the backend by webhook.
    pub webhooks: bool,
    /// So is who comes and goes, as far as it can be.
    pub presence_webhooks: bool,
    /// An unmodified backend is told over its own REST API.
    pub callbacks: bool,
}

impl Policy {
    fn terms(&self, caller_acks: bool) -> Terms {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let caller_grace = if caller_acks { self.caller_grace } else { self.caller_grace_without_acks };
        Terms {
            caller_grace: millis(caller_grace),
            call_grace: millis(self.call_grace),
            max: millis(self.call_max),
            accept_hold: millis(self.accept_hold),
            lost: millis(self.lost_call),
        }
    }
}

/// One node's part of the cluster. What the edges may ask of it is [`Signaling`].
struct Node {
    clock: Clock,
    policy: Policy,
    calls: Arc<dyn CallStore>,
    sessions: Arc<dyn SessionStore>,
    bus: Arc<dyn Bus>,
    floor: Floor,
    watch: Watch,
    watchers: Watchers,
    nodes: Nodes,
    retries: RetryQueue,
    trust: Trust,
    self_test: SelfTest,
    pulse: Pulse,
    notes: Notes,
    sent_away: SentAway,
    outbox: Arc<dyn Outbox>,
    bell: Bell,
    ledger: Option<Arc<dyn Ledger>>,
    questions: Questions,
    traces: Traces,
    tasks: TaskTracker,
    stop: CancellationToken,
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
        let Parts { node, address, probe, clock, policy, calls, sessions, bus, outbox, bell, ledger, .. } = parts;
        let Parts { traces, tasks, stop, .. } = parts;
        let signaling = Arc::new(Self {
            nodes: Nodes::new(node, address, probe, policy.lease, &clock),
            floor: Floor::default(),
            watch: Watch::default(),
            watchers: Watchers::default(),
            retries: RetryQueue::default(),
            trust: Trust::default(),
            self_test: SelfTest::new(clock.elapsed()),
            pulse: Pulse::new(clock.elapsed()),
            notes: Notes::default(),
            sent_away: SentAway::default(),
            outbox,
            bell,
            ledger,
            questions: Questions::default(),
            traces,
            clock,
            policy,
            calls,
            sessions,
            bus,
            tasks,
            stop,
        });
        let mut waiting = Waiting::new(&signaling.clock);
        let inbox = loop {
            match signaling.join_cluster().await {
                Ok(inbox) => break inbox,
                Err(error) => waiting.after(&error).await,
            }
        };
        waiting.over();
        signaling.run("inbox", Arc::clone(&signaling).read_inbox(inbox));
        signaling.run("lease", Arc::clone(&signaling).keep_lease());
        signaling.run("sweep", Arc::clone(&signaling).sweep_dead_nodes());
        signaling.run("timers", Arc::clone(&signaling).fire_timers());
        signaling.run("deadlines", Arc::clone(&signaling).claim_deadlines());
        signaling.run("healing", Arc::clone(&signaling).heal());
        signaling.run("self-test", Arc::clone(&signaling).test_bus());
        signaling.run("losses", Arc::clone(&signaling).notice_losses());
        signaling.run("pulse", Arc::clone(&signaling).keep_pulse());
        signaling.run("timelines", Arc::clone(&signaling).write_notes());
        signaling.run("retries", Arc::clone(&signaling).retry_words());
        signaling
    }

    async fn join_cluster(self: &Arc<Self>) -> Result<mpsc::Receiver<Inbound>, JoinError> {
        self.renew_lease().await?;
        Ok(self.bus.listen(&self.nodes.own).await?)
    }

    fn node(&self) -> &NodeId {
        &self.nodes.own
    }

    /// Runs a loop of the node until the stop; if it ends before, by a panic too, the whole node stops.
    fn run(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.run_out(name, |stop| async move {
            let _ = stop.run_until_cancelled_owned(work).await;
        });
    }

    /// Runs a loop that ends by itself soon after the stop.
    fn run_out<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let worker = self.tasks.spawn(work(stop.clone()));
        self.tasks.spawn(async move {
            let ended = worker.await;
            if !stop.is_cancelled() {
                tracing::error!(worker = name, panicked = ended.is_err(), "a loop of the node died, stopping the node");
                stop.cancel();
            }
        });
    }

    /// Runs a short task to its end or to the stop; it is about what started it.
    fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(carry(work)));
    }

    /// Users with a session and live calls, of the whole cluster.
    async fn counts(&self) -> Result<(u64, u64), StoreError> {
        let (users, calls) = tokio::join!(self.sessions.online_count(), self.calls.live_calls());
        Ok((users?, calls?))
    }

    /// Sessions on this node.
    fn local_sessions(&self) -> usize {
        self.floor.len()
    }
}
