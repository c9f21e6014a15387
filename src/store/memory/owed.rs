use std::collections::HashMap;
use std::time::Duration;

use crate::call::{Call, Timestamp, UserId};
use crate::store::{RingBudget, RingLimit};

/// When what is owed in ring time is paid back: by a caller at a callee, or at all.
#[derive(Default)]
pub(super) struct Owed(HashMap<(UserId, Option<UserId>), Timestamp>);

impl Owed {
    /// Why a call may not ring, if it may not.
    pub fn refuses(&self, call: &Call, budget: RingBudget, now: Timestamp) -> Option<(RingLimit, Duration)> {
        if !call.is_ringing() {
            return None;
        }
        let bounds = [
            (RingLimit::PerCallee, Some(call.callee.user.clone()), budget.patience_of_callee()),
            (RingLimit::PerCaller, None, budget.patience_of_caller()),
        ];
        bounds.into_iter().find_map(|(limit, callee, patience)| {
            let paid = self.0.get(&(call.caller.user.clone(), callee))?;
            let wait = paid.since(now).saturating_sub(patience?);
            (!wait.is_zero()).then_some((limit, wait))
        })
    }

    /// A live call begins: its caller calls back.
    pub fn begins(&mut self, call: &Call, budget: RingBudget) {
        self.0.remove(&(call.callee.user.clone(), Some(call.caller.user.clone())));
        self.changes(call, false, budget);
    }

    pub fn changes(&mut self, next: &Call, was_live: bool, budget: RingBudget) {
        let (caller, charge) = (&next.caller.user, budget.charge(next));
        let at_callee = (caller.clone(), Some(next.callee.user.clone()));
        if charge.forgiven {
            self.0.remove(&at_callee);
        }
        for (owed, more) in [(at_callee, charge.callee), ((caller.clone(), None), charge.caller)] {
            if was_live && more > Duration::ZERO {
                let paid = self.0.entry(owed).or_default();
                *paid = (*paid).max(charge.at) + more;
            }
        }
    }

    pub fn clean(&mut self, now: Timestamp) {
        self.0.retain(|_, paid| *paid > now);
    }
}
