use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

/// A rate that each client address has for itself.
pub(super) struct PerAddress(Option<RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock>>);

impl PerAddress {
    /// `per_second` 0: no limit.
    pub fn new(per_second: u32) -> Self {
        Self(NonZeroU32::new(per_second).map(|limit| RateLimiter::keyed(Quota::per_second(limit))))
    }

    /// How long this client has to wait; absent where it need not.
    pub fn refuses(&self, client: IpAddr) -> Option<Duration> {
        let refused = self.0.as_ref()?.check_key(&client).err()?;
        Some(refused.wait_time_from(DefaultClock::default().now()))
    }

    /// Forgets addresses whose allowance is whole again.
    pub fn clean(&self) {
        if let Some(limit) = &self.0 {
            limit.retain_recent();
        }
    }
}
