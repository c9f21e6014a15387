use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Clock;
use crate::fairness::Fairness;

/// What is known of a transport from the request that opened it; lives as long as the transport.
#[derive(Clone)]
pub struct Opening(Arc<Opened>);

struct Opened {
    address: IpAddr,
    /// A CONNECT came over it.
    connected: AtomicBool,
    /// A session runs over it.
    accepted: AtomicBool,
    fairness: Option<(Arc<Fairness>, Clock)>,
}

impl Opening {
    /// `fairness` learns whether the address has sessions.
    pub fn new(address: IpAddr, fairness: Option<(Arc<Fairness>, Clock)>) -> Self {
        Self(Arc::new(Opened {
            address,
            connected: AtomicBool::new(false),
            accepted: AtomicBool::new(false),
            fairness,
        }))
    }

    /// Where nobody looked at the request.
    pub(super) fn unknown() -> Self {
        Self::new(Ipv4Addr::UNSPECIFIED.into(), None)
    }

    /// The client's address, as far as proxies are trusted.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// True for the first CONNECT of the transport, false for any other.
    pub(super) fn is_first_connect(&self) -> bool {
        !self.0.connected.swap(true, Ordering::Relaxed)
    }

    pub(super) fn accepted(&self) {
        if let Some((fairness, clock)) = &self.0.fairness
            && !self.0.accepted.swap(true, Ordering::Relaxed)
        {
            fairness.came(self.0.address, clock.elapsed());
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some((fairness, clock)) = &self.fairness
            && *self.accepted.get_mut()
        {
            fairness.left(self.address, clock.elapsed());
        }
    }
}
