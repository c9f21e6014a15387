//! What carries letters out of the outbox: webhooks, and callbacks to a Laravel without them.

use std::sync::Arc;

use super::AppError;
use super::laravel::Laravel;
use crate::clock::Clock;
use crate::config::Config;
use crate::courier;
use crate::signaling::Signaling;
use crate::store::{Bell, Outbox};
use crate::webhook::{Endpoint, Events, Pushes, watch};

/// Starts the loops that deliver; they end with the node.
pub(super) fn deliver(
    config: &Config,
    clock: &Clock,
    laravel: Option<&Laravel>,
    signaling: &Signaling,
    outbox: &Arc<dyn Outbox>,
    bell: &Bell,
) -> Result<(), AppError> {
    let run = |name, carrier: Arc<dyn courier::Carrier>| {
        let bell = bell.listen(carrier.queue());
        let (outbox, traces) = (Arc::clone(outbox), signaling.traces().clone());
        signaling.run_out(name, |stop| courier::run(outbox, carrier, clock.clone(), bell, traces, stop));
    };
    let mut endpoint = None;
    if let Some(terms) = config.webhook.clone() {
        let receiver = Arc::new(Endpoint::new(terms, Arc::clone(outbox), clock.clone())?);
        run("webhooks", Arc::new(Events(Arc::clone(&receiver))));
        run("pushes", Arc::new(Pushes(Arc::clone(&receiver))));
        endpoint = Some(receiver);
    }
    let callbacks = laravel.and_then(|laravel| laravel.callbacks.clone());
    if endpoint.is_some() || callbacks.is_some() {
        signaling.run("outbox", watch(Arc::clone(outbox), endpoint, clock.clone()));
    }
    if let Some(callbacks) = callbacks {
        run("callbacks", callbacks);
    }
    Ok(())
}
