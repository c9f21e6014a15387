//! What carries letters out of the outbox: webhooks.

use std::sync::Arc;

use super::AppError;
use crate::clock::Clock;
use crate::config::Config;
use crate::courier;
use crate::signaling::Signaling;
use crate::store::{Bell, Outbox, Queue};
use crate::webhook::{Endpoint, Events, Pushes, watch};

/// Starts the loops that deliver; they end with the node.
pub(super) fn deliver(
    config: &Config,
    clock: &Clock,
    signaling: &Signaling,
    outbox: &Arc<dyn Outbox>,
    bell: &Bell,
) -> Result<(), AppError> {
    let mut endpoint = None;
    if let Some(terms) = config.webhook.clone() {
        let receiver = Arc::new(Endpoint::new(terms, Arc::clone(outbox), clock.clone())?);
        let run = |name, carrier: Arc<dyn courier::Carrier>, queue| {
            let work = courier::run(Arc::clone(outbox), carrier, clock.clone(), bell.listen(queue));
            signaling.run(name, work);
        };
        run("webhooks", Arc::new(Events(Arc::clone(&receiver))), Queue::Events);
        run("pushes", Arc::new(Pushes(Arc::clone(&receiver))), Queue::Pushes);
        endpoint = Some(receiver);
    }
    if endpoint.is_some() || config.policy.callbacks {
        signaling.run("outbox", watch(Arc::clone(outbox), endpoint, clock.clone()));
    }
    Ok(())
}
