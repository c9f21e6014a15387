//! One call as it should go: who does what, and what is to be heard then.

use std::time::Instant;

use super::words::{Awaited, Event, Plan, Side, Verb};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// Its end was told and acknowledged.
    Settled,
    /// A fault was counted; nothing more is expected of it.
    Abandoned,
}

/// A call so far.
#[derive(Clone, Debug)]
pub struct Story {
    pub plan: Plan,
    pub caller: usize,
    pub callee: usize,
    pub phase: Phase,
    /// When its initiate was planned: what it causes is measured from here.
    pub scheduled: Instant,
    /// The verb sent last, and when.
    pub last: Verb,
    pub sent: Instant,
    /// Bits of [`Awaited`].
    pub owed: u16,
    pub met: u16,
    /// Bits of [`Event`], for each side.
    heard: [u16; 2],
    told_end: [bool; 2],
}

impl Story {
    pub fn new(plan: Plan, caller: usize, callee: usize, scheduled: Instant) -> Self {
        Self {
            plan,
            caller,
            callee,
            phase: Phase::Open,
            scheduled,
            last: Verb::Initiate,
            sent: scheduled,
            owed: 0,
            met: 0,
            heard: [0; 2],
            told_end: [false; 2],
        }
    }

    pub fn side_of(&self, phone: usize) -> Option<Side> {
        match phone {
            phone if phone == self.caller => Some(Side::Caller),
            phone if phone == self.callee => Some(Side::Callee),
            _ => None,
        }
    }

    pub fn phone(&self, side: Side) -> usize {
        match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        }
    }

    /// The verb that comes after the initiate, and who sends it.
    pub fn command(&self) -> (Verb, Side) {
        match self.plan {
            Plan::Talk { .. } => (Verb::Accept, Side::Callee),
            Plan::Reject => (Verb::Reject, Side::Callee),
            Plan::Cancel => (Verb::Cancel, Side::Caller),
        }
    }

    /// Notes an event; false: this side has heard it before.
    pub fn hears(&mut self, side: Side, event: Event) -> bool {
        let bit = 1 << event as u16;
        let new = self.heard[side as usize] & bit == 0;
        self.heard[side as usize] |= bit;
        new
    }

    /// Whether this side was told before that the call is over; notes it if `event` tells so.
    pub fn was_over_for(&mut self, side: Side, event: Event) -> bool {
        let told = self.told_end[side as usize];
        self.told_end[side as usize] = told || event.ends();
        told
    }

    /// What an event fulfils at this side, if it has a place in the plan.
    pub fn place_of(&self, side: Side, event: Event) -> Option<Awaited> {
        let awaited = match (event, side, self.plan) {
            (Event::Incoming, Side::Callee, _) => Awaited::Incoming,
            // Nobody waits for it.
            (Event::Ringing, Side::Caller, _) => return Some(Awaited::Ringing),
            (Event::Accepted, Side::Caller, Plan::Talk { .. }) => Awaited::Accepted,
            (Event::Rejected, Side::Caller, Plan::Reject) => Awaited::Rejected,
            (Event::RejectConfirmed, Side::Callee, Plan::Reject) => Awaited::RejectConfirmed,
            (Event::Cancelled, Side::Callee, Plan::Cancel) => Awaited::Cancelled,
            (Event::Ended, side, Plan::Talk { ended_by }) if side != ended_by => Awaited::Ended,
            _ => return None,
        };
        (self.owed & awaited.bit() != 0).then_some(awaited)
    }

    pub fn has_met(&self, awaited: &[Awaited]) -> bool {
        awaited.iter().all(|awaited| self.met & awaited.bit() != 0)
    }
}
