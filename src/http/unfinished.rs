//! Bytes of requests that are not complete yet, and of large messages over websockets: so many in all, and no more than a
//! share for a client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::socket::Budget;

/// What all requests have together, beyond what each connection has for itself.
const IN_ALL: usize = 64 * 1024 * 1024;
/// What the requests of one address have of it: several phones behind one may send the largest message at once.
const OF_AN_ADDRESS: usize = IN_ALL / 4;
/// What each connection has for itself: more than phones send.
const FOR_EACH: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Unfinished {
    bytes: AtomicUsize,
    of_addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Unfinished {
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Moves what a request holds from `before` to `now` bytes; false where that is more than there is. `client` is absent
    /// as long as nobody knows whose request it is: before the head of what a proxy or a node passes on was read.
    pub fn draw(&self, client: Option<IpAddr>, before: usize, now: usize) -> bool {
        let (before, now) = (before.saturating_sub(FOR_EACH), now.saturating_sub(FOR_EACH));
        if before == now {
            return true;
        }
        let in_all = if now > before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        };
        let of_address = client.map_or(0, |client| self.draw_of(client, before, now));
        now < before || (in_all <= IN_ALL && of_address <= OF_AN_ADDRESS)
    }

    /// What the messages of a websocket of this client draw from.
    pub fn budget(self: &Arc<Self>, client: IpAddr) -> Arc<dyn Budget> {
        Arc::new(Share { unfinished: Arc::clone(self), client })
    }

    fn draw_of(&self, client: IpAddr, before: usize, now: usize) -> usize {
        let mut of_addresses = self.of_addresses.lock();
        let held = of_addresses.entry(client).or_default();
        *held = *held + now - before;
        let held = *held;
        if held == 0 {
            of_addresses.remove(&client);
        }
        held
    }
}

#[derive(Debug)]
struct Share {
    unfinished: Arc<Unfinished>,
    client: IpAddr,
}

impl Budget for Share {
    fn draw(&self, before: usize, now: usize) -> bool {
        self.unfinished.draw(Some(self.client), before, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_incomplete_requests_hold_together_is_bounded() {
        let held = Unfinished::default();
        assert!(held.draw(None, 0, FOR_EACH) && held.bytes() == 0);
        assert!(held.draw(None, 0, FOR_EACH + IN_ALL));
        assert!(!held.draw(None, 0, FOR_EACH + 1));
        held.draw(None, FOR_EACH + 1, 0);
        held.draw(None, FOR_EACH + IN_ALL, 0);
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn an_address_has_its_share_and_others_have_theirs() {
        let held = Unfinished::default();
        let [eve, ana] = ["192.0.2.1", "192.0.2.2"].map(|address| Some(address.parse().unwrap()));
        assert!(held.draw(eve, 0, FOR_EACH + OF_AN_ADDRESS));
        assert!(!held.draw(eve, 0, FOR_EACH + 1));
        assert!(held.draw(eve, 0, FOR_EACH), "what is each one's own");
        assert!(held.draw(ana, 0, FOR_EACH + OF_AN_ADDRESS));
        held.draw(eve, FOR_EACH + 1, 0);
        assert!(held.draw(eve, FOR_EACH + OF_AN_ADDRESS, FOR_EACH + 1), "less is always granted");
        assert!(held.draw(eve, FOR_EACH + 1, FOR_EACH + 1000));
        held.draw(eve, FOR_EACH + 1000, 0);
        held.draw(ana, FOR_EACH + OF_AN_ADDRESS, 0);
        assert_eq!((held.bytes(), held.of_addresses.lock().len()), (0, 0));
    }
}
