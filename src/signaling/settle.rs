//! Where two live calls claim a line after a loss of the store, one of them ends as it would have then.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Failure, Node};
use crate::call::{Call, CallId, Command, Role, gives_way};

/// How often a call without a line is looked at, if others change it meanwhile.
const ATTEMPTS: usize = 5;

impl Node {
    /// Boxed, since settling may notice the next loss. Whoever claims deadlines sees to what fails here.
    pub(super) fn settle_soon(self: Arc<Self>, id: CallId) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.settle_lines(&id).await })
    }

    /// Where two live calls claim a line after a loss, one of them ends as it would have then.
    pub(super) async fn settle_lines(self: &Arc<Self>, id: &CallId) {
        for _ in 0..ATTEMPTS {
            // The other may be over, and its end be put back by then.
            if self.all_put_back().await.is_err() {
                return;
            }
            let Ok(Some(call)) = self.store.load(id).await else { return };
            match self.settle(&call).await {
                // One of both was changed meanwhile: judged again.
                Err(Failure::Refused { .. }) => {}
                Ok(()) | Err(_) => return,
            }
        }
    }

    async fn settle(self: &Arc<Self>, call: &Call) -> Result<(), Failure> {
        if !call.is_live() {
            return Ok(());
        }
        for role in [Role::Caller, Role::Callee] {
            let user = &call.party(role).user;
            let desk = self.store.desk(user).await?;
            if desk.taken {
                // By a call of another version: looked at again when that is over.
                return Ok(());
            }
            let other = match desk.line {
                Some(line) if line.id == call.id => continue,
                line => line.or(desk.last),
            };
            let Some(other) = other else { continue };
            let gives_way = gives_way(call, &other, user);
            let loser = if gives_way { call } else { &other };
            if let Some(by) = loser.role_of(user).filter(|_| loser.is_live()) {
                let accepted = loser.accepted_at().is_some();
                self.transition(&loser.id, &Command::GiveWay { by, accepted }).await?;
            }
            if gives_way {
                return Ok(());
            }
        }
        // Takes the lines that are free now.
        self.store.restore(call, &[]).await?;
        Ok(())
    }
}
