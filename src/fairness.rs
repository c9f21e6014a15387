//! Shares a rate between addresses: the fewer an address asked for lately, the earlier it is served. While there is enough
//! for all nobody is refused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

/// Half of what an address asked for is forgotten after this.
const HALF_LIFE: Duration = Duration::from_secs(5);
/// Sessions that an address had weigh half as much after this: phones that all lost their connection come back as who
/// they were.
const SESSIONS_HALF_LIFE: Duration = Duration::from_secs(60);
/// So many sessions of an address are worth as much as another address.
const SESSIONS_PER_SHARE: f64 = 4.0;
/// Addresses that are remembered; beyond it those that asked for little are forgotten, then new ones are not remembered.
const ADDRESSES: usize = 50_000;
/// What an address may have asked for lately, and what part of a second's rate is then kept from it, for those that
/// asked for less.
const KEPT: [(f64, f64); 4] = [(4.0, 0.0), (16.0, 0.1), (64.0, 0.2), (256.0, 0.3)];
const KEPT_FROM_THE_HEAVIEST: f64 = 0.4;
/// One network of IPv6 (a /48) counts like so many households (a /64).
const HOUSEHOLDS: f64 = 8.0;
/// The least that a slowed rate comes to, a second.
const SLOWEST: f64 = 2.0;

/// A rate, and who asked for how much of it. Times are those of a clock that only runs forward.
pub struct Fairness {
    /// A second; as much may be saved up.
    full: f64,
    state: Mutex<State>,
}

struct State {
    saved: f64,
    /// The rate now: less than the full one while it was slowed.
    rate: f64,
    at: Duration,
    addresses: HashMap<IpAddr, Asked>,
    /// When room was made last.
    looked_through: Option<Duration>,
}

#[derive(Default)]
struct Asked {
    count: f64,
    at: Duration,
    sessions: u32,
    /// The most sessions lately.
    had: f64,
}

impl Asked {
    fn pass_to(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.count *= 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
        self.had = (self.had * 0.5_f64.powf(passed / SESSIONS_HALF_LIFE.as_secs_f64())).max(f64::from(self.sessions));
        self.at = self.at.max(now);
    }

    /// What it asked for, by what it is.
    fn weight(&self) -> f64 {
        self.count / (1.0 + self.had / SESSIONS_PER_SHARE)
    }

    fn is_idle(&self, little: f64) -> bool {
        self.sessions == 0 && self.count < little && self.had < 1.0
    }
}

impl State {
    fn pass_to(&mut self, now: Duration, full: f64) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.saved = (self.saved + passed * self.rate).min(full);
        self.at = self.at.max(now);
    }

    /// Counts what is asked for, and says how much that was lately.
    fn ask(&mut self, address: IpAddr, count: f64, now: Duration) -> f64 {
        let own = self.count(address, count, now);
        let network = network_of(address).map_or(0.0, |network| self.count(network, count, now) / HOUSEHOLDS);
        own.max(network)
    }

    fn count(&mut self, address: IpAddr, count: f64, now: Duration) -> f64 {
        if self.addresses.len() >= ADDRESSES && !self.addresses.contains_key(&address) {
            // Looked through once a second at most, however many come.
            if self.looked_through.is_none_or(|at| now.saturating_sub(at) >= Duration::from_secs(1)) {
                self.looked_through = Some(now);
                self.forget(now, 1.0);
            }
            if self.addresses.len() >= ADDRESSES {
                // Who can't be told from a flood is no newcomer.
                return KEPT[1].0;
            }
        }
        let asked = self.addresses.entry(address).or_default();
        asked.pass_to(now);
        asked.count += count;
        asked.weight()
    }

    fn forget(&mut self, now: Duration, little: f64) {
        self.addresses.retain(|_, asked| {
            asked.pass_to(now);
            !asked.is_idle(little)
        });
    }
}

impl Fairness {
    pub fn new(per_second: u32) -> Self {
        let full = f64::from(per_second.max(1));
        let state =
            State { saved: full, rate: full, at: Duration::ZERO, addresses: HashMap::new(), looked_through: None };
        Self { full, state: Mutex::new(state) }
    }

    /// Takes one, or says when there may be one.
    pub fn take(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let weight = self.ask(address, now);
        self.take_weighing(weight, now)
    }

    /// Like [`Fairness::take`], for who was refused and has not gone: it was counted when it came.
    pub fn take_again(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let weight = self.state.lock().ask(address, 0.0, now);
        self.take_weighing(weight, now)
    }

    /// Counts what an address asks for; says how much that was lately, by what the address is.
    pub fn ask(&self, address: IpAddr, now: Duration) -> f64 {
        self.state.lock().ask(address, 1.0, now)
    }

    /// Takes one for an address that asked for so much lately, or says when there may be one.
    pub fn take_weighing(&self, weight: f64, now: Duration) -> Result<(), Duration> {
        let mut state = self.state.lock();
        state.pass_to(now, self.full);
        let kept = KEPT.iter().find(|(most, _)| weight <= *most).map_or(KEPT_FROM_THE_HEAVIEST, |(_, kept)| *kept);
        let missing = (kept * self.full).min(self.full - 1.0) + 1.0 - state.saved;
        // What was added up may lack a rounding error.
        if missing > 1e-9 {
            return Err(Duration::from_secs_f64(missing / state.rate));
        }
        state.saved -= 1.0;
        Ok(())
    }

    /// Counts what an address asked for and got or was refused elsewhere.
    pub fn note(&self, address: IpAddr, count: u32, now: Duration) {
        self.state.lock().ask(address, f64::from(count), now);
    }

    /// A session came from the address.
    pub fn came(&self, address: IpAddr, now: Duration) {
        let mut state = self.state.lock();
        state.count(address, 0.0, now);
        if let Some(asked) = state.addresses.get_mut(&address) {
            asked.sessions += 1;
            asked.had = asked.had.max(f64::from(asked.sessions));
        }
    }

    /// A session that [`Fairness::came`] is gone.
    pub fn left(&self, address: IpAddr, now: Duration) {
        if let Some(asked) = self.state.lock().addresses.get_mut(&address) {
            asked.pass_to(now);
            asked.sessions = asked.sessions.saturating_sub(1);
        }
    }

    /// Halves the rate, and what was saved up.
    pub fn slow(&self) {
        let mut state = self.state.lock();
        state.rate = (state.rate / 2.0).max(SLOWEST.min(self.full));
        state.saved = state.saved.min(state.rate);
    }

    /// Doubles a rate that was slowed; says whether it still is.
    pub fn hasten(&self) -> bool {
        let mut state = self.state.lock();
        state.rate = (state.rate * 2.0).min(self.full);
        state.rate < self.full
    }

    /// Forgets addresses that asked for nothing lately.
    pub fn clean(&self, now: Duration) {
        self.state.lock().forget(now, 0.1);
    }
}

/// The /48 of an IPv6 address; an address of it that is no household's.
pub fn network_of(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 80 << 80 | 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn newcomers_are_served_in_a_flood_and_the_flood_gets_the_rest() {
        let fairness = Fairness::new(100);
        let (mut flood, mut newcomers, mut asked) = (0, 0, 0);
        for step in 0..3000 {
            let now = STEP * step;
            for attacker in 0..10 {
                flood += usize::from(fairness.take(address(attacker), now).is_ok());
            }
            if step % 2 == 0 {
                asked += 1;
                newcomers += usize::from(fairness.take(address(1000 + step), now).is_ok());
            }
        }
        assert_eq!(newcomers, asked);
        assert!((1400..1700).contains(&flood), "{flood} of the flood in 30 s at 50 a second that nobody else wanted");
    }

    #[test]
    fn one_address_gets_all_that_nobody_else_wants() {
        let fairness = Fairness::new(100);
        let served = (0..2000).filter(|step| fairness.take(address(1), STEP * *step).is_ok()).count();
        assert!(served >= 1990, "{served} of 2000 at the full rate");
    }

    #[test]
    fn an_address_with_sessions_counts_as_many() {
        let served = |sessions: u32| {
            let (fairness, home) = (Fairness::new(100), address(7));
            (0..sessions).for_each(|_| fairness.came(home, Duration::ZERO));
            (0..sessions).for_each(|_| fairness.left(home, Duration::ZERO));
            // The flood takes what it may.
            while fairness.take(address(1), Duration::ZERO).is_ok() {}
            (0..100).filter(|_| fairness.take(home, Duration::ZERO).is_ok()).count()
        };
        let (known, unknown) = (served(200), served(0));
        assert!(known >= 28, "{known} of the phones that lost their connection");
        assert!(unknown <= 20, "{unknown} of an unknown address");
    }

    #[test]
    fn many_households_of_one_network_are_one_flood() {
        let fairness = Fairness::new(100);
        let served = (0..1000_u128)
            .filter(|household| {
                let address = Ipv6Addr::from_bits((0x2001_0db8_0001 << 80) | household << 64);
                fairness.take(address.into(), Duration::ZERO).is_ok()
            })
            .count();
        assert!(served <= 90, "{served} of 100");
        assert!(fairness.take(address(1), Duration::ZERO).is_ok());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let fairness = Fairness::new(100);
        for number in 0..2 * ADDRESSES {
            let _ = fairness.take(address(u32::try_from(number).unwrap()), Duration::ZERO);
        }
        assert!(fairness.state.lock().addresses.len() <= ADDRESSES);
        fairness.clean(Duration::from_secs(60));
        assert!(fairness.state.lock().addresses.is_empty());
    }

    #[test]
    fn a_slowed_rate_is_never_nothing_and_is_hastened_again() {
        let fairness = Fairness::new(64);
        (0..20).for_each(|_| fairness.slow());
        let now = Duration::from_secs(10);
        let newcomers = (0..100).filter(|step| fairness.take(address(*step), now + STEP * *step).is_ok()).count();
        assert!((10..=25).contains(&newcomers), "{newcomers}");
        assert_eq!((0..5).filter(|_| fairness.hasten()).count(), 4);
        let later = now + Duration::from_secs(10);
        let served = (200..300).filter(|step| fairness.take(address(*step), later).is_ok()).count();
        assert_eq!(served, 64);
    }
}
