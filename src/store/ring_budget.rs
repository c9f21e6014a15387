//! How long a caller may let phones ring for nothing: a line that he keeps ringing is busy to everybody else.

use std::time::Duration;

use crate::call::{Call, EndReason, Role, State, Timestamp};

/// In this time one ring at the same callee is paid back.
const CALLEE_PERIOD: Duration = Duration::from_secs(600);
/// In this time one ring at anybody is paid back.
const CALLER_PERIOD: Duration = Duration::from_secs(60);
/// What a ring costs at least: many short ones are not free.
const LEAST: Duration = Duration::from_secs(1);

/// Ring time that nobody answered (GCRA): so many full rings in a row, then one in each period. What a ring costs is
/// what it rang. A budget is kept as the time at which all of it is paid back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBudget {
    /// How long a full ring is.
    pub full_ring: Duration,
    /// Of one caller at one callee; 0: no limit.
    pub per_callee: u32,
    /// Of one caller at all callees; 0: no limit.
    pub per_caller: u32,
}

/// Which bound a ring met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingLimit {
    /// Rings of this callee in a minute.
    PerMinute,
    /// Time in which this callee did not answer.
    PerCallee,
    /// Time in which nobody answered this caller.
    PerCaller,
}

/// What a change of a call means for the budgets of its caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charge {
    pub at: Timestamp,
    /// For how much longer the budget at this callee is not paid back; zero: nothing to pay.
    pub callee: Duration,
    pub caller: Duration,
    /// The callee answered: what is owed at him is forgiven.
    pub forgiven: bool,
}

impl RingBudget {
    pub const OFF: RingBudget = RingBudget { full_ring: Duration::from_secs(30), per_callee: 0, per_caller: 0 };

    /// Until how far ahead a budget may be owed for another ring at this callee to be let in; none: any.
    pub(super) fn patience_of_callee(&self) -> Option<Duration> {
        self.per_callee.checked_sub(1).map(|rings| CALLEE_PERIOD * rings)
    }

    /// The same for a ring at anybody.
    pub(super) fn patience_of_caller(&self) -> Option<Duration> {
        self.per_caller.checked_sub(1).map(|rings| CALLER_PERIOD * rings)
    }

    /// What is due where `next` is what a live call becomes.
    pub(super) fn charge(&self, next: &Call) -> Charge {
        let end = match &next.state {
            State::Trying | State::Ringing => return Charge::default(),
            State::Active { .. } => return Charge { forgiven: true, ..Charge::default() },
            State::Ended(end) => end,
        };
        if end.accepted_at.is_some() || matches!(end.reason, EndReason::HungUp { by: Some(Role::Callee), .. }) {
            return Charge { forgiven: true, ..Charge::default() };
        }
        // Not for what a node took to notice the end, nor for questions to the backend before it.
        let whole = next.ring_until.since(next.created_at).max(LEAST);
        let rang = end.at.since(next.created_at).clamp(LEAST, whole);
        let share = rang.as_secs_f64() / self.full_ring.max(LEAST).as_secs_f64();
        let of = |limit: u32, period: Duration| if limit == 0 { Duration::ZERO } else { period.mul_f64(share) };
        Charge {
            at: end.at,
            callee: of(self.per_callee, CALLEE_PERIOD),
            caller: of(self.per_caller, CALLER_PERIOD),
            forgiven: false,
        }
    }
}
