//! How many connections a port holds: a place and a descriptor for each, and not all for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::http::HeaderMap;
use parking_lot::Mutex;

use super::ClientAddress;
use super::descriptors::{Descriptor, Descriptors};
use super::guests::{Guest, Guests};
use super::reading::Reading;
use super::unfinished::Unfinished;
use crate::socket::{Budget, Wire};
use crate::telemetry::metrics::{self, Cut};

/// Places of the admin port.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Places of a port for `/api/` alone: whoever fills the public one takes none of them.
pub const API_CONNECTIONS: usize = 512;

/// The connections of a port.
pub struct Connections {
    open: AtomicUsize,
    at_most: usize,
    /// 0: no bound.
    per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    /// Those that make way where the port is full.
    guests: Guests,
    addresses: ClientAddress,
    descriptors: Arc<Descriptors>,
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
    pub fn new(asked: usize, per_address: usize, descriptors: Arc<Descriptors>, addresses: ClientAddress) -> Self {
        let carried = descriptors.for_connections();
        let at_most = if asked == 0 { carried } else { asked.min(carried) };
        // No address has them all.
        let per_address = if per_address == 0 { 0 } else { per_address.min((at_most / 2).max(1)) };
        Self {
            open: AtomicUsize::new(0),
            at_most,
            per_address,
            by_address: Mutex::default(),
            guests: Guests::default(),
            addresses,
            descriptors,
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
            descriptor: self.descriptors.take(),
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
        let are_scarce = self.descriptors.are_scarce();
        if taken >= self.at_most || are_scarce {
            // Those that were told to go take a moment.
            if taken >= self.at_most + self.at_most / 4 {
                return Err(NoPlace::Full);
            }
            // One for itself, and one for what it may have passed on.
            let gone = (0..=usize::from(are_scarce)).filter(|_| self.guests.make_way(address)).count();
            (0..gone).for_each(|_| metrics::connection_cut(Cut::Displaced));
            if gone == 0 || place.descriptor.is_none() {
                return Err(NoPlace::Full);
            }
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
    /// Absent only in a place that is refused.
    descriptor: Option<Descriptor>,
}

impl Place {
    /// The connection is being read: it makes way while it only waits for its client.
    pub(super) fn is_read(&self, reading: &Arc<Reading>, wire: &Wire) {
        let Some(address) = self.address() else { return };
        let number = self.connections.guests.number();
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
        Arc::new(Connections::new(asked, per_address, Descriptors::new(descriptors), addresses))
    }

    #[test]
    fn there_are_never_more_than_descriptors_carry() {
        for descriptors in [16, 256, 1024, 20_000, 262_144] {
            let carried = Descriptors::new(descriptors).for_connections();
            assert_eq!(connections(0, 0, descriptors).at_most(), carried);
            assert_eq!(connections(usize::MAX, 0, descriptors).at_most(), carried);
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
