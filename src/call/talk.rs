//! How long the parties of a call had each other, as far as is known.

use std::time::Duration;

use super::{Call, EndReason, Party, Timestamp, UserId};

impl Call {
    /// From the accept to the end, an absence at the end included.
    pub fn duration(&self) -> Option<Duration> {
        let end = self.end()?;
        Some(end.at.since(end.accepted_at?))
    }

    /// From the accept to the last moment when both were there. Who was away and came back was there.
    pub fn talk(&self) -> Option<Duration> {
        let end = self.end()?;
        let until = self.absent_since().map_or(end.at, |since| since.min(end.at));
        Some(until.since(end.accepted_at?))
    }

    /// Since when a party was away for good when the call ended: the one who left first. Without `acks` a lost socket
    /// is no proof of absence, so it counts only where nobody said the end.
    pub fn absent_since(&self) -> Option<Timestamp> {
        let end = self.end()?;
        if end.reason == EndReason::CallerGone {
            return self.caller.absent_since;
        }
        end.accepted_at?;
        let counts = |party: &&Party| party.acks || self.is_presumed_over();
        [&self.caller, &self.callee].into_iter().filter(counts).filter_map(|party| party.absent_since).min()
    }

    /// Whether nobody said the end, it was concluded from sockets that were away.
    pub fn is_presumed_over(&self) -> bool {
        self.end().is_some_and(|end| match end.reason {
            EndReason::Lost { .. } => true,
            EndReason::MaxDuration => self.is_nobody_there(),
            EndReason::Cancelled
            | EndReason::Superseded
            | EndReason::CallerGone
            | EndReason::Rejected
            | EndReason::NoAnswer
            | EndReason::Busy
            | EndReason::HungUp { .. }
            | EndReason::Other(_) => false,
        })
    }

    /// Whether a phone of this user without `acks` may still be in a call that was called lost: it was away then, and its
    /// media may be fine.
    pub fn may_go_on_with(&self, user: &UserId) -> bool {
        let away = |party: &Party| party.absent_since.is_some();
        self.is_presumed_over() && self.role_of(user).is_some_and(|role| away(self.party(role)))
    }
}
