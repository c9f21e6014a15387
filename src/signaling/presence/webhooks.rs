//! The backend is told by webhook who came and who went, one message a user in [`DAMPING`](super::DAMPING), however often he does.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::calls::OutboxMessages;
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

#[derive(Default)]
struct Watch {
    /// He left again since it was looked whether he stays away.
    left_again: bool,
    came_back: bool,
}

impl Leaving {
    /// Notes that a user left. False where he is one who left a moment ago: whoever waits for him goes on waiting.
    pub(super) fn left(&self, user: &UserId) -> bool {
        let mut leaving = self.0.lock();
        let known = leaving.get_mut(user).map(|watch| watch.left_again = true);
        known.is_none() && leaving.insert(user.clone(), Watch::default()).is_none()
    }

    /// Notes that a user came; whether he is one who left a moment ago.
    pub(super) fn came_back(&self, user: &UserId) -> bool {
        self.0.lock().get_mut(user).map(|watch| watch.came_back = true).is_some()
    }

    /// A departure is long enough ago. Where it is the last one: whether the user came back meanwhile.
    pub(super) fn is_over(&self, user: &UserId) -> Option<bool> {
        let mut leaving = self.0.lock();
        let watch = leaving.get_mut(user)?;
        if std::mem::take(&mut watch.left_again) {
            return None;
        }
        leaving.remove(user).map(|watch| watch.came_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_leaves_again_and_again_is_waited_for_once() {
        let (leaving, ana, bo) = (Leaving::default(), UserId::stored("ana").unwrap(), UserId::stored("bo").unwrap());
        assert!(!leaving.came_back(&ana), "he comes for the first time");
        assert!(leaving.left(&ana) && leaving.left(&bo));
        assert!(leaving.came_back(&ana));
        assert!((0..1000).all(|_| !leaving.left(&ana)));
        assert_eq!(leaving.is_over(&ana), None, "the last departure is the one that is judged");
        assert_eq!(leaving.is_over(&ana), Some(true));
        assert_eq!(leaving.is_over(&bo), Some(false));
        assert!(!leaving.came_back(&ana) && leaving.0.lock().is_empty());
    }
}
