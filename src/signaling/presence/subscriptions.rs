//! The presence subscriptions on this node.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{DAMPING, MAX_SUBSCRIPTIONS, SubscribeError};
use crate::call::{SessionId, UserId};
use crate::clock::Clock;
use crate::signaling::sessions::Session;
use crate::telemetry::metrics;

/// Which sessions of this node subscribed to whom.
#[derive(Default)]
pub struct Subscriptions {
    books: Mutex<Books>,
    someone_left: Notify,
    doubted: Notify,
}

#[derive(Default)]
struct Books {
    users: HashMap<UserId, Subscribed>,
    sessions: HashMap<SessionId, HashSet<UserId>>,
    /// Those of the users who seem to have gone, and since when: whether they stay away is not known yet.
    left: HashMap<UserId, Duration>,
}

#[derive(Default)]
struct Subscribed {
    by: HashMap<SessionId, Arc<Session>>,
    /// What the subscribers were last told.
    online: Option<bool>,
}

impl Subscriptions {
    /// Notes the subscription and returns the users that nobody here had subscribed to.
    pub fn add(&self, session: &Arc<Session>, users: &[UserId]) -> Result<Vec<UserId>, SubscribeError> {
        let books = &mut *self.books.lock();
        let subscribed = books.sessions.entry(session.id.clone()).or_default();
        let more = users.iter().filter(|user| !subscribed.contains(*user)).collect::<HashSet<_>>().len();
        if subscribed.len() + more > MAX_SUBSCRIPTIONS {
            return Err(SubscribeError::TooMany);
        }
        let mut new = Vec::new();
        for user in users {
            subscribed.insert(user.clone());
            let entry = books.users.entry(user.clone()).or_default();
            if entry.by.is_empty() {
                new.push(user.clone());
            }
            entry.by.insert(session.id.clone(), Arc::clone(session));
        }
        metrics::subscribed_users(books.users.len());
        Ok(new)
    }

    /// Ends subscriptions of a session (all of them without `users`); returns the users that nobody here subscribes to
    /// now.
    pub fn remove(&self, session: &SessionId, users: Option<&[UserId]>) -> Vec<UserId> {
        let books = &mut *self.books.lock();
        let Some(subscribed) = books.sessions.get_mut(session) else { return vec![] };
        let leaving: Vec<UserId> = match users {
            Some(users) => users.iter().filter(|user| subscribed.remove(*user)).cloned().collect(),
            None => subscribed.drain().collect(),
        };
        if subscribed.is_empty() {
            books.sessions.remove(session);
        }
        let mut no_longer_subscribed = Vec::new();
        for user in leaving {
            if let Some(entry) = books.users.get_mut(&user) {
                entry.by.remove(session);
                if entry.by.is_empty() {
                    books.users.remove(&user);
                    books.left.remove(&user);
                    no_longer_subscribed.push(user);
                }
            }
        }
        metrics::subscribed_users(books.users.len());
        no_longer_subscribed
    }

    pub fn all(&self) -> Vec<UserId> {
        self.books.lock().users.keys().cloned().collect()
    }

    /// A user came: the sessions to tell, if this is news to them. If he also seems to have left, that is looked at once more.
    pub fn came(&self, user: &UserId, now: Duration) -> Vec<Arc<Session>> {
        let mut books = self.books.lock();
        if let Some(since) = books.left.get_mut(user) {
            *since = now;
        }
        books.news(user, true)
    }

    /// Notes that users seem to have left; whether they stay away shows after [`DAMPING`].
    pub fn left<'a>(&self, users: impl IntoIterator<Item = &'a UserId>, now: Duration) {
        let books = &mut *self.books.lock();
        for user in users {
            if books.users.contains_key(user) {
                books.left.insert(user.clone(), now);
            }
        }
        self.someone_left.notify_one();
    }

    /// Waits until there are users who left [`DAMPING`] ago or before that moment, which is returned, and were not
    /// reported as gone. They are returned again until they were [`Subscriptions::looked_for`].
    pub async fn who_left(&self, clock: &Clock) -> (Vec<UserId>, Duration) {
        loop {
            let now = clock.uptime();
            let by = now.saturating_sub(DAMPING);
            let (due, next) = self.books.lock().due(by);
            if !due.is_empty() {
                return (due, by);
            }
            match next {
                Some(since) => clock.sleep((since + DAMPING).saturating_sub(now)).await,
                None => self.someone_left.notified().await,
            }
        }
    }

    /// A user who had left by that moment was looked for: the sessions to tell that he is gone, if he is and this is news to
    /// them. If he came and left again meanwhile, he is looked for again.
    pub fn looked_for(&self, user: &UserId, by: Duration, is_there: bool) -> Vec<Arc<Session>> {
        let mut books = self.books.lock();
        if books.left.get(user).is_none_or(|since| *since > by) {
            return vec![];
        }
        books.left.remove(user);
        if is_there { vec![] } else { books.news(user, false) }
    }

    /// What subscribers were told may be wrong.
    pub fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits until somebody doubts it: once for all who did since the last time.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Whether the subscribers know that this user is offline.
    pub fn know_gone(&self, user: &UserId) -> bool {
        self.books.lock().users.get(user).is_none_or(|subscribed| subscribed.online == Some(false))
    }

    /// What a subscriber was just answered is told to him already.
    pub fn answered(&self, user: &UserId, online: bool) {
        if let Some(subscribed) = self.books.lock().users.get_mut(user) {
            subscribed.online.get_or_insert(online);
        }
    }
}

impl Books {
    /// The sessions to tell, if this is news to them.
    fn news(&mut self, user: &UserId, online: bool) -> Vec<Arc<Session>> {
        let Some(subscribed) = self.users.get_mut(user) else { return vec![] };
        if subscribed.online.replace(online) == Some(online) {
            return vec![];
        }
        subscribed.by.values().cloned().collect()
    }

    /// Who left by that moment, and when the first of the others did. Who is known to be gone need not be looked for.
    fn due(&mut self, by: Duration) -> (Vec<UserId>, Option<Duration>) {
        let (mut due, mut next) = (Vec::new(), None);
        let users = &self.users;
        self.left.retain(|user, since| {
            if *since > by {
                next = Some(next.map_or(*since, |first: Duration| first.min(*since)));
                return true;
            }
            let is_unknown = users.get(user).is_some_and(|subscribed| subscribed.online != Some(false));
            if is_unknown {
                due.push(user.clone());
            }
            is_unknown
        });
        (due, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Timestamp;

    fn subscribed_to(users: &[(&UserId, Option<bool>)]) -> Subscriptions {
        let subscriptions = Subscriptions::default();
        for (user, online) in users {
            let subscribed = Subscribed { online: *online, ..Subscribed::default() };
            subscriptions.books.lock().users.insert((*user).clone(), subscribed);
        }
        subscriptions
    }

    #[tokio::test]
    async fn who_left_is_looked_for_once_until_he_comes_back() {
        let (clock, second) = (Clock::manual(Timestamp::from_millis(1_000_000)), Duration::from_secs(1));
        let [ana, bo, cleo, dan] = ["ana", "bo", "cleo", "dan"].map(|name| UserId::parse(name).unwrap());
        let subscriptions = subscribed_to(&[(&ana, Some(true)), (&bo, None), (&cleo, Some(false))]);
        subscriptions.left([&ana, &cleo, &dan], clock.uptime());
        assert_eq!(subscriptions.books.lock().left.len(), 2, "nobody subscribed to dan");
        clock.advance(second);
        subscriptions.left([&bo], clock.uptime());
        clock.advance(DAMPING - second);
        let (left, by) = subscriptions.who_left(&clock).await;
        assert_eq!(left, std::slice::from_ref(&ana), "of cleo it is known");
        // It takes a while to look for him, and he comes meanwhile.
        clock.advance(second);
        subscriptions.came(&ana, clock.uptime());
        subscriptions.looked_for(&ana, by, false);
        assert!(!subscriptions.know_gone(&ana));
        let (left, by) = subscriptions.who_left(&clock).await;
        assert_eq!(left, std::slice::from_ref(&bo));
        subscriptions.looked_for(&bo, by, false);
        assert!(subscriptions.know_gone(&bo));
        clock.advance(DAMPING);
        let (left, by) = subscriptions.who_left(&clock).await;
        assert_eq!(left, std::slice::from_ref(&ana), "he may have left once more");
        subscriptions.looked_for(&ana, by, true);
        assert!(!subscriptions.know_gone(&ana) && subscriptions.books.lock().left.is_empty());
    }

    #[tokio::test]
    async fn doubts_are_looked_at_once() {
        let subscriptions = Subscriptions::default();
        (0..100).for_each(|_| subscriptions.doubt());
        subscriptions.doubted().await;
        assert!(futures_util::FutureExt::now_or_never(subscriptions.doubted()).is_none());
    }
}
