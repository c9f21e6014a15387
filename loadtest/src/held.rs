//! What a process has of phones that only stay: connected, refused, lost.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::dial::Failure;
use crate::packet::Packet;
use crate::phone::Listener;

/// Counts what idle phones hear.
#[derive(Default)]
pub struct Held(Mutex<Told>);

/// So far, in words of one line between processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub connected: u64,
    /// Why phones did not get in, and how many.
    pub refused: BTreeMap<String, u64>,
    /// How connections ended, and how many.
    pub lost: BTreeMap<String, u64>,
    pub pings: u64,
}

impl Held {
    pub fn told(&self) -> Told {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Held {
    fn connected(&self, _phone: usize) {
        self.state().connected += 1;
    }

    fn refused(&self, _phone: usize, why: &Failure) {
        *self.state().refused.entry(why.0.clone()).or_default() += 1;
    }

    fn hears(&self, _phone: usize, packet: Packet, _at: Instant) {
        if packet == Packet::Ping {
            self.state().pings += 1;
        }
    }

    fn disconnected(&self, _phone: usize, why: &str) {
        *self.state().lost.entry(why.to_owned()).or_default() += 1;
    }
}

impl Told {
    pub fn add(&mut self, other: Self) {
        self.connected += other.connected;
        self.pings += other.pings;
        for (all, more) in [(&mut self.refused, other.refused), (&mut self.lost, other.lost)] {
            more.into_iter().for_each(|(why, count)| *all.entry(why).or_default() += count);
        }
    }

    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    pub fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Phones that were connected and are not lost.
    pub fn held(&self) -> u64 {
        self.connected - self.lost().min(self.connected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_add_up() {
        let held = Held::default();
        held.connected(0);
        held.connected(1);
        held.hears(0, Packet::Ping, Instant::now());
        held.hears(0, Packet::Noop, Instant::now());
        held.disconnected(1, "close frame");
        held.refused(2, &Failure("HTTP 503".into()));
        let line = serde_json::to_string(&held.told()).expect("JSON");
        let mut all: Told = serde_json::from_str(&line).expect("what was written");
        assert_eq!(all, held.told());
        all.add(held.told());
        assert_eq!((all.connected, all.held(), all.refused(), all.lost(), all.pings), (4, 2, 2, 2, 2));
        assert_eq!(all.lost, BTreeMap::from([("close frame".to_owned(), 2)]));
    }
}
