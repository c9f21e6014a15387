use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::call::UserId;

/// Accept, reject, cancel and end of one's own live call are never refused below this.
const HANG_UPS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

type PerUser = RateLimiter<UserId, DefaultKeyedStateStore<UserId>, DefaultClock>;

/// How much a user may send over all his sessions on this node (GCRA: a burst of a minute's worth, then evenly).
pub struct EventLimits {
    events: Option<PerUser>,
    hang_ups: PerUser,
}

impl EventLimits {
    /// `per_minute` 0: no limit.
    pub fn new(per_minute: u32) -> Self {
        Self {
            events: NonZeroU32::new(per_minute).map(|limit| RateLimiter::keyed(Quota::per_minute(limit))),
            hang_ups: RateLimiter::keyed(Quota::per_second(HANG_UPS_PER_SECOND)),
        }
    }

    /// Takes one event from the user's allowance, or says when the next is free.
    pub fn event(&self, user: &UserId) -> Result<(), Duration> {
        self.events.as_ref().map_or(Ok(()), |events| check(events, user))
    }

    /// Takes one hang-up from an allowance of its own.
    pub fn hang_up(&self, user: &UserId) -> Result<(), Duration> {
        check(&self.hang_ups, user)
    }

    /// Forgets users whose allowance is whole again.
    pub fn clean(&self) {
        if let Some(events) = &self.events {
            events.retain_recent();
        }
        self.hang_ups.retain_recent();
    }
}

fn check(limiter: &PerUser, user: &UserId) -> Result<(), Duration> {
    limiter.check_key(user).map_err(|refused| refused.wait_time_from(DefaultClock::default().now()))
}
