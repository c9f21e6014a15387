//! Other nodes are told in the step that writes a call, where the store can do both: one wave until a phone hears of it.
//! Where it can't, or a node did not hear, `delivery` tells them afterwards; whoever heard it already stays quiet.

use super::Node;
use super::delivery::Audience;
use crate::bus::Envelope;
use crate::call::{Call, Timestamp};
use crate::sabotage::{self, Bug};
use crate::store::{Telling, Told};
use crate::telemetry::trace;

/// What is told with a write.
pub(super) struct Announcement {
    pub telling: Telling,
    expires_at: Timestamp,
    nonce: u64,
}

/// What became of it.
pub(super) struct Announced {
    pub told: Told,
    pub expires_at: Timestamp,
    /// An envelope that is published again is known by it.
    pub nonce: u64,
}

impl Node {
    /// What the write of a call tells its audience.
    pub(super) fn announcement(&self, call: &Call, audience: Audience) -> Announcement {
        let lost = sabotage::strikes(Bug::DropEnvelopes, 100);
        let expires_at = if lost { Timestamp::from_millis(0) } else { self.expiry(call) };
        let nonce = rand::random();
        let head = Envelope::head(self.node.now(), expires_at, nonce, trace::traceparent().as_deref());
        let Audience { caller, callee } = audience;
        Announcement { telling: Telling { caller, callee, own: self.node.id.clone(), head }, expires_at, nonce }
    }
}

impl Announcement {
    pub(super) fn came_to(self, told: Option<Told>) -> Option<Announced> {
        let told = told?;
        if !told.heard.is_empty() {
            trace::note("peer", || told.heard.iter().map(|(node, _)| node.to_string()).collect::<Vec<_>>().join(" "));
        }
        Some(Announced { told, expires_at: self.expires_at, nonce: self.nonce })
    }
}
