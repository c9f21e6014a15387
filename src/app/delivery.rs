//! What delivers outbox messages: webhooks, and callbacks to a Laravel without them.

use std::sync::Arc;

use super::AppError;
use super::laravel::Laravel;
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatcher;
use crate::signaling::Signaling;
use crate::store::{Outbox, WakeUp};
use crate::webhook::{Endpoint, Events, Pushes, run_upkeep};

/// Starts the loops that deliver; they end with the node.
pub(super) fn deliver(
    config: &Config,
    clock: &Clock,
    laravel: Option<&Laravel>,
    signaling: &Signaling,
    outbox: &Arc<dyn Outbox>,
    wake_up: &WakeUp,
) -> Result<(), AppError> {
    let run = |name, destination: Arc<dyn dispatcher::Destination>| {
        let wake_up = wake_up.listen(destination.queue());
        let (outbox, traces) = (Arc::clone(outbox), signaling.traces().clone());
        signaling.run_out(name, |stop| dispatcher::run(outbox, destination, clock.clone(), wake_up, traces, stop));
    };
    let mut endpoint = None;
    if let Some(settings) = config.webhook.clone() {
        let receiver = Arc::new(Endpoint::new(settings, Arc::clone(outbox), clock.clone())?);
        run("webhooks", Arc::new(Events(Arc::clone(&receiver))));
        run("pushes", Arc::new(Pushes(Arc::clone(&receiver))));
        endpoint = Some(receiver);
    }
    let callbacks = laravel.and_then(|laravel| laravel.callbacks.clone());
    if endpoint.is_some() || callbacks.is_some() {
        signaling.run("outbox", run_upkeep(Arc::clone(outbox), endpoint, clock.clone()));
    }
    if let Some(callbacks) = callbacks {
        run("callbacks", callbacks);
    }
    Ok(())
}
