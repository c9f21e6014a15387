//! The backend is told by webhook who came and who went, one message a user in [`DAMPING`], however often he does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::calls::OutboxMessages;
use super::DAMPING;
use crate::call::UserId;
use crate::store::Outbox;

/// Appends what the backend is told of users.
pub struct PresenceWebhooks {
    pub outbox: Arc<dyn Outbox>,
    pub messages: Arc<OutboxMessages>,
    pub leaving: Leaving,
}

impl PresenceWebhooks {
    /// Best effort: what can't be written is not told.
    pub(super) async fn append(&self, user: &UserId, online: bool) {
        let message = self.messages.of_presence(user, online);
        match self.outbox.append(std::slice::from_ref(&message)).await {
            Ok(()) => self.messages.posted(&[message]),
            Err(error) => tracing::debug!(%error, "a user's presence could not be posted"),
        }
    }
}

/// Users who left a moment ago: whether they stay away is not known yet, and nothing is told of them meanwhile.
#[derive(Default)]
pub struct Leaving(Mutex<HashMap<UserId, Watch>>);

struct Watch {
    /// When he left last, on a clock that only runs forward.
    left_at: Duration,
    came_back: bool,
}

impl Leaving {
    /// Notes that a user left. False where he is one who left a moment ago: whoever waits for him goes on waiting.
    pub(super) fn left(&self, user: &UserId, now: Duration) -> bool {
        match self.0.lock().entry(user.clone()) {
            Entry::Occupied(mut watch) => {
                watch.get_mut().left_at = now;
                false
            }
            Entry::Vacant(place) => {
                place.insert(Watch { left_at: now, came_back: false });
                true
            }
        }
    }

    /// Notes that a user came; whether he is one who left a moment ago.
    pub(super) fn came_back(&self, user: &UserId) -> bool {
        self.0.lock().get_mut(user).map(|watch| watch.came_back = true).is_some()
    }

    /// Whether the user came back since he was waited for, once his last departure is [`DAMPING`] ago; until then, how long
    /// that takes.
    pub(super) fn is_over(&self, user: &UserId, now: Duration) -> Result<bool, Duration> {
        let mut leaving = self.0.lock();
        let rest = leaving.get(user).map_or(Duration::ZERO, |watch| (watch.left_at + DAMPING).saturating_sub(now));
        if rest > Duration::ZERO {
            return Err(rest);
        }
        Ok(leaving.remove(user).is_some_and(|watch| watch.came_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_leaves_again_and_again_is_waited_for_once() {
        let (leaving, ana, bo) = (Leaving::default(), UserId::stored("ana").unwrap(), UserId::stored("bo").unwrap());
        let at = Duration::from_secs;
        assert!(!leaving.came_back(&ana), "he comes for the first time");
        assert!(leaving.left(&ana, at(10)) && leaving.left(&bo, at(10)));
        assert!(leaving.came_back(&ana));
        assert!((0..1000).all(|_| !leaving.left(&ana, at(12))));
        assert_eq!(leaving.is_over(&ana, at(13)), Err(at(2)), "the last departure is the one that is judged");
        assert_eq!(leaving.is_over(&ana, at(15)), Ok(true));
        assert_eq!(leaving.is_over(&bo, at(13)), Ok(false));
        assert!(!leaving.came_back(&ana) && leaving.0.lock().is_empty());
    }
}
