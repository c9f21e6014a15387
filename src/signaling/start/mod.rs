//! Builds the rooms of a node, from the ground up, and starts its loops.

mod ground;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Policy;
use super::backend::{BackendCallTable, Inquiries, Questions, Rejections};
use super::calls::{Calls, NewCalls, OutboxMessages};
use super::cluster::{Isolation, Place, Routes, Waiting};
use super::commands::Commands;
use super::connections::{Absences, Connections, Dismissals, Leaving, Registering, Registrar, Replay, SentAway};
use super::deadlines::{Judge, PresenceAtDeadline, Timers};
use super::delivery::{Delivery, DirectDelivery, Notices};
use super::inbox::{CallNews, Inbox};
use super::interface::{Backend, Cluster, Inspection, Operators, Phones, Signaling};
use super::node::NodeContext;
use super::presence::{Presence, PresenceWebhooks};
use super::recovery::{Conflicts, Healing, Losses, Restoring, Vouching};
use super::upkeep::{DeadNodes, LeaseTask, OwnPast};
use super::use_cases::{
    BackendCommands, BackendOutcomes, Claims, DialGuard, Dialing, PhoneCommands, RetryQueue, Retrying,
};
use crate::bus::{Bus, BusError, Inbound};
use crate::call::NodeId;
use crate::clock::Clock;
use crate::store::{CallStore, Outbox, SessionStore, StoreError, WakeUp};
use crate::telemetry::trace::Traces;
use ground::Ground;

/// Calls restored without their lines that wait to be taken up.
const WITHOUT_LINE: usize = 1024;

/// What [`start`] builds a node from.
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
    /// Wakes the dispatchers when messages were written to the outbox.
    pub wake_up: WakeUp,
    /// An unmodified backend that can be asked about calls.
    pub call_table: Option<Arc<dyn BackendCallTable>>,
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

/// Takes a lease, listens to the node's channel and starts the loops; waits for a store that is away or refuses. The
/// loops end with the parts' `stop`; the death of one before that is an error that stops the node.
pub async fn start(parts: Parts) -> Arc<Signaling> {
    let Parts { node, address, probe, clock, policy, calls: store, sessions, bus, outbox, wake_up, call_table, .. } =
        parts;
    let Parts { traces, tasks, stop, .. } = parts;
    let node = Arc::new(NodeContext { id: node, clock, policy, traces, tasks, stop });

    let at = Place { address, probe };
    let (ground, losses) = ground::lay(&node, at, &store, &sessions, &bus);
    let Ground { local, cache, timeline, members, registration, lease, .. } = ground;
    let Ground { stall, self_test, messenger, identity, directory, .. } = ground;

    // How a call changes, and who is told.
    let messages = Arc::new(OutboxMessages::new(Arc::clone(&node), wake_up));
    let (without_line, restored_without_line) = mpsc::channel(WITHOUT_LINE);
    let calls = Arc::new(Calls {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        cache: Arc::clone(&cache),
        timeline: Arc::clone(&timeline),
        messages: Arc::clone(&messages),
        identity: Arc::clone(&identity),
        without_line,
    });
    let delivery = Arc::new(Delivery {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        cache: Arc::clone(&cache),
        timeline: Arc::clone(&timeline),
        local: Arc::clone(&local),
        directory: Arc::clone(&directory),
        messenger: Arc::clone(&messenger),
        notices: Arc::new(Notices { store: Arc::clone(&store) }),
    });
    let direct = Arc::new(DirectDelivery {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        local: Arc::clone(&local),
        directory: Arc::clone(&directory),
        messenger: Arc::clone(&messenger),
    });
    let commands =
        Arc::new(Commands { node: Arc::clone(&node), calls: Arc::clone(&calls), delivery: Arc::clone(&delivery) });
    let presence = Arc::new(Presence {
        node: Arc::clone(&node),
        store: Arc::clone(&sessions),
        members: Arc::clone(&members),
        directory: Arc::clone(&directory),
        messenger: Arc::clone(&messenger),
        identity: Arc::clone(&identity),
        webhooks: PresenceWebhooks { outbox: Arc::clone(&outbox), messages, leaving: Default::default() },
        subscriptions: Default::default(),
    });

    // Phones come and go.
    let registrar = Arc::new(Registrar {
        node: Arc::clone(&node),
        sessions: Arc::clone(&sessions),
        calls: Arc::clone(&store),
        local: Arc::clone(&local),
        members: Arc::clone(&members),
        registration: Arc::clone(&registration),
        messenger: Arc::clone(&messenger),
    });
    let absences = Arc::new(Absences {
        store: Arc::clone(&store),
        identity: Arc::clone(&identity),
        directory: Arc::clone(&directory),
        presence: Arc::clone(&presence),
        commands: Arc::clone(&commands),
    });
    let replay = Arc::new(Replay {
        delivery: Arc::clone(&delivery),
        identity: Arc::clone(&identity),
        direct: Arc::clone(&direct),
    });
    let connections = Arc::new(Connections {
        node: Arc::clone(&node),
        calls: Arc::clone(&store),
        local: Arc::clone(&local),
        registration: Arc::clone(&registration),
        registrar: Arc::clone(&registrar),
        replay: Arc::clone(&replay),
        presence: Arc::clone(&presence),
        absences: Arc::clone(&absences),
    });
    let dismissals = Arc::new(Dismissals {
        node: Arc::clone(&node),
        local: Arc::clone(&local),
        members: Arc::clone(&members),
        lease: Arc::clone(&lease),
        directory: Arc::clone(&directory),
        messenger: Arc::clone(&messenger),
        connections: Arc::clone(&connections),
        sent_away: SentAway::default(),
    });
    let leaving = Arc::new(Leaving {
        node: Arc::clone(&node),
        sessions: Arc::clone(&sessions),
        local: Arc::clone(&local),
        cache: Arc::clone(&cache),
        timeline: Arc::clone(&timeline),
        registration: Arc::clone(&registration),
        lease: Arc::clone(&lease),
        connections: Arc::clone(&connections),
    });

    // What phones and Laravel ask for.
    let queue = Arc::new(RetryQueue::new(Arc::clone(&node)));
    let new_calls = Arc::new(NewCalls { node: Arc::clone(&node) });
    let questions = Arc::new(Questions::new(call_table));
    let inquiries = Arc::new(Inquiries {
        node: Arc::clone(&node),
        questions: Arc::clone(&questions),
        commands: Arc::clone(&commands),
    });
    let rejections = Arc::new(Rejections {
        node: Arc::clone(&node),
        questions: Arc::clone(&questions),
        calls: Arc::clone(&calls),
        new_calls: Arc::clone(&new_calls),
        direct: Arc::clone(&direct),
    });
    let claims = Arc::new(Claims {
        node: Arc::clone(&node),
        calls: Arc::clone(&calls),
        commands: Arc::clone(&commands),
        questions,
    });
    let dialing = Arc::new(Dialing {
        node: Arc::clone(&node),
        new_calls: Arc::clone(&new_calls),
        calls: Arc::clone(&calls),
        commands: Arc::clone(&commands),
        claims: Arc::clone(&claims),
        inquiries: Arc::clone(&inquiries),
        guard: DialGuard { node: Arc::clone(&node), stall: Arc::clone(&stall), local: Arc::clone(&local) },
        queue: Arc::clone(&queue),
    });
    let phone_commands = Arc::new(PhoneCommands {
        node: Arc::clone(&node),
        calls: Arc::clone(&calls),
        commands: Arc::clone(&commands),
        direct: Arc::clone(&direct),
        connections: Arc::clone(&connections),
        queue: Arc::clone(&queue),
    });
    let outcomes = Arc::new(BackendOutcomes {
        node: Arc::clone(&node),
        new_calls,
        calls: Arc::clone(&calls),
        commands: Arc::clone(&commands),
        claims,
        direct: Arc::clone(&direct),
    });
    let backend_commands = Arc::new(BackendCommands {
        dialing: Arc::clone(&dialing),
        outcomes: Arc::clone(&outcomes),
        queue: Arc::clone(&queue),
    });
    let retrying = Arc::new(Retrying {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        queue,
        commands: Arc::clone(&commands),
        phones: Arc::clone(&phone_commands),
        outcomes,
    });

    // What was lost comes back.
    let healing = Arc::new(Healing {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        cache: Arc::clone(&cache),
        local: Arc::clone(&local),
        calls: Arc::clone(&calls),
        delivery: Arc::clone(&delivery),
        direct: Arc::clone(&direct),
    });
    let restoring = Arc::new(Restoring {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        cache: Arc::clone(&cache),
        members: Arc::clone(&members),
        identity: Arc::clone(&identity),
        calls: Arc::clone(&calls),
        delivery: Arc::clone(&delivery),
    });
    let vouching = Arc::new(Vouching {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        identity: Arc::clone(&identity),
        commands: Arc::clone(&commands),
        inquiries: Arc::clone(&inquiries),
        healing: Arc::clone(&healing),
    });
    let conflicts = Arc::new(Conflicts {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        identity: Arc::clone(&identity),
        commands: Arc::clone(&commands),
    });
    let party_presence = PresenceAtDeadline {
        node: Arc::clone(&node),
        members: Arc::clone(&members),
        registration: Arc::clone(&registration),
        directory: Arc::clone(&directory),
    };
    let judge = Arc::new(Judge {
        node: Arc::clone(&node),
        calls: Arc::clone(&calls),
        commands: Arc::clone(&commands),
        inquiries,
        conflicts: Arc::clone(&conflicts),
        party_presence,
    });
    let timers = Arc::new(Timers {
        node: Arc::clone(&node),
        store: Arc::clone(&store),
        cache,
        identity: Arc::clone(&identity),
        members: Arc::clone(&members),
        judge,
    });
    let lease_task = Arc::new(LeaseTask {
        node: Arc::clone(&node),
        sessions: Arc::clone(&sessions),
        lease: Arc::clone(&lease),
        identity: Arc::clone(&identity),
        registration: Arc::clone(&registration),
        registering: Registering::new(Arc::clone(&registrar), replay, Arc::clone(&absences)),
        absences: Arc::clone(&absences),
        own_past: OwnPast {
            node: Arc::clone(&node),
            sessions: Arc::clone(&sessions),
            local: Arc::clone(&local),
            registration,
            absences: Arc::clone(&absences),
            epochs: parking_lot::Mutex::default(),
        },
    });
    let dead_nodes = Arc::new(DeadNodes {
        node: Arc::clone(&node),
        sessions: Arc::clone(&sessions),
        lease: Arc::clone(&lease),
        members: Arc::clone(&members),
        absences,
    });
    let inbox = Arc::new(Inbox {
        node: Arc::clone(&node),
        self_test: Arc::clone(&self_test),
        calls: CallNews { node: Arc::clone(&node), stall: Arc::clone(&stall), delivery },
        direct: Arc::clone(&direct),
        presence: Arc::clone(&presence),
        registrar,
        dismissals: Arc::clone(&dismissals),
        healing: Arc::clone(&healing),
    });

    let isolation = Isolation {
        node: Arc::clone(&node),
        lease: Arc::clone(&lease),
        self_test: Arc::clone(&self_test),
        stall: Arc::clone(&stall),
    };

    // A store that was just lost is restored while the node joins.
    let losses = Losses { restoring, vouching }.keep_restoring(losses);
    node.run("restoring", losses);
    node.run("conflicts", conflicts.keep_resolving(restored_without_line));
    let news = join(&node, &lease_task, &*bus).await;
    node.run("inbox", inbox.keep_reading(news));
    node.run("lease", lease_task.keep_lease());
    node.run("sweep", dead_nodes.keep_sweeping());
    node.run("timers", Arc::clone(&timers).keep_firing());
    node.run("deadlines", timers.keep_claiming());
    node.run("healing", healing.keep_comparing());
    node.run("self-test", self_test.keep_asking());
    node.run("losses", identity.keep_looking());
    let clock = node.clock.clone();
    node.run("pulse", async move { stall.keep_beating(clock).await });
    node.run("timelines", Arc::clone(&timeline).keep_writing());
    node.run("presence", Arc::clone(&presence).keep_telling());
    node.run("retries", Arc::clone(&retrying).keep_trying());

    Arc::new(Signaling {
        phones: Phones {
            node: Arc::clone(&node),
            connections,
            dialing,
            commands: phone_commands,
            rejections,
            presence,
        },
        backend: Backend {
            node: Arc::clone(&node),
            commands: backend_commands,
            direct,
            dismissals,
            directory: Arc::clone(&directory),
            timeline,
            calls: Arc::clone(&calls),
        },
        inspection: Inspection {
            node: Arc::clone(&node),
            calls: Arc::clone(&store),
            directory,
            members: Arc::clone(&members),
        },
        operators: Operators { node: Arc::clone(&node), outbox, calls: store, sessions, local, leaving, retrying },
        cluster: Cluster { isolation, members: Arc::clone(&members), routes: Routes::new(members, lease) },
        node,
    })
}

/// Takes the node's lease and listens to its channel, as soon as the store lets it.
async fn join(node: &NodeContext, lease: &LeaseTask, bus: &dyn Bus) -> mpsc::Receiver<Inbound> {
    let attempt = async || -> Result<_, JoinError> {
        lease.renew_lease().await?;
        Ok(bus.listen(&node.id).await?)
    };
    let mut waiting = Waiting::new(&node.clock);
    loop {
        match attempt().await {
            Ok(news) => {
                waiting.over();
                return news;
            }
            Err(error) => waiting.after(&error).await,
        }
    }
}
