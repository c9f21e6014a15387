use parking_lot::Mutex;

use crate::call::Call;

/// Other calls than these have gone by while a phone waits for its greeting; what is dropped heals.
const HELD: usize = 4;

/// Until a phone was told `session:ready`, what is about its calls waits: a change that comes between what the greeting
/// says and the greeting would be heard first, and undone by it.
pub struct Greeting(Mutex<Option<Vec<Call>>>);

impl Default for Greeting {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Greeting {
    /// Whether the call has to wait; then its newest record is kept.
    pub fn holds(&self, call: &Call) -> bool {
        let mut waiting = self.0.lock();
        let Some(held) = waiting.as_mut() else { return false };
        match held.iter_mut().find(|known| known.id == call.id) {
            Some(known) if call.is_before(known) => {}
            Some(known) => *known = call.clone(),
            None => {
                if held.len() == HELD {
                    held.remove(0);
                }
                held.push(call.clone());
            }
        }
        true
    }

    /// The phone was greeted: what waited, to be told now, and nothing waits any more.
    pub fn over(&self) -> Vec<Call> {
        self.0.lock().take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{Actor, Command, Timestamp};
    use crate::store::contract::{apply, call};

    /// The end of a call was told to a phone that connected, and then `session:ready` said that the call was live.
    #[test]
    fn what_comes_before_the_greeting_is_told_behind_it() {
        let now = Timestamp::from_millis(1_000_000);
        let trying = call("1", "ana", "bo", now);
        let by = Actor::over_http(&trying.caller.user, None);
        let ended = apply(&trying, Command::Cancel { by, reason: None }, now + Duration::from_secs(1));
        let greeting = Greeting::default();
        assert!(greeting.holds(&ended) && greeting.holds(&trying), "in any order");
        assert_eq!(greeting.over(), std::slice::from_ref(&ended), "once, as it stands");
        assert!(!greeting.holds(&ended) && greeting.over().is_empty());
        let greeting = Greeting::default();
        assert!((10..20).all(|id| greeting.holds(&call(&id.to_string(), "ana", "bo", now))));
        assert_eq!(greeting.over().len(), HELD, "bounded, the newest stay");
    }
}
