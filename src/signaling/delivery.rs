//! From a changed call to the phones: own sessions directly, one envelope for each other node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::announce::Announced;
use super::{Node, Session};
use crate::bus::Body;
use crate::call::{Call, CallId, EndReason, NodeId, Role, SayKind, State, Timestamp, UserId, What, is_stale_ring};
use crate::telemetry::metrics::{self, Outcome};
use crate::telemetry::trace::{self, Kind};
use futures_util::future::join_all;

/// What is not about ringing is worth telling this long.
const NEWS_LIFE: Duration = Duration::from_secs(30);
/// How long the end of a call that nobody heard waits for its caller.
pub(super) const NOTICE_TTL: Duration = Duration::from_secs(10);
/// Whoever claimed to tell it has so long; then another may.
const NOTICE_CLAIM: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Audience {
    pub caller: bool,
    pub callee: bool,
}

/// The callee's sessions that a call was told to, or is being told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    pub sessions: usize,
    /// Of these, those that promised to confirm.
    pub acks: usize,
}

impl Audience {
    pub const BOTH: Audience = Audience { caller: true, callee: true };
    pub const CALLEE: Audience = Audience { caller: false, callee: true };

    fn includes(self, role: Role) -> bool {
        match role {
            Role::Caller => self.caller,
            Role::Callee => self.callee,
        }
    }

    fn roles(self) -> impl Iterator<Item = Role> {
        [Role::Caller, Role::Callee].into_iter().filter(move |role| self.includes(*role))
    }
}

impl Node {
    /// Tells the audience the call as it stands. Returns what sessions of the callee it found, after the first attempt
    /// at every node; what failed is tried again meanwhile.
    pub(super) async fn tell(self: &Arc<Self>, call: &Call, audience: Audience) -> Reached {
        self.tell_rest(call, audience, None).await
    }

    /// Tells whoever was not told in the step that wrote the call: the own sessions, and nodes that did not hear.
    pub(super) async fn tell_rest(
        self: &Arc<Self>,
        call: &Call,
        audience: Audience,
        announced: Option<Announced>,
    ) -> Reached {
        trace::part("tell", Kind::Internal, self.tell_all(call, audience, announced)).await
    }

    async fn tell_all(self: &Arc<Self>, call: &Call, audience: Audience, mut announced: Option<Announced>) -> Reached {
        self.cache.see(call, self.node.now());
        // Who acted hears nothing, and nothing older either: no accept after his own cancel. His other devices here
        // are told at once what that older word would have been.
        for session in [&call.caller.user, &call.callee.user].into_iter().flat_map(|user| self.local.of(user)) {
            session.turn_to(call);
        }
        for role in [Role::Caller, Role::Callee].into_iter().filter(|role| !audience.includes(*role)) {
            self.tell_here(call, &call.party(role).user);
        }
        let found: Vec<_> = match &mut announced {
            Some(announced) => audience
                .roles()
                .map(|role| {
                    let user = &call.party(role).user;
                    let sessions = std::mem::take(announced.told.sessions(role));
                    (role, user, Ok(self.directory.alive(user, sessions)))
                })
                .collect(),
            None => {
                join_all(audience.roles().map(|role| async move {
                    let user = &call.party(role).user;
                    (role, user, self.directory.sessions_of(user).await)
                }))
                .await
            }
        };
        let mut reached = Reached::default();
        let mut complete = true;
        let mut by_node: HashMap<NodeId, Vec<UserId>> = HashMap::new();
        for (role, user, sessions) in found {
            // With the store away the own sessions are told all the same; the others heal, or are told again.
            complete &= sessions.is_ok();
            let sessions = sessions.unwrap_or_default();
            if role == Role::Callee {
                let acks = sessions.iter().filter(|session| session.acks).count();
                reached = Reached { sessions: sessions.len(), acks };
            }
            self.tell_here(call, user);
            if sessions.is_empty() {
                self.leave_notice(call, role).await;
            }
            for session in sessions {
                let users = by_node.entry(session.node).or_default();
                if !users.contains(user) {
                    users.push(user.clone());
                }
            }
        }
        by_node.remove(&self.node.id);
        if let Some(announced) = &announced {
            for (node, _) in announced.told.heard.iter().filter(|(_, listeners)| *listeners > 0) {
                by_node.remove(node);
            }
        }
        let publishes = by_node.into_iter().map(|(node, users)| {
            let body = Body::Call { users, call: Box::new(for_the_bus(call)) };
            let mut envelope = self.messenger.envelope(self.expiry(call), body);
            if let Some(announced) = &announced {
                (envelope.nonce, envelope.expires_at) = (announced.nonce, announced.expires_at);
            }
            self.messenger.post_envelope(node, envelope)
        });
        complete &= join_all(publishes).await.into_iter().all(|heard| heard);
        self.cache.mark_untold(&call.id, !complete);
        reached
    }

    /// Tells the user's sessions on this node what they have not heard yet; true where there was something to tell.
    pub(super) fn tell_here(self: &Arc<Self>, call: &Call, user: &UserId) -> bool {
        let mut told = false;
        let ended_at = call.end().map(|end| end.at);
        let late = ended_at.is_some_and(|at| self.node.now().since(at) > NOTICE_TTL);
        for session in self.local.of(user) {
            // Whoever connected after the end hears of it by replay, if at all. Who was told of the call was there,
            // whatever the clocks of two nodes say; the app as deployed may show another screen after a while.
            let knows = session.knows(&call.id);
            let after_the_end = !session.was_here_at_the_end(call);
            let missed = if knows { late && !session.acks } else { late || after_the_end };
            // To a phone without `acks` an end that nobody said is not replayed.
            let unproven = call.is_presumed_over() && !session.acks && !knows && after_the_end;
            let said = self.tell_session(&session, call, |kind| {
                !(missed && kind.aborts_any_screen() || unproven && kind == SayKind::Ended)
            });
            self.measure(&session, call, &said);
            told |= !said.is_empty();
        }
        told
    }

    /// From what a call became to the phones that hear of it.
    fn measure(&self, session: &Session, call: &Call, said: &[SayKind]) {
        let since = |at: Timestamp| self.node.now().since(at);
        for kind in said {
            match (kind, &call.state) {
                (SayKind::Incoming, _) => {
                    metrics::rung(since(call.created_at), self.local.holds(&call.caller.user), session.acks);
                }
                (SayKind::Accepted, State::Active { accepted_at, .. }) => {
                    metrics::outcome_told(Outcome::Accepted, since(*accepted_at));
                }
                (SayKind::Rejected, State::Ended(end)) => metrics::outcome_told(Outcome::Rejected, since(end.at)),
                (SayKind::Cancelled, State::Ended(end)) => metrics::outcome_told(Outcome::Cancelled, since(end.at)),
                (SayKind::Ended, State::Ended(end)) => metrics::outcome_told(Outcome::Ended, since(end.at)),
                _ => {}
            }
        }
    }

    /// Tells the user's sessions here an end that nobody heard in time.
    pub(super) fn tell_notice_here(self: &Arc<Self>, call: &Call, user: &UserId) {
        for session in self.local.of(user) {
            self.tell_session(&session, call, |_| true);
        }
    }

    /// Tells one session; `wanted` narrows a replay.
    pub(super) fn tell_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
        call: &Call,
        wanted: impl Fn(SayKind) -> bool,
    ) -> Vec<SayKind> {
        // What a store that came back older says of a call that nobody knows is no news,
        if call.unvouched && call.is_live() {
            return Vec::new();
        }
        // nor is the end of a ring that was over long ago, to a screen that looks at no id.
        let stale = is_stale_ring(call, session.connected_at);
        let wanted = |kind: SayKind| wanted(kind) && !(stale && kind.aborts_any_screen());
        // Its sockets were away, its media may be fine: who was called lost without proof does not hear it.
        let goes_on = !session.acks && call.may_go_on_with(&session.user);
        let heard = session.hear(call, self.node.now(), |kind| wanted(kind) && !(goes_on && kind == SayKind::Ended));
        if heard.deaf {
            self.timeline.note_callee(call, What::Deaf, session.device.clone());
        }
        for held in heard.held {
            let (signaling, session, call) = (Arc::clone(self), Arc::clone(session), call.clone());
            self.node.spawn(async move {
                signaling.node.clock.sleep_until(held.at).await;
                session.say_held(&call, &held.say, signaling.node.now());
            });
        }
        heard.said.iter().for_each(|kind| trace::said(kind.name(), &session.id));
        if heard.said.contains(&SayKind::Incoming) {
            self.timeline.note_callee(call, What::Delivered, session.device.clone());
        }
        if heard.said.contains(&SayKind::Accepted) && !session.acks {
            self.repeat_accepted_later(session, call);
        }
        heard.said
    }

    /// The deployed app may change screens just when the accept comes in: it is told once more.
    fn repeat_accepted_later(self: &Arc<Self>, session: &Arc<Session>, call: &Call) {
        let (signaling, session, id) = (Arc::clone(self), Arc::clone(session), call.id.clone());
        self.node.spawn(async move {
            signaling.node.clock.sleep(signaling.node.policy.accept_repeat).await;
            if let Ok(Some(call)) = signaling.store.load(&id).await
                && matches!(call.state, State::Active { .. })
            {
                session.repeat_accepted(&call, signaling.node.now());
            }
        });
    }

    /// Remembers an end that its caller could not hear. The notice is written before the sessions are read again, so
    /// that a session that came in between is told by one of both.
    async fn leave_notice(self: &Arc<Self>, call: &Call, role: Role) {
        let audible = match call.end().map(|end| end.reason) {
            Some(EndReason::Rejected | EndReason::NoAnswer | EndReason::Busy) => role == Role::Caller,
            Some(_) | None => false,
        };
        let user = &call.party(role).user;
        if !audible || self.store.leave_notice(user, &call.id, NOTICE_TTL).await.is_err() {
            return;
        }
        let Ok(sessions) = self.directory.sessions_of(user).await else { return };
        if sessions.is_empty() || !self.has_notice(user, &call.id).await {
            return;
        }
        self.tell_notice_here(call, user);
        let nodes = sessions.into_iter().map(|session| session.node).filter(|node| *node != self.node.id);
        for node in nodes.collect::<std::collections::HashSet<_>>() {
            let body = Body::Notice { user: user.clone(), call: Box::new(for_the_bus(call)) };
            self.messenger.post(node, self.expiry(call), body).await;
        }
        self.told_notice(user).await;
    }

    /// Whether this node is to tell the user the end of this call, for it could not be told when it happened.
    pub(super) async fn has_notice(&self, user: &UserId, call: &CallId) -> bool {
        let claimant = rand::random();
        let claim = || self.store.claim_notice(user, claimant, NOTICE_CLAIM);
        let claimed = match claim().await {
            // The reply may be lost: the same claimant is answered the same.
            Err(_) => claim().await,
            claimed => claimed,
        };
        claimed.ok().flatten().as_ref() == Some(call)
    }

    /// It is told: nobody else has to. Where this fails it expires by itself.
    pub(super) async fn told_notice(&self, user: &UserId) {
        if let Err(error) = self.store.drop_notice(user).await {
            tracing::debug!(%error, "a notice that was told could not be dropped");
        }
    }

    pub(super) fn expiry(&self, call: &Call) -> Timestamp {
        if call.is_ringing() { call.ring_until } else { self.node.now() + NEWS_LIFE }
    }
}

/// The offer is of use only to who may ring.
fn for_the_bus(call: &Call) -> Call {
    let mut call = call.clone();
    if !call.is_ringing() {
        call.offer = None;
    }
    call
}
