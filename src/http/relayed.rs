//! How many requests and websockets of other nodes' sessions run through this node: so many in all, of which no address
//! and no session has more than its share while they are scarce.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::address::is_nobody;
use super::descriptors::Descriptors;
use crate::fairness::network_of;
use crate::socket::EngineId;

/// More are refused, and a load balancer asks another node; fewer where there are not twice as many descriptors.
const AT_ONCE: usize = 20_000;
/// What one session has while places are scarce: a poll, a post, a websocket, and one that its client has given up.
const OF_A_SESSION: usize = 4;
/// What it has at most: posts whose clients went away are still passed on.
const OF_A_BUSY_SESSION: usize = 64;
/// A websocket that lived for so long belongs to a phone: transports of strangers end before.
const A_STRANGER_LIVES: Duration = Duration::from_secs(45);

pub(super) struct Relays {
    descriptors: Arc<Descriptors>,
    open: Mutex<Open>,
    websockets: AtomicUsize,
    settled: AtomicUsize,
}

#[derive(Default)]
struct Open {
    in_all: usize,
    /// Addresses, those of IPv6 by their /48: one customer may have all of it.
    of_networks: HashMap<IpAddr, usize>,
    of_sessions: HashMap<EngineId, usize>,
}

impl Relays {
    pub fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { descriptors, open: Mutex::default(), websockets: AtomicUsize::new(0), settled: AtomicUsize::new(0) }
    }

    /// A place for what is passed on for a client and its session; absent where there is none for it.
    pub fn begin(self: &Arc<Self>, client: IpAddr, session: EngineId) -> Option<Place> {
        let at_once = AT_ONCE.min(self.descriptors.at_most() / 2);
        if self.descriptors.are_gone() { None } else { self.begin_of(at_once, client, session) }
    }

    fn begin_of(self: &Arc<Self>, at_once: usize, client: IpAddr, session: EngineId) -> Option<Place> {
        let network = if is_nobody(client) { client } else { network_of(client).unwrap_or(client) };
        let mut open = self.open.lock();
        let of_network = open.of_networks.get(&network).copied().unwrap_or_default();
        let of_session = open.of_sessions.get(&session).copied().unwrap_or_default();
        // Carrier NAT puts thousands of phones behind one address: it is bounded only where it could keep others out.
        let are_scarce = open.in_all >= at_once / 2;
        let has_its_share = are_scarce && (of_network >= at_once / 4 || of_session >= OF_A_SESSION);
        if open.in_all >= at_once || has_its_share || of_session >= OF_A_BUSY_SESSION {
            return None;
        }
        open.in_all += 1;
        *open.of_networks.entry(network).or_default() += 1;
        *open.of_sessions.entry(session).or_default() += 1;
        Some(Place { relays: Arc::clone(self), network, session })
    }

    /// Websockets that run through this node.
    pub fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Relaxed)
    }

    /// Those of them that are no strangers'.
    pub fn settled(&self) -> usize {
        self.settled.load(Ordering::Relaxed)
    }

    /// Counts a websocket while `running` runs.
    pub async fn websocket(self: Arc<Self>, place: Place, running: impl Future<Output = ()>) {
        let websocket = Counted::one_of(&self.websockets);
        let settles = async {
            tokio::time::sleep(A_STRANGER_LIVES).await;
            let _settled = Counted::one_of(&self.settled);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = running => {}
            () = settles => {}
        }
        drop((websocket, place));
    }
}

/// A place that is taken, until it is dropped.
pub(super) struct Place {
    relays: Arc<Relays>,
    network: IpAddr,
    session: EngineId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.relays.open.lock();
        open.in_all -= 1;
        one_less(&mut open.of_networks, &self.network);
        one_less(&mut open.of_sessions, &self.session);
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// One of what is counted, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: usize) -> EngineId {
        EngineId::parse(&format!("{number:016}")).unwrap()
    }

    /// What an address gets of so many places with a session for each.
    fn taken(relays: &Arc<Relays>, at_once: usize, address: &str) -> Vec<Place> {
        let client = address.parse().unwrap();
        let first = relays.open.lock().in_all;
        (first..first + at_once).map_while(|number| relays.begin_of(at_once, client, session(number))).collect()
    }

    fn assert_empty(relays: &Relays) {
        let open = relays.open.lock();
        assert_eq!((open.in_all, open.of_networks.len(), open.of_sessions.len()), (0, 0, 0));
    }

    #[test]
    fn an_address_keeps_nobody_else_out() {
        let relays = Arc::new(Relays::new(Descriptors::new(1024)));
        let held = taken(&relays, 16, "192.0.2.1");
        assert_eq!(held.len(), 8, "half of them where nobody else wants any");
        let others = taken(&relays, 16, "192.0.2.2");
        assert_eq!(others.len(), 4, "a share");
        let third = taken(&relays, 16, "192.0.2.3");
        assert_eq!(third.len(), 4);
        assert!(taken(&relays, 16, "192.0.2.4").is_empty(), "all are taken");
        drop((held, others, third));
        assert_empty(&relays);
    }

    #[test]
    fn a_network_of_many_addresses_keeps_nobody_else_out() {
        let relays = Arc::new(Relays::new(Descriptors::new(1024)));
        let held: Vec<_> = (0..100).flat_map(|n| taken(&relays, 16, &format!("2001:db8:1:{n:x}::"))).collect();
        assert_eq!(held.len(), 8);
        let unnamed: Vec<_> = (0..5).filter_map(|n| relays.begin_of(16, nobody(n), session(100 + n))).collect();
        assert_eq!(unnamed.len(), 5, "whom a proxy does not name is of no network");
        assert_eq!(taken(&relays, 16, "2001:db8:2::").len(), 3, "the rest is for others");
        drop((held, unnamed));
        assert_empty(&relays);
    }

    fn nobody(number: usize) -> IpAddr {
        format!("100::{number:x}").parse().unwrap()
    }

    /// Half a post is passed on until its whole comes, and a transport without a session may post as often as it likes.
    #[test]
    fn a_session_keeps_nobody_else_out() {
        let relays = Arc::new(Relays::new(Descriptors::new(1024)));
        let of = |number: usize, session: EngineId| {
            let address = format!("192.0.2.{}", number % 250).parse().unwrap();
            relays.begin_of(1000, address, session)
        };
        let held: Vec<_> = (0..1000).filter_map(|number| of(number, session(0))).collect();
        assert_eq!(held.len(), OF_A_BUSY_SESSION, "from however many addresses");
        let others: Vec<_> = (0..500).filter_map(|number| of(number, session(1000 + number))).collect();
        assert_eq!(others.len(), 500);
        let next: Vec<_> = (0..100).filter_map(|number| of(number, session(1))).collect();
        assert_eq!(next.len(), OF_A_SESSION, "places are scarce now");
        assert!(of(0, session(0)).is_none() && of(0, session(2)).is_some());
        drop((held, others, next));
        assert_empty(&relays);
    }
}
