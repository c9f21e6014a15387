//! Applies a command to a call and tells whom it concerns: what all use cases ask for.

use std::sync::Arc;

use super::calls::{Calls, Changed, Failure, Written};
use super::delivery::Delivery;
use super::node::NodeContext;
use crate::call::{Call, CallId, Command};
use crate::telemetry::About;
use crate::telemetry::trace::{self, Kind};

/// Changes calls and has their parties told.
pub struct Commands {
    pub node: Arc<NodeContext>,
    pub calls: Arc<Calls>,
    pub delivery: Arc<Delivery>,
}

impl Commands {
    /// Applies a command to a call and tells whom it concerns. Returns the call as it stands afterwards.
    pub async fn apply(&self, id: &CallId, command: &Command) -> Result<Call, Failure> {
        let by = command.by();
        let about = About {
            call: Some(id.clone()),
            user: by.map(|by| by.user.clone()),
            session: by.and_then(|by| by.session.clone()),
        };
        let changed = async {
            // On the heap: what asks for it may be deep, and a worker's stack is not.
            let judged = Box::pin(self.change(id, command)).await;
            trace::note("outcome", || {
                judged.as_ref().map_or_else(|failure| failure.code().name(), |call| call.state.name())
            });
            judged
        };
        self.node.traces.run(command.name(), Kind::Internal, about, changed).await
    }

    async fn change(&self, id: &CallId, command: &Command) -> Result<Call, Failure> {
        let written = match self.calls.change(id, command).await? {
            Changed::Not(call) => return Ok(*call),
            Changed::Refused(refusal, call) => {
                self.delivery.learn_if_news(&call);
                return Err(Failure::Refused { refusal, call });
            }
            Changed::Written(written) => *written,
        };
        let Written { call, audience, decided_at, announced, refusal } = written;
        let told = self.delivery.tell_change(call, audience, decided_at, announced).await;
        match refusal {
            Some(refusal) => Err(Failure::Refused { refusal, call: Box::new(told) }),
            None => Ok(told),
        }
    }

    /// Applies a command in a task of its own; whoever asked does not wait.
    pub fn apply_soon(self: &Arc<Self>, id: &CallId, command: Command) {
        let (commands, id) = (Arc::clone(self), id.clone());
        self.node.spawn(async move { drop(commands.apply(&id, &command).await) });
    }

    /// Ends the call that holds a busy claim and gives way; that another ended it first is as good.
    pub async fn displace(&self, held: &Call, command: Command) -> Result<(), Failure> {
        match self.apply(&held.id, &command).await {
            Ok(_) | Err(Failure::NotFound | Failure::Refused { .. }) => Ok(()),
            Err(failure @ (Failure::Unavailable | Failure::RateLimited { .. })) => Err(failure),
        }
    }

    /// Asks for a push at once where no device of the callee can confirm the ring.
    pub fn push_now(self: &Arc<Self>, id: &CallId) {
        let (commands, id) = (Arc::clone(self), id.clone());
        self.node.spawn(async move {
            match commands.apply(&id, &Command::Push).await {
                Ok(_) | Err(Failure::NotFound | Failure::Refused { .. } | Failure::RateLimited { .. }) => {}
                // Its deadline is stored: the push is two seconds late.
                Err(Failure::Unavailable) => tracing::warn!(call = %id, "asking for a push at once failed"),
            }
        });
    }

    /// Asks by webhook whether a call that makes others busy still is one; refused where it was asked a moment ago.
    pub fn verify(self: &Arc<Self>, held: &Call) {
        if self.node.policy.webhooks && !held.is_ringing() {
            self.apply_soon(&held.id, Command::Verify);
        }
    }
}
