use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::call::UserId;
use crate::signaling::MAX_SUBSCRIPTIONS;

/// Accept, reject, cancel and end of one's own live call are never refused below this.
const HANG_UPS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// A whole subscription: a lower allowance would never let one through.
const SUBSCRIPTION: NonZeroU32 = NonZeroU32::MIN.saturating_add(MAX_SUBSCRIPTIONS as u32 - 1);

type PerUser = RateLimiter<UserId, DefaultKeyedStateStore<UserId>, DefaultClock>;

/// How much a user may send over all his sessions on this node (GCRA: a burst of a minute's worth, then evenly).
pub struct EventLimits {
    events: Option<PerUser>,
    hang_ups: PerUser,
    /// Between the parties of calls.
    messages: Option<PerUser>,
    /// Each id of a subscription is read from the store, so each counts.
    presence_ids: Option<PerUser>,
}

impl EventLimits {
    /// 0: no limit.
    pub fn new(per_minute: u32, presence_ids_per_minute: u32, messages_per_minute: u32) -> Self {
        let ids = |limit: NonZeroU32| Quota::per_minute(limit).allow_burst(limit.max(SUBSCRIPTION));
        Self {
            events: NonZeroU32::new(per_minute).map(|limit| RateLimiter::keyed(Quota::per_minute(limit))),
            hang_ups: RateLimiter::keyed(Quota::per_second(HANG_UPS_PER_SECOND)),
            messages: NonZeroU32::new(messages_per_minute).map(|limit| RateLimiter::keyed(Quota::per_minute(limit))),
            presence_ids: NonZeroU32::new(presence_ids_per_minute).map(|limit| RateLimiter::keyed(ids(limit))),
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

    /// Takes one message from an allowance of its own: what is said in a call leaves that of calls as it is.
    pub fn message(&self, user: &UserId) -> Result<(), Duration> {
        self.messages.as_ref().map_or(Ok(()), |messages| check(messages, user))
    }

    /// Takes so many ids of users whose presence is asked for, all or none.
    pub fn presence_ids(&self, user: &UserId, ids: usize) -> Result<(), Duration> {
        let Some(limiter) = &self.presence_ids else { return Ok(()) };
        let ids = u32::try_from(ids).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        match limiter.check_key_n(user, ids) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refused)) => Err(refused.wait_time_from(DefaultClock::default().now())),
            // More than fits at all: nobody is let ask for so many.
            Err(_) => Err(Duration::from_secs(60)),
        }
    }

    /// Forgets users whose allowance is whole again.
    pub fn clean(&self) {
        if let Some(events) = &self.events {
            events.retain_recent();
        }
        self.hang_ups.retain_recent();
        if let Some(messages) = &self.messages {
            messages.retain_recent();
        }
        if let Some(presence_ids) = &self.presence_ids {
            presence_ids.retain_recent();
        }
    }
}

fn check(limiter: &PerUser, user: &UserId) -> Result<(), Duration> {
    limiter.check_key(user).map_err(|refused| refused.wait_time_from(DefaultClock::default().now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids are charged one by one, to their user alone, and what is refused costs nothing.
    #[test]
    fn ids_are_charged_and_not_questions() {
        let limits = EventLimits::new(0, 1000, 0);
        let (ana, bo) = (UserId::parse("ana").unwrap(), UserId::parse("bo").unwrap());
        let answered = (0..100).filter(|_| limits.presence_ids(&ana, 500).is_ok()).count();
        assert_eq!(answered, 2, "a thousand ids of fifty thousand");
        let wait = limits.presence_ids(&ana, 500).unwrap_err();
        assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(30), "{wait:?}");
        limits.presence_ids(&bo, 500).unwrap();
        let small = EventLimits::new(0, 1, 0);
        small.presence_ids(&ana, 500).unwrap();
        assert!(small.presence_ids(&ana, 1).is_err(), "a whole subscription, then one a minute");
        let open = EventLimits::new(0, 0, 0);
        assert!((0..100).all(|_| open.presence_ids(&ana, 500).is_ok()));
    }
}
