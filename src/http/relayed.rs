//! How many requests and websockets of other nodes' sessions run through this node: so many in all, of which no address
//! has more than its share while they are scarce.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// More are refused, and a load balancer asks another node.
const AT_ONCE: usize = 20_000;
/// A websocket that lived for so long belongs to a phone: transports of strangers end before.
const A_STRANGER_LIVES: Duration = Duration::from_secs(45);

#[derive(Default)]
pub(super) struct Relays {
    open: Mutex<Open>,
    websockets: AtomicUsize,
    settled: AtomicUsize,
}

#[derive(Default)]
struct Open {
    in_all: usize,
    of_addresses: HashMap<IpAddr, usize>,
}

impl Relays {
    /// A place for what is passed on for a client; absent where there is none for it.
    pub fn begin(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        self.begin_of(AT_ONCE, client)
    }

    fn begin_of(self: &Arc<Self>, at_once: usize, client: IpAddr) -> Option<Place> {
        let mut open = self.open.lock();
        let (in_all, of_address) = (open.in_all, open.of_addresses.get(&client).copied().unwrap_or_default());
        // Carrier NAT puts thousands of phones behind one address: it is bounded only where it could keep others out.
        if in_all >= at_once || (in_all >= at_once / 2 && of_address >= at_once / 4) {
            return None;
        }
        open.in_all += 1;
        *open.of_addresses.entry(client).or_default() += 1;
        Some(Place { relays: Arc::clone(self), client })
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
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.relays.open.lock();
        open.in_all -= 1;
        if let Some(of_address) = open.of_addresses.get_mut(&self.client) {
            *of_address -= 1;
            if *of_address == 0 {
                open.of_addresses.remove(&self.client);
            }
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

    #[test]
    fn an_address_keeps_nobody_else_out() {
        let relays = Arc::new(Relays::default());
        let of = |address: &str| relays.begin_of(16, address.parse().unwrap());
        let held: Vec<Place> = std::iter::from_fn(|| of("192.0.2.1")).take(100).collect();
        assert_eq!(held.len(), 8, "half of them where nobody else wants any");
        let others: Vec<Place> = std::iter::from_fn(|| of("192.0.2.2")).take(100).collect();
        assert_eq!(others.len(), 4, "a share");
        let third: Vec<Place> = std::iter::from_fn(|| of("192.0.2.3")).take(100).collect();
        assert_eq!(third.len(), 4);
        assert!(of("192.0.2.4").is_none(), "all are taken");
        drop((held, others, third));
        let open = relays.open.lock();
        assert_eq!((open.in_all, open.of_addresses.len()), (0, 0));
    }
}
