//! What the sessions of this node hear.

use std::sync::Arc;

use super::{Delivery, NOTICE_TTL};
use crate::call::{Call, NO_ACKS, NotificationKind, Role, SessionId, State, Timestamp, UserId, What, is_stale_ring};
use crate::signaling::sessions::Session;
use crate::telemetry::metrics::{self, ToldOutcome};
use crate::telemetry::trace;

impl Delivery {
    /// Tells the user's sessions on this node what they have not heard yet; true where there was something to tell.
    pub fn tell_here(self: &Arc<Self>, call: &Call, user: &UserId) -> bool {
        self.tell_here_but(call, user, None)
    }

    /// The same, but for one session.
    pub(super) fn tell_here_but(self: &Arc<Self>, call: &Call, user: &UserId, but: Option<&SessionId>) -> bool {
        let mut told = false;
        let sessions = self.local.of(user);
        let others = sessions.iter().filter(|session| but != Some(&session.id));
        for session in others.filter(|session| !session.sender().greeting.holds(call)) {
            told |= self.tell_news(session, call);
        }
        told
    }

    /// Tells a session that is here what it has not heard yet; true where there was something to tell.
    fn tell_news(self: &Arc<Self>, session: &Arc<Session>, call: &Call) -> bool {
        let late = call.end().is_some_and(|end| self.node.now().since(end.at) > NOTICE_TTL);
        // Whoever connected after the end hears of it by replay, if at all. Who was told of the call was there,
        // whatever the clocks of two nodes say; the app as deployed may show another screen after a while.
        let knows = session.knows(&call.id);
        let after_the_end = !session.was_here_at_the_end(call);
        let missed = if knows { late && !session.acks } else { late || after_the_end };
        // To a phone without `acks` an end that nobody said is not replayed.
        let unproven = call.is_presumed_over() && !session.acks && !knows && after_the_end;
        let sent = self.tell_session(session, call, |kind| {
            !(missed && kind.aborts_any_screen() || unproven && kind == NotificationKind::Ended)
        });
        self.measure(session, call, &sent);
        !sent.is_empty()
    }

    /// The session was told `session:ready`: what waited for that is told now.
    pub fn greeted(self: &Arc<Self>, session: &Arc<Session>) {
        for call in session.sender().greeting.over() {
            self.tell_news(session, &call);
        }
    }

    /// From what a call became to the phones that hear of it.
    fn measure(&self, session: &Session, call: &Call, sent: &[NotificationKind]) {
        let since = |at: Timestamp| self.node.now().since(at);
        for kind in sent {
            match (kind, &call.state) {
                (NotificationKind::Incoming, _) => {
                    metrics::rung(since(call.created_at), self.local.holds(&call.caller.user), session.acks);
                }
                (NotificationKind::Accepted, State::Active { accepted_at, .. }) => {
                    metrics::outcome_told(ToldOutcome::Accepted, since(*accepted_at));
                }
                (NotificationKind::Rejected, State::Ended(end)) => {
                    metrics::outcome_told(ToldOutcome::Rejected, since(end.at))
                }
                (NotificationKind::Cancelled, State::Ended(end)) => {
                    metrics::outcome_told(ToldOutcome::Cancelled, since(end.at))
                }
                (NotificationKind::Ended, State::Ended(end)) => {
                    metrics::outcome_told(ToldOutcome::Ended, since(end.at))
                }
                _ => {}
            }
        }
    }

    /// Tells the user's sessions here an end that nobody heard in time.
    pub fn tell_notice_here(self: &Arc<Self>, call: &Call, user: &UserId) {
        for session in self.local.of(user) {
            self.tell_session(&session, call, |_| true);
        }
    }

    /// Tells one session; `wanted` narrows a replay.
    pub fn tell_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
        call: &Call,
        wanted: impl Fn(NotificationKind) -> bool,
    ) -> Vec<NotificationKind> {
        // What a store that came back older says of a call that nobody knows is no news, nor is its end, but to who was
        // shown it as live, or nothing at all: the store was away, and his `session:ready` would have listed such an end,
        let is_listed = || call.end().is_some_and(|end| end.reason.is_said());
        let may_show_it = || session.met_live(&call.id) || !session.has_joined() && is_listed();
        if call.unvouched && (call.is_live() || !may_show_it()) {
            return Vec::new();
        }
        // nor is the end of a ring that was over long ago, to a screen that looks at no id.
        // One that was shown the ring as it came back hears how it ended.
        let stale = is_stale_ring(call, session.connected_at) && !session.knows(&call.id);
        let wanted = |kind: NotificationKind| wanted(kind) && !(stale && kind.aborts_any_screen());
        // Its sockets were away, its media may be fine: who was called lost without proof does not hear it.
        let goes_on = !session.acks && call.may_go_on_with(&session.user);
        let notified =
            session.notify(call, self.node.now(), |kind| wanted(kind) && !(goes_on && kind == NotificationKind::Ended));
        if notified.deaf {
            self.timeline.note_callee(call, What::Deaf, session.device.clone());
        }
        for held in notified.held {
            let (signaling, session, call) = (Arc::clone(self), Arc::clone(session), call.clone());
            self.node.spawn(async move {
                signaling.node.clock.sleep_until(held.at).await;
                session.notify_held(&call, &held.notification, signaling.node.now());
            });
        }
        notified.sent.iter().for_each(|kind| trace::said(kind.name(), &session.id));
        if notified.sent.contains(&NotificationKind::Incoming) {
            let delivered = self.node.milestone(What::Delivered).of(Role::Callee, session.device.clone());
            self.timeline.note(&call.id, if session.acks { delivered } else { delivered.because(NO_ACKS) });
        }
        if notified.sent.contains(&NotificationKind::Accepted) && !session.acks {
            self.repeat_accepted_later(session, call);
        }
        notified.sent
    }

    /// The deployed app may change screens just when the accept comes in: it is told once more.
    fn repeat_accepted_later(self: &Arc<Self>, session: &Arc<Session>, call: &Call) {
        let (signaling, session, id) = (Arc::clone(self), Arc::clone(session), call.id.clone());
        let at = self.node.now() + self.node.policy.accept_repeat;
        self.node.spawn(async move {
            signaling.node.clock.sleep_until(at).await;
            if let Ok(Some(call)) = signaling.store.load(&id).await
                && matches!(call.state, State::Active { .. })
            {
                session.repeat_accepted(&call, signaling.node.now());
            }
        });
    }
}
