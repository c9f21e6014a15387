//! Connections that make way for others on a port that is full: those that wait for nothing but their own client.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::reading::Reading;
use crate::socket::Wire;

/// All are looked through so often at most, however many newcomers there are.
const LOOK: Duration = Duration::from_millis(250);
/// So many make way between two looks.
const CHOSEN: usize = 256;

/// A connection of a stranger.
pub(super) struct Guest {
    pub address: IpAddr,
    pub reading: Weak<Reading>,
    pub wire: Wire,
}

impl Guest {
    fn waits(&self) -> Option<Duration> {
        self.reading.upgrade()?.waits_for_its_client()
    }
}

#[derive(Default)]
pub(super) struct Guests {
    numbers: AtomicU64,
    /// By number.
    here: Mutex<HashMap<u64, Guest>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    looked: Option<Instant>,
    /// Who makes way next, and how many of its address waited then.
    chosen: VecDeque<(u64, usize)>,
    /// Of each address, how many waited or have come since.
    weights: HashMap<IpAddr, usize>,
}

impl Guests {
    /// One that no other has.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub fn add(&self, number: u64, guest: Guest) {
        self.here.lock().insert(number, guest);
    }

    pub fn remove(&self, number: u64) {
        self.here.lock().remove(&number);
    }

    /// Ends the connection that has waited longest of the address that has most of them, for a newcomer of an address that
    /// has fewer; absent: it has none. False where nobody makes way.
    pub fn make_way(&self, newcomer: Option<IpAddr>) -> bool {
        let mut queue = self.queue.lock();
        if queue.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            *queue = self.look();
        }
        let own = newcomer.and_then(|address| queue.weights.get(&address)).copied().unwrap_or_default();
        while let Some((number, weight)) = queue.chosen.front().copied() {
            if weight <= own {
                return false;
            }
            queue.chosen.pop_front();
            let here = self.here.lock();
            // It may have said something meanwhile.
            if let Some(guest) = here.get(&number).filter(|guest| guest.waits().is_some()) {
                guest.wire.end();
                if let Some(address) = newcomer {
                    *queue.weights.entry(address).or_default() += 1;
                }
                return true;
            }
        }
        false
    }

    fn look(&self) -> Queue {
        let mut waiting: HashMap<IpAddr, Vec<(Duration, u64)>> = HashMap::new();
        for (number, guest) in self.here.lock().iter() {
            if let Some(waits) = guest.waits() {
                waiting.entry(guest.address).or_default().push((waits, *number));
            }
        }
        let weights = waiting.iter().map(|(address, of_address)| (*address, of_address.len())).collect();
        waiting.values_mut().for_each(|of_address| of_address.sort_unstable());
        let mut heaviest: BinaryHeap<(usize, Reverse<IpAddr>)> =
            waiting.iter().map(|(address, of_address)| (of_address.len(), Reverse(*address))).collect();
        let mut chosen = VecDeque::new();
        while let Some((weight, Reverse(address))) = heaviest.pop().filter(|_| chosen.len() < CHOSEN) {
            let Some((_, number)) = waiting.get_mut(&address).and_then(Vec::pop) else { continue };
            chosen.push_back((number, weight));
            if weight > 1 {
                heaviest.push((weight - 1, Reverse(address)));
            }
        }
        Queue { looked: Some(Instant::now()), chosen, weights }
    }
}
