//! An id that is taken by another caller's call, and whose it is.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Actor, Asked, Call, CallId, Command, RowStatus, UserId};
use crate::signaling::backend::Questions;
use crate::signaling::calls::{Calls, Failure};
use crate::signaling::commands::Commands;
use crate::signaling::node::NodeContext;
use crate::telemetry::metrics::{self, Freed};

const PATIENCE: Duration = Duration::from_secs(1);

/// Under what id a call can be made whose own is another caller's.
pub enum Claimed {
    /// It is free, or becomes it.
    Own,
    /// Nobody can say whose it is: both have it.
    Doubled(CallId),
    /// It stays the other's.
    No,
}

/// Decides under what id a call is made.
pub struct Claims {
    pub node: Arc<NodeContext>,
    pub calls: Arc<Calls>,
    pub commands: Arc<Commands>,
    pub questions: Arc<Questions>,
}

impl Claims {
    /// Takes an id for a call of its owner, where another caller has one under it that only a phone named.
    pub async fn claim_id(&self, by: &Actor, dialled: &Call, taken: &Call) -> Result<Claimed, Failure> {
        if taken.caller.user == by.user || taken.named || dialled.id.is_doubled() {
            return Ok(Claimed::No);
        }
        match self.is_owner(by, dialled).await {
            Some(true) => {
                self.free_id(taken).await?;
                Ok(Claimed::Own)
            }
            Some(false) => Ok(Claimed::No),
            None => Ok(Claimed::Doubled(dialled.id.doubled(&by.user))),
        }
    }

    /// Laravel speaks of a call of these two: returns the id under which it is or is to be. One of others under it that only
    /// a phone named is in its way.
    pub async fn clear_id(&self, id: &CallId, caller: &UserId, receiver: &UserId) -> Result<CallId, Failure> {
        let is_of_them = |call: &Call| call.caller.user == *caller && call.callee.user == *receiver;
        if let Some(taken) = self.calls.cached_or_stored(id).await?
            && !is_of_them(&taken)
        {
            if let Some(own) = self.calls.doubled(id, caller).await?.filter(is_of_them) {
                return Ok(own.id);
            }
            if !taken.named {
                self.free_id(&taken).await?;
            }
        }
        Ok(id.clone())
    }

    async fn free_id(&self, taken: &Call) -> Result<(), Failure> {
        tracing::warn!(call = %taken.id, "its owner takes back the id that another's call was dialled under");
        let ended = match self.commands.apply(&taken.id, &Command::Evict { rank: taken.rank() }).await {
            Ok(ended) => ended,
            // Over already, or another call is under the id by now.
            Err(Failure::Refused { call, .. }) => *call,
            Err(Failure::NotFound) => return Ok(()),
            Err(failure @ (Failure::Unavailable | Failure::RateLimited { .. })) => return Err(failure),
        };
        if ended.rank() == taken.rank() && !ended.is_live() && self.calls.store.vacate(&ended).await? {
            metrics::line_freed(Freed::Squatted);
        }
        Ok(())
    }

    /// Laravel itself dials, or says that it has the call as this caller's; absent where it can't be asked.
    async fn is_owner(&self, by: &Actor, dialled: &Call) -> Option<bool> {
        if by.session.is_none() || dialled.named {
            return Some(true);
        }
        let token = by.token.clone().filter(|_| self.questions.can_ask())?;
        if !self.questions.take(&by.user, self.node.clock.uptime()) {
            return Some(false);
        }
        match self.questions.ask(&dialled.id, &[token], PATIENCE).await {
            Asked::Row(row) => {
                let is_live = matches!(row.status, RowStatus::Open | RowStatus::Ongoing);
                Some(is_live && row.caller.as_ref() == Some(&by.user) && row.is_of(dialled))
            }
            Asked::Unknown | Asked::Forbidden => Some(false),
            Asked::Unavailable => None,
        }
    }
}
