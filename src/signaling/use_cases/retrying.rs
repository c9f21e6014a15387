//! The retry queue is worked off as soon as the store is back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::retry_queue::{Owed, RetryQueue, Waiting, give_up};
use super::{BackendOutcomes, PhoneCommands};
use crate::call::{CallId, Command};
use crate::signaling::calls::Failure;
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;
use crate::store::CallStore;
use crate::telemetry::metrics;

/// Retried for this long.
const PATIENCE: Duration = Duration::from_secs(60);
const GIVEN_UP: &str = "the store failed for 60 s";
const PAUSE: Duration = Duration::from_millis(500);
/// Calls whose commands are tried at the same time.
const AT_ONCE: usize = 64;

/// Tries again what waits.
pub struct Retrying {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub queue: Arc<RetryQueue>,
    pub commands: Arc<Commands>,
    pub phones: Arc<PhoneCommands>,
    pub outcomes: Arc<BackendOutcomes>,
}

impl Retrying {
    pub async fn keep_trying(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PAUSE).await;
            metrics::waiting_commands(self.queue.len());
            if self.queue.len() == 0 {
                continue;
            }
            if self.store.reached().await.is_err() {
                self.queue.give_up_after(PATIENCE, GIVEN_UP);
                continue;
            }
            // One call that can't be decided yet keeps no other waiting.
            let calls = stream::iter(self.queue.by_call());
            calls.for_each_concurrent(AT_ONCE, |of_call| self.pay_in_order(of_call)).await;
        }
    }

    async fn pay_in_order(&self, mut of_call: Vec<Waiting>) {
        // What its caller said of the call since he was refused is how it ends.
        of_call.sort_by_key(|waiting| waiting.owed.is_withdrawal());
        for waiting in of_call {
            if waiting.in_hand {
                return;
            }
            // Refused or unknown is an answer too; only a failing store keeps it waiting.
            let paid = self.node.obeying(waiting.since, Box::pin(self.pay(&waiting.id, &waiting.owed))).await;
            let failed = matches!(paid, Err(Failure::Unavailable));
            let is_old = self.node.since(waiting.since) > PATIENCE;
            if failed && !is_old {
                return;
            }
            if self.queue.remove(waiting.number) && failed {
                give_up(&waiting, GIVEN_UP);
            }
        }
    }

    async fn pay(&self, id: &CallId, owed: &Owed) -> Result<(), Failure> {
        match owed {
            Owed::Command(command) => self.phones.judge_again(id, command).await.map(drop),
            Owed::Backend(command) => self.outcomes.obey_again(id, command).await,
            Owed::Withdrawal { nonce, .. } => self.withdraw(id, *nonce).await,
        }
    }

    /// Cancels a call that its caller was refused, if it exists after all and nobody dialled it once more. The backend did
    /// not say so and is not told: it knows of the ring.
    async fn withdraw(&self, id: &CallId, nonce: u64) -> Result<(), Failure> {
        let withdrawn = self.commands.apply(id, &Command::Withdraw { nonce }).await;
        match self.commands.calls.unless_lost(withdrawn).await {
            Err(Failure::Unavailable) => Err(Failure::Unavailable),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Waits until nothing waits any more, for `patience` at most: a node that stops takes nothing with it that can
    /// still be done.
    pub async fn finish(&self, patience: Duration) {
        let done = async {
            while self.queue.len() > 0 {
                tokio::time::sleep(PAUSE / 5).await;
            }
        };
        if tokio::time::timeout(patience, done).await.is_err() {
            self.queue.give_up_all("the node stops and the store fails");
        }
    }
}
