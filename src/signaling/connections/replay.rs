//! What a session that connects is told of what its user missed.

use std::sync::Arc;

use crate::call::{Call, End, NotificationKind};
use crate::signaling::cluster::StoreIdentity;
use crate::signaling::delivery::{Delivery, DirectDelivery, NOTICE_TTL};
use crate::signaling::sessions::Session;
use crate::store::ReconnectSnapshot;

/// Replays.
pub struct Replay {
    pub delivery: Arc<Delivery>,
    pub identity: Arc<StoreIdentity>,
    pub direct: Arc<DirectDelivery>,
}

impl Replay {
    /// Tells a session that connects what its user missed and still can use (docs/semantics.md 5).
    pub async fn replay(&self, session: &Arc<Session>, snapshot: &ReconnectSnapshot) {
        let now = self.delivery.node.now();
        if let Some(call) = &snapshot.line {
            // `session:ready` has shown it, whatever is told of it: its end is news.
            session.turn_to(call);
            if self.identity.may_be_revived(call) {
                return;
            }
            // A device that was away when another answered may still show the ring.
            let answered_lately =
                call.accepted_at().is_some_and(|at| now.since(at) <= self.delivery.node.policy.call_grace);
            self.delivery.tell_session(session, call, |kind| match kind {
                NotificationKind::Incoming | NotificationKind::Accepted => true,
                NotificationKind::UpgradeRequest | NotificationKind::UpgradeResponse | NotificationKind::Downgraded => {
                    true
                }
                NotificationKind::Cancelled => answered_lately,
                // Who connects is shown it by `session:ready`; who dialled it was here all along.
                NotificationKind::Ringing => call.caller.session.as_ref() == Some(&session.id),
                NotificationKind::Rejected
                | NotificationKind::Ended
                | NotificationKind::Timeout
                | NotificationKind::Busy => false,
            });
            self.direct.catch_up(session, call, snapshot.kept);
            self.delivery.learn_beside(session, call);
            return;
        }
        let Some(last) = &snapshot.last else { return };
        let Some(end) = last.end() else { return };
        let age = now.since(end.at);
        if age <= NOTICE_TTL.max(self.delivery.node.policy.call_grace) {
            // After a loss this node may be the last that knows of the end.
            self.delivery.learn_beside(session, last);
        }
        let mut unheard = false;
        if age <= NOTICE_TTL && last.caller.user == session.user {
            unheard = self.delivery.notices.claim(&session.user, &last.id).await;
        }
        let is_notice = unheard;
        // It was here and not registered, or somebody would have told it; but for what was the answer to its initiate.
        let was_here = session.was_here_at_the_end(last);
        unheard |= was_here && !last.version.is_first();
        unheard |= last.caller.user == session.user && session.asked_in_vain(end, NOTICE_TTL);
        self.delivery.tell_session(session, last, |kind| match kind {
            NotificationKind::Cancelled | NotificationKind::Ended => self.is_wanted(session, last, end, kind),
            NotificationKind::Rejected | NotificationKind::Timeout | NotificationKind::Busy => unheard,
            NotificationKind::Incoming | NotificationKind::Ringing | NotificationKind::Accepted => false,
            // Else whoever asked for video while the store was lost would hear of the end alone.
            NotificationKind::UpgradeResponse => was_here,
            NotificationKind::UpgradeRequest | NotificationKind::Downgraded => false,
        });
        if is_notice {
            self.delivery.notices.is_told(&session.user).await;
        }
    }
    /// Tells a session whose `session:ready` could list nothing how a call before its user's newest ended. Before
    /// [`Self::replay`]: what is older than the last that was told is dropped.
    pub fn replay_earlier(&self, session: &Arc<Session>, call: &Call) {
        let Some(end) = call.end() else { return };
        self.delivery.tell_session(session, call, |kind| self.is_wanted(session, call, end, kind));
    }

    /// Whether this, of a call that is over, is told to a session that connects.
    fn is_wanted(&self, session: &Session, call: &Call, end: &End, kind: NotificationKind) -> bool {
        // Of what ended lately when it connected, though the store was away since; to the deployed app, which aborts any
        // screen on it, only while it is recent.
        let connected_at = if session.acks { session.connected_at } else { self.delivery.node.now() };
        let recent = connected_at.since(end.at) <= self.delivery.node.policy.call_grace;
        match kind {
            NotificationKind::Cancelled => recent,
            // Without `acks` lost sockets are not dead phones: what nobody said is not told to one that comes back.
            NotificationKind::Ended => recent && (session.acks || !call.is_presumed_over()),
            _ => false,
        }
    }
}
