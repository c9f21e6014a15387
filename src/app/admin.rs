//! The admin port answers from the first moment: a start may wait for its store for long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::AppError;
use super::ports::bind;
use crate::config::Config;
use crate::http::{
    ADMIN_CONNECTIONS, AdminSwitch, ClientAddress, Connections, Descriptors, ListenerSettings, raise_descriptor_limit,
    serve,
};
use crate::telemetry::metrics;

/// A scraper that stopped reading.
const STUCK_AFTER: Duration = Duration::from_secs(25);

pub(super) struct AdminPort {
    pub address: SocketAddr,
    pub switch: AdminSwitch,
    pub stop: CancellationToken,
    /// How many the process may have open.
    pub descriptors: u64,
    /// A start that is given up leaves nothing that runs.
    pub unless_started: DropGuard,
}

impl AdminPort {
    pub async fn open(config: &Config, tasks: &TaskTracker) -> Result<Self, AppError> {
        metrics::start()?;
        let listener = bind("the admin port", SocketAddr::new(config.admin_host, config.admin_port)).await?;
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (switch, stop) = (AdminSwitch::default(), CancellationToken::new());
        let descriptors = raise_descriptor_limit();
        let own = Descriptors::reserved(descriptors, ADMIN_CONNECTIONS);
        let settings = ListenerSettings {
            connections: Arc::new(Connections::new(0, 0, own, ClientAddress::new(Vec::new()))),
            reading: config.reading,
            paced: true,
            stuck_after: STUCK_AFTER,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(serve(listener, switch.router(), settings));
        Ok(Self { address, switch, descriptors, unless_started: stop.clone().drop_guard(), stop })
    }
}
