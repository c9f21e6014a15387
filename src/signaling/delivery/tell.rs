//! A change of a call is told: to the sessions here, and to the nodes that hold others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Delivery, NOTICE_TTL};
use crate::bus::Body;
use crate::call::{Audience, Call, EndReason, NodeId, Role, UserId};
use crate::signaling::calls::{Announced, expiry};
use crate::telemetry::metrics;
use crate::telemetry::trace::{self, Kind};

/// The callee's sessions that a call was told to, or is being told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    pub sessions: usize,
    /// Of these, those that promised to confirm.
    pub acks: usize,
}

impl Delivery {
    /// Tells the audience, unless the decision has grown old meanwhile: then the call is read again and the truth of
    /// now is told.
    pub async fn tell_change(
        self: &Arc<Self>,
        call: Call,
        audience: Audience,
        decided_at: Duration,
        announced: Option<Announced>,
    ) -> Call {
        match self.still_true(&call, decided_at).await {
            Some(call) => {
                self.tell_rest(&call, audience, announced).await;
                call
            }
            // Nothing certain can be said; healing tells when the store is back.
            None => call,
        }
    }

    /// The call, if what was decided of it is recent, else as it stands now.
    pub async fn still_true(&self, call: &Call, decided_at: Duration) -> Option<Call> {
        if self.node.since(decided_at) <= self.node.policy.late_decision {
            return Some(call.clone());
        }
        metrics::late_decision();
        self.store.load(&call.id).await.ok().flatten()
    }

    /// Tells the audience the call as it stands. Returns what sessions of the callee it found, after the first attempt
    /// at every node; what failed is tried again meanwhile.
    pub async fn tell(self: &Arc<Self>, call: &Call, audience: Audience) -> Reached {
        self.tell_rest(call, audience, None).await
    }

    /// Tells whoever was not told in the step that wrote the call: the own sessions, and nodes that did not hear.
    pub async fn tell_rest(self: &Arc<Self>, call: &Call, audience: Audience, announced: Option<Announced>) -> Reached {
        trace::part("tell", Kind::Internal, self.tell_all(call, audience, announced)).await
    }

    async fn tell_all(self: &Arc<Self>, call: &Call, audience: Audience, mut announced: Option<Announced>) -> Reached {
        self.cache.see(call, self.node.now());
        // Who acted hears nothing, and nothing older either: no accept after his own cancel. His other devices here
        // are told at once what that older word would have been.
        if !call.unvouched {
            let parties = [&call.caller.user, &call.callee.user];
            parties.into_iter().flat_map(|user| self.local.of(user)).for_each(|session| session.turn_to(call));
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
            let mut envelope = self.messenger.envelope(expiry(call, self.node.now()), body);
            if let Some(announced) = &announced {
                (envelope.nonce, envelope.expires_at) = (announced.nonce, announced.expires_at);
            }
            self.messenger.post_envelope(node, envelope)
        });
        complete &= join_all(publishes).await.into_iter().all(|heard| heard);
        self.cache.mark_untold(&call.id, !complete);
        reached
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
        if sessions.is_empty() || !self.notices.claim(user, &call.id).await {
            return;
        }
        self.tell_notice_here(call, user);
        let nodes = sessions.into_iter().map(|session| session.node).filter(|node| *node != self.node.id);
        for node in nodes.collect::<HashSet<_>>() {
            let body = Body::Notice { user: user.clone(), call: Box::new(for_the_bus(call)) };
            self.messenger.post(node, expiry(call, self.node.now()), body).await;
        }
        self.notices.is_told(user).await;
    }
}

/// The ring details are of use only to who may ring.
fn for_the_bus(call: &Call) -> Call {
    let mut call = call.clone();
    if !call.is_ringing() {
        call.ring_details = None;
    }
    call
}
