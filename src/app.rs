//! The wiring: everything is put together here and nowhere else.

mod address;
mod admin;
mod auth;
mod delivery;
mod laravel;
mod ports;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socketioxide::SocketIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::BusError;
use crate::call::NodeId;
use crate::clock::Clock;
use crate::config::{Auth, Config, Drain};
use crate::fault_injection::{self, Bug};
use crate::http::{
    API_CONNECTIONS, Access, Api, Bounds, ClientAddress, Connections, Counts, Descriptors, EngineDoor, Gate,
    ListenerSettings, OwnSessions, Readiness, RefusedSecrets, Relay, Serves, SessionRequests, ToNodes, admin_router,
    api_limit, cors, engine_requests, guard, inspector_router, is_cut_off, route, router, serve, strangers_get_nothing,
    watch_forwarded,
};
use crate::signaling::{self, Parts, Signaling};
use crate::socket::{self, EventLimits, Pace, SocketServer, Wires};
use crate::store::WakeUp;
use crate::telemetry::metrics;
use crate::telemetry::trace::{TraceError, Traces};
use address::{own_address, probe_of};
use admin::AdminPort;
use auth::authenticator;
use delivery::deliver;
use laravel::Laravel;
use ports::{BindError, ReservedPort};
pub use shared::Shared;

const UPKEEP: Duration = Duration::from_secs(5);
/// A node without the store for so long asks others whether they have it.
const ISOLATED_AFTER: Duration = Duration::from_secs(15);
const ISOLATION_TICK: Duration = Duration::from_secs(2);
/// A command that waits for a store that fails has so long after a drain, and less when the node stops at once.
const LAST_COMMANDS: Duration = Duration::from_secs(5);
const VERY_LAST_COMMANDS: Duration = Duration::from_secs(3);
/// Before the second look, up to twice as long: nodes that are cut off together do not let go of their phones at once.
const SECOND_LOOK: Duration = Duration::from_secs(3);
/// Farewells, open requests and loops together get this long when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(
        "REDIS_URL is set and HOST is {host}, but no address of this machine was found that other nodes reach: set \
         NODE_ADDRESS, as http://10.1.2.3:3001"
    )]
    Unreachable { host: std::net::IpAddr },
    #[error("REDIS_URL can't be used: {0}")]
    Redis(fred::error::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Laravel(#[from] crate::laravel::ClientError),
    #[error(transparent)]
    Webhook(#[from] crate::webhook::EndpointError),
    #[error(transparent)]
    Traces(#[from] TraceError),
    #[error("starting metrics failed")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// A running node.
pub struct App {
    pub public: SocketAddr,
    /// Where `/api/` is answered: the public port, unless it has one of its own.
    pub api: SocketAddr,
    pub admin: SocketAddr,
    signaling: Arc<Signaling>,
    io: SocketIo,
    readiness: Readiness,
    gate: Arc<Gate>,
    relay: Arc<Relay>,
    connections: Arc<Connections>,
    wires: Arc<Wires>,
    traces: Traces,
    drain: Drain,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Starts a node by its configuration.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        let clock = Clock::system();
        let tasks = TaskTracker::new();
        let admin = AdminPort::open(&config, &tasks).await?;
        let shared = Shared::open(&config, &clock, &tasks).await?;
        // On the heap: whoever starts a node need not have a stack for all of it.
        Box::pin(Self::start_behind(admin, config, clock, shared, tasks)).await
    }

    /// Starts a node on a given clock, store and bus.
    pub async fn start_with(
        config: Config,
        clock: Clock,
        shared: Shared,
        tasks: TaskTracker,
    ) -> Result<Self, AppError> {
        let admin = AdminPort::open(&config, &tasks).await?;
        Box::pin(Self::start_behind(admin, config, clock, shared, tasks)).await
    }

    async fn start_behind(
        admin: AdminPort,
        config: Config,
        clock: Clock,
        shared: Shared,
        tasks: TaskTracker,
    ) -> Result<Self, AppError> {
        let AdminPort { address: admin_address, switch, stop, descriptors, unless_started } = admin;
        let (public, api_port) = (ReservedPort::public(&config)?, ReservedPort::api(&config)?);
        let public_address = public.address;
        let api_address = api_port.as_ref().map_or(public_address, |port| port.address);
        let address = own_address(&config, public_address)?;

        let traces = Traces::start(config.traces.as_ref(), &config.node_id, &config.redis_prefix, &clock)?;
        let wake_up = WakeUp::default();
        let laravel = Laravel::open(&config, &clock, &shared.calls)?;
        let signaling = signaling::start(Parts {
            node: config.node_id.clone(),
            probe: probe_of(&address, admin_address.port()),
            address,
            clock: clock.clone(),
            policy: config.policy,
            calls: shared.calls,
            sessions: shared.sessions,
            bus: shared.bus,
            outbox: Arc::clone(&shared.outbox),
            wake_up: wake_up.clone(),
            call_table: laravel.as_ref().and_then(Laravel::call_table),
            traces: traces.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        })
        .await;
        // Until now a phone was refused at once, and its load balancer went on to the next node.
        let (public, api_port) = (public.listen()?, api_port.map(ReservedPort::listen).transpose()?);

        deliver(&config, &clock, laravel.as_ref(), &signaling, &shared.outbox, &wake_up)?;
        let authenticate = authenticator(&config, &clock, laravel, &signaling, shared.tokens, &tasks, &stop);
        let limits = config.limits;
        let event_limits = Arc::new(EventLimits::new(
            limits.events_per_minute,
            limits.presence_ids_per_minute,
            config.retention.messages_per_minute,
        ));
        let addresses = ClientAddress::new(config.trusted_proxies.clone());
        let of_phones = Descriptors::new(descriptors);
        let connections = Connections::new(
            limits.connections,
            limits.connections_per_address,
            Arc::clone(&of_phones),
            addresses.clone(),
        );
        metrics::connections_limit(connections.at_most());
        let connections = Arc::new(connections);
        let bounds = Bounds {
            handshakes_per_second: limits.handshakes_per_second,
            handshakes_per_address: limits.handshakes_per_address,
            sessions: limits.sessions,
        };
        let unanswered = config.ping_interval + config.ping_timeout;
        let wires = Arc::new(Wires::new(2 * unanswered + config.auth_times.hold));
        let server = SocketServer {
            signaling: Arc::clone(&signaling),
            authenticate: Arc::clone(&authenticate),
            initiate_check: config.initiate_check,
            limits: Arc::clone(&event_limits),
            video_switch: config.video_switch,
            wires: Arc::clone(&wires),
            tasks: tasks.clone(),
        };
        let pace = Pace {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            connect_timeout: config.auth_times.hold + Duration::from_secs(2),
        };
        let (sockets, io) = socket::engine(server, pace);
        let to_engine = Arc::new(EngineDoor::new(sockets, tasks.clone(), stop.clone()));
        let own = OwnSessions::new(
            Arc::clone(&wires),
            Arc::clone(&to_engine),
            config.ping_timeout,
            limits.events_per_minute > 0,
            tasks.clone(),
            stop.clone(),
        );
        let transports = Arc::clone(wires.transports());
        let per_second = limits.session_requests_per_second;
        let requests = Arc::new(SessionRequests::new(Arc::clone(&transports), addresses.clone(), per_second));
        let to_nodes =
            ToNodes { keys: config.node_keys(), patience: unanswered + Duration::from_secs(5), descriptors: of_phones };
        let relay =
            Relay::new(Arc::clone(&signaling), to_nodes, own, Arc::clone(&requests), tasks.clone(), stop.clone());
        let relay = Arc::new(relay);
        metrics::sessions_limit(limits.sessions);
        let (alive, known) = (Arc::clone(&signaling), addresses.clone());
        let gate = Arc::new(Gate::new(alive, transports, Arc::clone(&relay), known, bounds, &tasks, &stop));
        let api_limit = api_limit(addresses.clone(), limits.api_per_second).map(Arc::new);
        let local_development = config.auth == Auth::LocalDevelopment;
        let readiness = Readiness::default();
        let api = Arc::new(Api {
            signaling: Arc::clone(&signaling),
            authenticate,
            access: Access {
                secrets: config.api_secrets.clone(),
                open_queries: config.open_queries,
                open: local_development,
                refused: RefusedSecrets::new(clock.clone(), addresses.clone()),
            },
            counts: Counts::default(),
            readiness: readiness.clone(),
            statistics: tokio::sync::Semaphore::new(1),
        });
        let routes = |serves| router(serves, Arc::clone(&api), api_limit.as_ref(), config.is_development());
        let of_laravel = api_port.map(|port| (port, routes(Serves::Laravel)));
        let public_routes = routes(if of_laravel.is_some() { Serves::Phones } else { Serves::Everybody })
            .layer(axum::middleware::from_fn_with_state(to_engine, engine_requests))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&relay), route))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&gate), guard));
        let finished = |routes: axum::Router| {
            let routes = routes.layer(cors(&config.allowed_origins));
            let routes = routes.layer(axum::middleware::from_fn(strangers_get_nothing));
            watch_forwarded(routes, &config.auth, addresses.clone(), &clock)
        };
        let settings = ListenerSettings {
            connections: Arc::clone(&connections),
            reading: config.reading,
            paced: config.limits.events_per_minute > 0,
            // A phone that stopped reading ends when a ping would have.
            stuck_after: unanswered,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        if let Some((port, routes)) = of_laravel {
            let own = Descriptors::reserved(descriptors, API_CONNECTIONS);
            let connections = Arc::new(Connections::new(0, 0, own, addresses.clone()));
            let settings = ListenerSettings { connections, ..settings.clone() };
            tasks.spawn(serve(port, finished(routes), settings));
        }
        tasks.spawn(serve(public, finished(public_routes), settings));

        let inspector = config.inspector.then(|| inspector_router(Arc::clone(&signaling), readiness.clone()));
        switch.open(admin_router(Arc::clone(&signaling), readiness.clone(), inspector));
        signaling.run("standing", readiness.clone().keep(Arc::clone(&signaling)));
        let to_clean = Arc::clone(&wires);
        let (cleaned, counted) = (Arc::clone(&gate), Arc::clone(&connections));
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics::upkeep();
                metrics::connections(counted.open());
                metrics::transports(to_clean.transports().open());
                metrics::transports_unused(to_clean.transports().unused());
                requests.clean();
                event_limits.clean();
                cleaned.clean();
                to_clean.clean();
                if let Some(limit) = &api_limit {
                    limit.limiter().retain_recent();
                }
            }
        }));

        readiness.set(true);
        unless_started.disarm();
        tracing::info!(public = %public_address, api = %api_address, admin = %admin_address, "listening");
        Ok(Self {
            public: public_address,
            api: api_address,
            admin: admin_address,
            signaling,
            io,
            readiness,
            gate,
            relay,
            connections,
            wires,
            traces,
            drain: config.drain,
            stop,
            tasks,
        })
    }

    pub fn id(&self) -> &NodeId {
        self.signaling.node()
    }

    /// The connections to the public port.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What is known of the engine's transports.
    pub fn wires(&self) -> &Wires {
        &self.wires
    }

    /// Resolves when the node has to stop because one of its loops died.
    pub async fn failed(&self) {
        self.stop.cancelled().await;
    }

    /// Resolves when this node is cut from the store while another is not, twice in a row: its phones are better off
    /// there. Where no node has the store they stay, and a node that drains itself counts for none.
    pub async fn isolated(&self) {
        let is_cut_off =
            async || self.signaling.cluster.tried_in_vain_for() > ISOLATED_AFTER && is_cut_off(&self.signaling).await;
        loop {
            tokio::time::sleep(ISOLATION_TICK).await;
            if fault_injection::is_on(Bug::GiveUpEarly)
                && self.signaling.cluster.without_store_for() > Duration::from_secs(5)
            {
                return;
            }
            if !is_cut_off().await {
                continue;
            }
            tokio::time::sleep(SECOND_LOOK.mul_f64(rand::random_range(1.0..2.0))).await;
            if is_cut_off().await {
                tracing::error!("this node is cut from the store, others are not: letting its phones go");
                return;
            }
        }
    }

    /// Lets the phones go: not ready from now on; after a while, in which load balancers notice, no new sockets, and
    /// the transports of all sessions are closed little by little.
    pub async fn drain(&self) {
        self.readiness.set(false);
        self.relay.turn_upgrades_away();
        metrics::draining(1);
        tracing::info!(sessions = self.signaling.operators.local_sessions(), "draining");
        tokio::time::sleep(self.drain.delay).await;
        self.gate.close();
        let relays = async {
            if self.relay.websockets() > 0 {
                let third = self.drain.window / 3;
                tokio::time::sleep(2 * third).await;
                self.relay.drain(third);
                tokio::time::sleep(third).await;
            }
        };
        tokio::join!(self.signaling.operators.drain(self.drain.window), relays);
        self.signaling.operators.finish_commands(LAST_COMMANDS).await;
        tracing::info!("drained");
    }

    /// Leaves the cluster, then closes every transport (phones come back by themselves, elsewhere).
    pub async fn stop(self) {
        self.readiness.set(false);
        self.gate.close();
        let farewell = async {
            self.signaling.operators.finish_commands(VERY_LAST_COMMANDS).await;
            self.signaling.operators.leave().await;
            // The library runs no disconnect handlers here and waits for stuck readers.
            self.io.close().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, farewell).await.is_err() {
            tracing::warn!("some sessions did not close in time");
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await.is_err() {
            tracing::debug!("open requests were dropped");
        }
        self.traces.stop().await;
    }
}
