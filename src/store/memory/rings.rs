use std::collections::HashMap;
use std::time::Duration;

use crate::call::{Call, Timestamp, UserId};
use crate::store::RingLimit;

const WINDOW: Duration = Duration::from_secs(60);

/// Start of the minute and rings in it, by caller and callee.
#[derive(Default)]
pub(super) struct Rings(HashMap<(UserId, UserId), (Timestamp, u32)>);

impl Rings {
    /// For how long a call may not ring, if it may not.
    pub fn refuses(&self, call: &Call, most: u32, now: Timestamp) -> Option<(RingLimit, Duration)> {
        let (since, rings) = self.0.get(&parties(call)).filter(|_| is_counted(call, most))?;
        let wait = WINDOW.saturating_sub(now.since(*since));
        (*rings >= most && !wait.is_zero()).then_some((RingLimit::PerMinute, wait))
    }

    pub fn begins(&mut self, call: &Call, most: u32, now: Timestamp) {
        if !is_counted(call, most) {
            return;
        }
        let (since, rings) = self.0.entry(parties(call)).or_insert((now, 0));
        if now.since(*since) >= WINDOW {
            (*since, *rings) = (now, 0);
        }
        *rings += 1;
    }

    pub fn clean(&mut self, now: Timestamp) {
        self.0.retain(|_, (since, _)| now.since(*since) < WINDOW);
    }
}

fn is_counted(call: &Call, most: u32) -> bool {
    call.is_ringing() && most > 0
}

fn parties(call: &Call) -> (UserId, UserId) {
    (call.caller.user.clone(), call.callee.user.clone())
}
