//! Users whom Laravel turns away with 429, or to whom it answers nothing of use: each waits for himself. Its limits are
//! those of a user, and one who uses his up, or asks what it fails at, must not have it left in peace by everybody else.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;

use super::token::hash_of;
use crate::call::{TokenHash, UserId};

/// Where Laravel names no time.
const PAUSE: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// So many failures of one user say something about Laravel, until it answers anybody; the others about what he asks.
const FAILURES_OF_LARAVEL: u32 = 2;
/// After so many he waits.
const FAILURES: u32 = 5;
/// Beyond it all are forgotten: a request more is made for each.
const REMEMBERED: usize = 50_000;

/// Who is turned away: a user with all his tokens, as far as they came by here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Payer {
    User(UserId),
    Token(TokenHash),
}

#[derive(Default)]
pub(super) struct Throttled(Mutex<State>);

#[derive(Default)]
struct State {
    owners: HashMap<TokenHash, UserId>,
    /// Nothing is asked with their tokens before this, on a clock that only runs forward.
    until: HashMap<Payer, Duration>,
    /// Since Laravel answered anybody.
    in_a_row: HashSet<Payer>,
    /// How often it failed since then, and when last.
    failures: HashMap<Payer, (u32, Duration)>,
}

impl State {
    fn payer(&self, token: &str) -> Payer {
        let hash = hash_of(token);
        self.owners.get(&hash).map_or(Payer::Token(hash), |user| Payer::User(user.clone()))
    }
}

impl Throttled {
    /// Whose a token is.
    pub fn knows(&self, token: TokenHash, user: &UserId) {
        let mut state = self.0.lock();
        if state.owners.len() >= REMEMBERED {
            state.owners.clear();
        }
        state.owners.insert(token, user.clone());
    }

    /// How long nothing is to be asked with this token; absent where it may be.
    pub fn waits(&self, token: &str, now: Duration) -> Option<Duration> {
        let mut state = self.0.lock();
        if state.until.is_empty() {
            return None;
        }
        let payer = state.payer(token);
        let until = *state.until.get(&payer)?;
        if until > now {
            return Some(until - now);
        }
        state.until.remove(&payer);
        None
    }

    /// Laravel said 429 to this token. True where that says something about Laravel: it has not to this user since it
    /// answered anybody.
    pub fn turned_away(&self, token: &str, wait: Option<Duration>, now: Duration) -> bool {
        let mut state = self.0.lock();
        let payer = state.payer(token);
        if state.until.len() >= REMEMBERED {
            state.until.retain(|_, until| *until > now);
            if state.until.len() >= REMEMBERED {
                state.until.clear();
            }
        }
        state.until.insert(payer.clone(), now + wait.unwrap_or(PAUSE).clamp(SHORTEST, LONGEST));
        // More are not told apart: with so many it is no user's own limit.
        state.in_a_row.len() >= REMEMBERED || state.in_a_row.insert(payer)
    }

    /// Whether a question with this token would only fail once more. What is to be done is said all the same: its time may run
    /// out.
    pub fn fails(&self, token: &str, now: Duration) -> bool {
        let state = self.0.lock();
        let is_paused = |(failures, last): &(u32, Duration)| *failures >= FAILURES && *last + PAUSE > now;
        !state.failures.is_empty() && state.failures.get(&state.payer(token)).is_some_and(is_paused)
    }

    /// Laravel failed to answer this token. True where that says something about Laravel.
    pub fn failed(&self, token: &str, now: Duration) -> bool {
        let mut state = self.0.lock();
        let payer = state.payer(token);
        if state.failures.len() >= REMEMBERED && !state.failures.contains_key(&payer) {
            return true;
        }
        let (failures, last) = state.failures.entry(payer).or_default();
        (*failures, *last) = (failures.saturating_add(1), now);
        *failures <= FAILURES_OF_LARAVEL
    }

    /// Laravel answered somebody.
    pub fn answered(&self) {
        let mut state = self.0.lock();
        state.in_a_row.clear();
        state.failures.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_user_waits_with_all_his_tokens_and_nobody_else() {
        let (throttled, ana) = (Throttled::default(), UserId::parse("ana").unwrap());
        ["a", "b"].iter().for_each(|token| throttled.knows(hash_of(token), &ana));
        assert!(throttled.turned_away("a", Some(20 * SECOND), SECOND));
        assert_eq!(throttled.waits("b", 2 * SECOND), Some(19 * SECOND));
        assert_eq!(throttled.waits("of somebody else", 2 * SECOND), None);
        assert_eq!(throttled.waits("a", 21 * SECOND), None);
        assert!(throttled.turned_away("of nobody known", None, SECOND));
        assert_eq!(throttled.waits("of nobody known", SECOND), Some(PAUSE));
        assert!(throttled.turned_away("for a day", Some(86_400 * SECOND), SECOND));
        assert_eq!(throttled.waits("for a day", SECOND), Some(LONGEST));
    }

    #[test]
    fn who_asks_what_laravel_fails_at_waits_and_says_little_of_it() {
        let (throttled, ana) = (Throttled::default(), UserId::parse("ana").unwrap());
        let tokens = ["a", "b", "c"];
        tokens.iter().for_each(|token| throttled.knows(hash_of(token), &ana));
        let says = |times: usize| (0..times).filter(|time| throttled.failed(tokens[time % 3], SECOND)).count();
        assert_eq!(says(4), 2);
        assert!(!throttled.fails("a", SECOND));
        assert_eq!(says(1), 0);
        assert!(throttled.fails("b", SECOND) && !throttled.fails("a", SECOND + PAUSE));
        assert!(!throttled.fails("of somebody else", SECOND));
        assert_eq!(throttled.waits("a", SECOND), None, "what she does is said");
        assert!(throttled.failed("of somebody else", SECOND));
        throttled.answered();
        assert!(!throttled.fails("b", SECOND));
        assert_eq!(says(4), 2);
    }

    #[test]
    fn a_user_says_something_of_laravel_once_until_it_answers_somebody() {
        let (throttled, ana) = (Throttled::default(), UserId::parse("ana").unwrap());
        let tokens = ["a", "b", "c"];
        tokens.iter().for_each(|token| throttled.knows(hash_of(token), &ana));
        let says = || tokens.iter().filter(|token| throttled.turned_away(token, None, SECOND)).count();
        assert_eq!((says(), says()), (1, 0));
        assert!(throttled.turned_away("of somebody else", None, SECOND));
        throttled.answered();
        assert_eq!(says(), 1);
    }
}
