//! How many connections a port holds: a place for each, fewer places than descriptors, and not all for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use axum::http::HeaderMap;
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::ClientAddress;
use super::guests::{Guest, Guests};
use super::reading::Reading;
use super::unfinished::Unfinished;
use crate::socket::{Budget, Wire};
use crate::telemetry::metrics::{self, Cut};

/// Places of the admin port.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Places of a port for `/api/` alone: whoever fills the public one takes none of them.
pub const API_CONNECTIONS: usize = 512;
/// Descriptors of a process without a limit: more than any node serves.
const DESCRIPTORS_AT_MOST: u64 = 1_048_576;
/// Descriptors for the admin port and that of `/api/`, the store, Laravel and files; a quarter where there are few.
const RESERVE: u64 = 1024;

/// Raises the limit of open descriptors to what the process may have, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let before = limit;
        limit.current = limit.maximum;
        // Best effort: the node serves as many as it may.
        if setrlimit(Resource::Nofile, limit).is_err() {
            limit = before;
        }
    }
    limit.current.unwrap_or(DESCRIPTORS_AT_MOST).min(DESCRIPTORS_AT_MOST)
}

/// How many connections `descriptors` carry: each may need a second one, to the node that it is relayed to.
fn places_in(descriptors: u64) -> usize {
    let reserve = RESERVE.min(descriptors / 4);
    usize::try_from((descriptors - reserve) / 2).unwrap_or(usize::MAX).max(1)
}

/// The connections of a port.
pub struct Connections {
    open: AtomicUsize,
    at_most: usize,
    /// 0: no bound.
    per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    /// Those that make way where the port is full.
    guests: Guests,
    numbers: AtomicU64,
    addresses: ClientAddress,
    pub(super) unfinished: Arc<Unfinished>,
}

/// Why a connection gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    Full,
    AddressFull,
}

impl Connections {
    /// `asked` 0: as many as `descriptors` carry, which is the bound in any case.
    pub fn new(asked: usize, per_address: usize, descriptors: u64, addresses: ClientAddress) -> Self {
        let carried = places_in(descriptors);
        let at_most = if asked == 0 { carried } else { asked.min(carried) };
        // No address has them all.
        let per_address = if per_address == 0 { 0 } else { per_address.min((at_most / 2).max(1)) };
        Self {
            open: AtomicUsize::new(0),
            at_most,
            per_address,
            by_address: Mutex::default(),
            guests: Guests::default(),
            numbers: AtomicU64::new(0),
            addresses,
            unfinished: Arc::default(),
        }
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub fn at_most(&self) -> usize {
        self.at_most
    }

    /// Bytes that incomplete requests hold beyond what each connection has for itself.
    pub fn unfinished_bytes(&self) -> usize {
        self.unfinished.bytes()
    }

    /// A place for a connection from `peer`: a free one, or that of a stranger who only keeps it.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Place, NoPlace> {
        let taken = self.open.fetch_add(1, Ordering::Relaxed);
        let address = (!self.addresses.trusts(peer)).then(|| self.addresses.without_headers(peer));
        let place = Place {
            connections: Arc::clone(self),
            address: Mutex::new(None),
            guest: OnceLock::new(),
            is_a_nodes: AtomicBool::new(false),
        };
        if let Some(address) = address {
            let mut by_address = self.by_address.lock();
            let open = by_address.entry(address).or_default();
            if self.per_address > 0 && *open >= self.per_address {
                return Err(NoPlace::AddressFull);
            }
            *open += 1;
            *place.address.lock() = Some(address);
        }
        if taken >= self.at_most {
            // Those that were told to go take a moment; places are counted as if each were relayed.
            if taken >= self.at_most + self.at_most / 4 || !self.guests.make_way(address) {
                return Err(NoPlace::Full);
            }
            metrics::connection_cut(Cut::Displaced);
        }
        Ok(place)
    }
}

/// A place that is taken, until it is dropped.
pub struct Place {
    connections: Arc<Connections>,
    /// Whose share it is; absent where it is nobody's.
    address: Mutex<Option<IpAddr>>,
    /// Its number among those that make way.
    guest: OnceLock<u64>,
    is_a_nodes: AtomicBool,
}

impl Place {
    /// The connection is being read: it makes way while it only waits for its client.
    pub(super) fn is_read(&self, reading: &Arc<Reading>, wire: &Wire) {
        let Some(address) = self.address() else { return };
        let number = self.connections.numbers.fetch_add(1, Ordering::Relaxed);
        if self.guest.set(number).is_ok() {
            let guest = Guest { address, reading: Arc::downgrade(reading), wire: wire.clone() };
            self.connections.guests.add(number, guest);
        }
    }

    /// The address of the other side; absent where that passes on what others ask.
    pub(super) fn address(&self) -> Option<IpAddr> {
        *self.address.lock()
    }

    /// It makes way for nobody any more.
    pub(super) fn stays(&self) {
        if let Some(number) = self.guest.get() {
            self.connections.guests.remove(*number);
        }
    }

    /// The other side is a node: its connections carry many phones.
    pub fn vouch(&self) {
        self.is_a_nodes.store(true, Ordering::Relaxed);
        self.leave();
    }

    pub(super) fn is_a_nodes(&self) -> bool {
        self.is_a_nodes.load(Ordering::Relaxed)
    }

    /// Whose request of `peer` this is; absent where a node passes it on, which has counted it.
    pub(super) fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        (!self.is_a_nodes()).then(|| self.connections.addresses.of(peer, headers))
    }

    /// What the messages of a websocket of this client draw their memory from.
    pub(super) fn budget(&self, client: IpAddr) -> Arc<dyn Budget> {
        self.connections.unfinished.budget(client)
    }

    fn leave(&self) {
        self.stays();
        let Some(address) = self.address.lock().take() else { return };
        let mut by_address = self.connections.by_address.lock();
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(asked: usize, per_address: usize, descriptors: u64) -> Arc<Connections> {
        let addresses = ClientAddress::new(vec!["10.0.0.0/8".parse().unwrap()]);
        Arc::new(Connections::new(asked, per_address, descriptors, addresses))
    }

    #[test]
    fn connections_and_their_relays_leave_descriptors_over() {
        for descriptors in [16, 256, 1024, 20_000, 262_144, DESCRIPTORS_AT_MOST] {
            let places = connections(0, 0, descriptors).at_most() as u64;
            assert!(2 * places + RESERVE.min(descriptors / 4) <= descriptors, "{places} of {descriptors}");
            assert!(places >= descriptors / 3, "{places} of {descriptors}");
            assert_eq!(connections(usize::MAX, 0, descriptors).at_most() as u64, places, "never more");
        }
        assert_eq!(connections(7, 0, 1024).at_most(), 7);
    }

    #[test]
    fn an_address_has_its_share_and_proxies_and_nodes_have_none() {
        let held = connections(8, 3, 1024);
        let of = |address: &str| held.admit(address.parse().unwrap());
        let mut places: Vec<Place> = (0..3).map(|_| of("192.0.2.1").unwrap()).collect();
        assert_eq!(of("192.0.2.1").unwrap_err(), NoPlace::AddressFull);
        assert_eq!(of("::ffff:192.0.2.1").unwrap_err(), NoPlace::AddressFull);
        places[0].vouch();
        places[0].vouch();
        places.push(of("192.0.2.1").unwrap());
        places.extend((0..4).map(|_| of("10.0.0.1").unwrap()));
        assert_eq!((of("192.0.2.2").unwrap_err(), held.open()), (NoPlace::Full, 8));
        places.clear();
        assert_eq!((held.open(), held.by_address.lock().len()), (0, 0));
    }
}
