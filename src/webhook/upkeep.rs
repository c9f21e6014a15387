//! Looks after the outbox: how much waits, what has been dead for long, and whether the receiver wants anything.

use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use crate::clock::Clock;
use crate::store::Outbox;
use crate::telemetry::metrics;

const PAUSE: Duration = Duration::from_secs(2);
/// Dead letters are kept for this long.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reports on the outbox for as long as the node lives.
pub async fn run_upkeep(outbox: Arc<dyn Outbox>, endpoint: Option<Arc<Endpoint>>, clock: Clock) {
    let mut dropped = None;
    loop {
        if let Some(endpoint) = &endpoint
            && let Ok(off) = outbox.switched_off().await
        {
            endpoint.adopt(off.as_deref()).await;
        }
        let now = clock.now();
        match outbox.backlog().await {
            Ok(backlog) => {
                let age = backlog.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
                metrics::outbox(backlog.waiting, age, backlog.dead, backlog.bytes, backlog.dropped);
                if dropped.is_some_and(|before| before < backlog.dropped) {
                    tracing::error!(dropped = backlog.dropped, "the outbox is full, its oldest messages are dropped");
                }
                dropped = Some(backlog.dropped);
            }
            Err(error) => tracing::debug!(%error, "reading the outbox's backlog failed"),
        }
        // Tried again in a moment.
        let _ = outbox.bury(now - KEPT, now).await;
        match &endpoint {
            Some(endpoint) => endpoint.hurry_within(PAUSE).await,
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}
