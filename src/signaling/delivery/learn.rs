//! Changes of calls that this node did not hear of when they happened.

use std::sync::Arc;

use super::Delivery;
use crate::call::{Call, UserId};
use crate::signaling::calls::ended_unheard;
use crate::signaling::sessions::Session;
use crate::telemetry::trace::Kind;
use crate::telemetry::{About, metrics};

impl Delivery {
    /// A call that changed on another node.
    pub fn take(self: &Arc<Self>, users: &[UserId], call: &Call) {
        if users.iter().any(|user| self.local.holds(user)) {
            self.cache.see(call, self.node.now());
        }
        for user in users {
            self.tell_here(call, user);
        }
    }

    /// A call that was read and is live, or was here, is told where it has changed unnoticed; others are only noted.
    pub fn learn_if_news(self: &Arc<Self>, call: &Call) {
        if self.is_news(call) {
            self.learn(call);
        } else {
            self.cache.see(call, self.node.now());
        }
    }

    /// Comparing finds nothing to tell in what the cache has seen: who reads a record tells what this node had not.
    fn is_news(&self, call: &Call) -> bool {
        self.cache.last_seen(&call.id).map_or(call.is_live(), |seen| seen.version != call.version)
    }

    /// The same for a call that was read for a session which connects, and is told to that one by replay.
    pub fn learn_beside(self: &Arc<Self>, session: &Session, call: &Call) {
        let is_news = self.is_news(call);
        self.cache.see(call, self.node.now());
        if is_news {
            for user in [&call.caller.user, &call.callee.user] {
                self.tell_here_but(call, user, Some(&session.id));
            }
        }
    }

    /// Takes note of a call as it was just read, and tells the sessions here what they have not heard of it.
    /// True where there was something to tell.
    pub fn learn(self: &Arc<Self>, call: &Call) -> bool {
        self.cache.see(call, self.node.now());
        let parties = [&call.caller.user, &call.callee.user];
        parties.map(|user| self.tell_here(call, user)).contains(&true)
    }

    /// What was not told when it happened.
    pub async fn learn_healed(self: &Arc<Self>, call: &Call) {
        // Not every change is told: a push that was asked for concerns no phone.
        let learn = async { self.learn(call) };
        if self.node.traces.run("heal", Kind::Internal, About::call(&call.id), learn).await {
            metrics::healed();
        }
    }

    /// Tells the sessions here the end of a call of which nobody knows how it ended.
    pub fn tell_gone(self: &Arc<Self>, call: &Call) {
        let now = self.node.now();
        let ended = ended_unheard(call, now);
        if call.is_ringing() {
            self.learn(&ended);
            return;
        }
        // A record also goes when the maximum is long past, and phones without `acks` may talk for longer.
        self.cache.see(&ended, now);
        let sessions = [&call.caller.user, &call.callee.user].into_iter().flat_map(|user| self.local.of(user));
        for session in sessions.filter(|session| session.acks) {
            self.tell_session(&session, &ended, |_| true);
        }
    }
}
