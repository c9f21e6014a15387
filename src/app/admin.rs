//! The admin port answers from the first moment: a start may wait for its store for long.

use std::net::SocketAddr;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{AppError, bind, local};
use crate::config::Config;
use crate::http::AdminDoor;
use crate::telemetry::metrics;

pub(super) struct AdminPort {
    pub address: SocketAddr,
    pub door: AdminDoor,
    pub stop: CancellationToken,
    /// A start that is given up leaves nothing that runs.
    pub unless_started: DropGuard,
}

impl AdminPort {
    pub async fn open(config: &Config, tasks: &TaskTracker) -> Result<Self, AppError> {
        metrics::start()?;
        let listener = bind("the admin port", SocketAddr::new(config.host, config.admin_port)).await?;
        let (address, door, stop) = (local(&listener), AdminDoor::default(), CancellationToken::new());
        let service = door.router();
        let ended = stop.clone().cancelled_owned();
        tasks.spawn(async move { axum::serve(listener, service).with_graceful_shutdown(ended).await });
        Ok(Self { address, door, unless_started: stop.clone().drop_guard(), stop })
    }
}
