//! Where two live calls have the same busy claim after a loss of the store, one of them ends as it would have then.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::call::{Call, CallId, Command, Role, gives_way};
use crate::signaling::calls::Failure;
use crate::signaling::cluster::StoreIdentity;
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;
use crate::store::CallStore;

/// How often a call without a line is looked at, if others change it meanwhile.
const ATTEMPTS: usize = 5;

/// Resolves conflicts between calls.
pub struct Conflicts {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub identity: Arc<StoreIdentity>,
    pub commands: Arc<Commands>,
}

impl Conflicts {
    /// Takes up each call that was restored without its lines. Whoever claims deadlines sees to what fails here.
    pub async fn keep_resolving(self: Arc<Self>, mut without_line: mpsc::Receiver<CallId>) {
        while let Some(id) = without_line.recv().await {
            let conflicts = Arc::clone(&self);
            self.node.spawn(async move { conflicts.resolve(&id).await });
        }
    }

    /// Where two live calls claim a line after a loss, one of them ends as it would have then; also where the later one is
    /// over by now.
    pub async fn resolve(&self, id: &CallId) {
        for _ in 0..ATTEMPTS {
            // The other may be over, and its end be put back by then.
            if self.identity.all_restored().await.is_err() {
                return;
            }
            let Ok(Some(call)) = self.store.load(id).await else { return };
            match self.resolve_for(&call).await {
                // One of both was changed meanwhile: judged again.
                Err(Failure::Refused { .. }) => {}
                Ok(()) | Err(_) => return,
            }
        }
    }

    async fn resolve_for(&self, call: &Call) -> Result<(), Failure> {
        for role in [Role::Caller, Role::Callee] {
            let user = &call.party(role).user;
            let snapshot = self.store.reconnect_snapshot(user).await?;
            if snapshot.taken {
                // By a call of another version: looked at again when that is over.
                return Ok(());
            }
            let other = match snapshot.line {
                Some(line) if line.id == call.id => continue,
                line => line.or(snapshot.last),
            };
            let Some(other) = other else { continue };
            // Where it ended meanwhile, the line is by right that of a call which came later, and of none before it.
            let Some(call) = self.store.load(&call.id).await? else { return Ok(()) };
            let gives_way_to = |one: &Call, another: &Call| one.is_live() && gives_way(one, another, user);
            let loser = if gives_way_to(&call, &other) {
                &call
            } else if gives_way_to(&other, &call) {
                &other
            } else {
                continue;
            };
            if let Some(by) = loser.role_of(user) {
                let accepted = loser.accepted_at().is_some();
                self.commands.apply(&loser.id, &Command::GiveWay { by, accepted }).await?;
            }
            if loser.id == call.id {
                return Ok(());
            }
        }
        if call.is_live() {
            // Takes the lines that are free now.
            self.store.restore(call, &[]).await?;
        }
        Ok(())
    }
}
