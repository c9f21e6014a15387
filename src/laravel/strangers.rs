//! Tokens that nobody has vouched for yet: what they may ask of Laravel, by the address they come from. Who guesses tokens,
//! or makes a firewall answer in Laravel's place, slows down himself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::client::Whose;
use crate::call::{TokenHash, UserId};
use crate::clock::Clock;
use crate::fairness::Fairness;
use crate::telemetry::metrics;

/// A token that Laravel refused is refused again so long without asking.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Tokens that were refused, and addresses, remembered at most; beyond it what is over goes, and if that is not enough
/// all refusals, and all addresses that nobody waits at.
const REFUSED: usize = 20_000;
const ADDRESSES: usize = 50_000;
/// Requests a second for one address, and saved up at most; by whether a token from there was good lately.
const PER_SECOND: [f64; 2] = [20.0, 80.0];
const SAVED: [f64; 2] = [40.0, 80.0];
/// Requests at the same time for one address. Ten that are no good leave places for others.
const AT_ONCE: [usize; 2] = [2, 16];
/// After so many failures in a row an address waits: this, doubled with each more.
const FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(2)];
/// A request that fails counts as so many for fairness, by whether the address goes on failing.
const FAILED_COUNTS: [u32; 2] = [4, 16];
/// Handshakes that are held until they may ask; beyond it their transport is closed at once.
const HELD: usize = 4000;
const HELD_FOR_AN_ADDRESS: [usize; 2] = [64, 1000];
/// Half of the good and of the bad of an address is forgotten after this.
const GOOD_HALF_LIFE: Duration = Duration::from_secs(600);
const BAD_HALF_LIFE: Duration = Duration::from_secs(60);
/// Users whose token has just run out are no attack.
const BAD_AT_LEAST: f64 = 3.0;

/// Bounds of what is asked for tokens that were never seen.
pub(super) struct Strangers {
    clock: Clock,
    /// What Laravel is asked a second for all of them. Slowed by failures.
    fairness: Fairness,
    addresses: Mutex<HashMap<IpAddr, Account>>,
    refused: Mutex<HashMap<TokenHash, Refusal>>,
    /// Handshakes that are held now.
    held: AtomicUsize,
}

struct Refusal {
    /// Who claimed to be its owner.
    user: UserId,
    at: Duration,
}

#[derive(Default)]
struct Account {
    /// Tokens that were good, and that were refused, lately.
    good: f64,
    bad: f64,
    saved: Option<f64>,
    asking: usize,
    held: usize,
    /// In a row.
    failures: u32,
    pause: Duration,
    /// Nothing is asked before this.
    until: Duration,
    at: Duration,
}

impl Account {
    fn pass_to(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.good *= 0.5_f64.powf(passed / GOOD_HALF_LIFE.as_secs_f64());
        self.bad *= 0.5_f64.powf(passed / BAD_HALF_LIFE.as_secs_f64());
        self.at = self.at.max(now);
        let class = self.class();
        let saved = self.saved.unwrap_or(SAVED[class]) + passed * PER_SECOND[class];
        self.saved = Some(saved.min(SAVED[class]));
    }

    fn is_good(&self) -> bool {
        self.good >= 0.5 && self.bad <= BAD_AT_LEAST + self.good
    }

    fn class(&self) -> usize {
        usize::from(self.is_good())
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.asking == 0 && self.held == 0 && now.saturating_sub(self.at) > BAD_HALF_LIFE && self.good < 0.5
    }
}

/// Leave to ask Laravel for one token, until it is dropped.
pub(super) struct Leave<'s> {
    strangers: &'s Strangers,
    address: IpAddr,
    /// Tokens from there were good lately.
    pub is_good: bool,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.strangers.with(self.address, |account, _| account.asking = account.asking.saturating_sub(1));
    }
}

/// A handshake that is held, until it is dropped.
pub(super) struct Held<'s> {
    strangers: &'s Strangers,
    address: IpAddr,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.strangers.held.fetch_sub(1, Ordering::Relaxed);
        self.strangers.with(self.address, |account, _| account.held = account.held.saturating_sub(1));
    }
}

impl Strangers {
    /// `per_second`: what Laravel is asked for all of them.
    pub fn new(per_second: u32, clock: Clock) -> Self {
        Self {
            clock,
            fairness: Fairness::new(per_second),
            addresses: Mutex::default(),
            refused: Mutex::default(),
            held: AtomicUsize::new(0),
        }
    }

    fn with<T>(&self, address: IpAddr, work: impl FnOnce(&mut Account, Duration) -> T) -> T {
        let now = self.clock.elapsed();
        let mut addresses = self.addresses.lock();
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&address) {
            forget(&mut addresses, now);
        }
        let account = addresses.entry(address).or_default();
        account.pass_to(now);
        work(account, now)
    }

    /// Leave to ask for a token from this address, where there is any now. `again`: it was refused before.
    pub fn leave(&self, address: IpAddr, again: bool) -> Option<Leave<'_>> {
        let is_good = self.with(address, |account, now| {
            let class = account.class();
            let saved = account.saved.unwrap_or_default();
            if now < account.until || account.asking >= AT_ONCE[class] || saved < 1.0 {
                if !again {
                    self.fairness.note(address, 1, now);
                }
                return None;
            }
            let taken = if again { self.fairness.take_again(address, now) } else { self.fairness.take(address, now) };
            taken.ok()?;
            account.saved = Some(saved - 1.0);
            account.asking += 1;
            // While it fails one at a time is tried.
            if account.failures >= FAILURES {
                account.until = now + account.pause;
            }
            Some(account.is_good())
        })?;
        Some(Leave { strangers: self, address, is_good })
    }

    /// A place to wait for leave; absent where too many wait.
    pub fn hold(&self, address: IpAddr) -> Option<Held<'_>> {
        self.with(address, |account, _| {
            let fits = account.held < HELD_FOR_AN_ADDRESS[account.class()] && self.held.load(Ordering::Relaxed) < HELD;
            account.held += usize::from(fits);
            self.held.fetch_add(usize::from(fits), Ordering::Relaxed);
            fits
        })
        .then_some(Held { strangers: self, address })
    }

    /// Learns from an answer. What `user` claimed is refused again for a while without asking.
    pub fn learn(&self, address: IpAddr, token: TokenHash, user: &UserId, answer: &Whose) {
        match answer {
            Whose::Valid(_) => self.with(address, |account, _| {
                account.good += 1.0;
                (account.failures, account.pause, account.until) = Default::default();
                self.hasten();
            }),
            Whose::Invalid => {
                self.with(address, |account, now| {
                    account.bad += 1.0;
                    self.fairness.note(address, 1, now);
                    (account.failures, account.pause, account.until) = Default::default();
                    self.hasten();
                });
                self.refuse(token, user);
            }
            Whose::Unasked => {}
            Whose::Unavailable => self.with(address, |account, now| {
                account.failures += 1;
                if account.failures >= FAILURES {
                    account.pause = (account.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE[account.class()]);
                    account.until = now + account.pause;
                }
                // One address can't slow the others down for long, and what is slow is for those that do not fail.
                let goes_on_failing = account.failures > FAILURES;
                self.fairness.note(address, FAILED_COUNTS[usize::from(goes_on_failing)], now);
                if !goes_on_failing {
                    self.fairness.slow();
                    metrics::new_tokens_slowed(1);
                }
            }),
        }
    }

    fn hasten(&self) {
        metrics::new_tokens_slowed(usize::from(self.fairness.hasten()));
    }

    /// Who brought a token that is known is no stranger.
    pub fn met(&self, address: IpAddr) {
        self.with(address, |account, _| account.good = account.good.max(1.0));
    }

    /// Laravel refused the token, which `user` claimed.
    pub fn refuse(&self, token: TokenHash, user: &UserId) {
        let now = self.clock.elapsed();
        let mut refused = self.refused.lock();
        if refused.len() >= REFUSED {
            refused.retain(|_, refusal| now.saturating_sub(refusal.at) < REFUSED_FOR);
            if refused.len() >= REFUSED {
                refused.clear();
            }
        }
        refused.insert(token, Refusal { user: user.clone(), at: now });
    }

    /// Whether Laravel refused the token a moment ago.
    pub fn was_refused(&self, token: &TokenHash) -> bool {
        let now = self.clock.elapsed();
        self.refused.lock().get(token).is_some_and(|refusal| now.saturating_sub(refusal.at) < REFUSED_FOR)
    }

    /// The next token of the user is asked for anew.
    pub fn forget(&self, user: &UserId) {
        self.refused.lock().retain(|_, refusal| refusal.user != *user);
    }

    /// Forgets addresses that asked for nothing lately.
    pub fn clean(&self) {
        let now = self.clock.elapsed();
        self.addresses.lock().retain(|_, account| !account.is_idle(now));
        self.refused.lock().retain(|_, refusal| now.saturating_sub(refusal.at) < REFUSED_FOR);
        self.fairness.clean(now);
    }
}

/// Makes room for another address.
fn forget(addresses: &mut HashMap<IpAddr, Account>, now: Duration) {
    addresses.retain(|_, account| !account.is_idle(now));
    if addresses.len() >= ADDRESSES {
        addresses.retain(|_, account| account.asking > 0 || account.held > 0);
    }
}
