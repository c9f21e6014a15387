//! An id that is taken by another caller's call, and whose it is.

use std::sync::Arc;
use std::time::Duration;

use super::{Failure, Node};
use crate::call::{Actor, Asked, Call, CallId, Command, RowStatus, UserId};
use crate::telemetry::metrics::{self, Freed};

const PATIENCE: Duration = Duration::from_secs(1);

impl Node {
    /// Takes an id for a call of its owner, where another caller has one under it that only a phone named. True where
    /// the id is free, or becomes it.
    pub(super) async fn claim_id(self: &Arc<Self>, by: &Actor, dialled: &Call, taken: &Call) -> Result<bool, Failure> {
        if taken.caller.user == by.user || taken.named || !self.is_owner(by, dialled).await {
            return Ok(false);
        }
        self.free_id(taken).await?;
        Ok(true)
    }

    /// Laravel speaks of a call of these two: one of others under its id that only a phone named is in its way.
    pub(super) async fn clear_id(
        self: &Arc<Self>,
        id: &CallId,
        caller: &UserId,
        receiver: &UserId,
    ) -> Result<(), Failure> {
        match self.watched_or_stored(id).await? {
            Some(taken) if !taken.named && (taken.caller.user != *caller || taken.callee.user != *receiver) => {
                self.free_id(&taken).await
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn free_id(self: &Arc<Self>, taken: &Call) -> Result<(), Failure> {
        tracing::warn!(call = %taken.id, "its owner takes back the id that another's call was dialled under");
        let ended = match self.transition(&taken.id, &Command::Evict { rank: taken.rank() }).await {
            Ok(ended) => ended,
            // Over already, or another call is under the id by now.
            Err(Failure::Refused { call, .. }) => *call,
            Err(Failure::NotFound) => return Ok(()),
            Err(failure @ (Failure::Unavailable | Failure::TooManyRings { .. })) => return Err(failure),
        };
        if ended.rank() == taken.rank() && !ended.is_live() && self.calls.vacate(&ended).await? {
            metrics::line_freed(Freed::Squatted);
        }
        Ok(())
    }

    /// Laravel itself dials, or says that it has the call as this caller's.
    async fn is_owner(self: &Arc<Self>, by: &Actor, dialled: &Call) -> bool {
        if by.session.is_none() {
            return true;
        }
        let Some(token) = by.token.clone().filter(|_| self.ledger.is_some()) else { return false };
        if !self.questions.take(&by.user, self.clock.now()) {
            return false;
        }
        let Asked::Row(row) = self.ask(&dialled.id, &[token], PATIENCE).await else { return false };
        let is_live = matches!(row.status, RowStatus::Open | RowStatus::Ongoing);
        is_live && row.caller.as_ref() == Some(&by.user) && row.is_of(dialled)
    }
}
