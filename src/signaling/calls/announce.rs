//! Other nodes are told in the step that writes a call, where the store can do both: one wave until a phone hears of it.
//! Where it can't, or a node did not hear, `delivery` tells them afterwards; whoever heard it already stays quiet.

use std::time::Duration;

use crate::bus::Envelope;
use crate::call::{Audience, Call, Timestamp};
use crate::fault_injection::{self, Bug};
use crate::signaling::node::NodeContext;
use crate::store::{Telling, Told};
use crate::telemetry::trace;

/// What is not about ringing is worth telling this long.
const NEWS_LIFE: Duration = Duration::from_secs(30);

/// What is told with a write.
pub struct Announcement {
    pub telling: Telling,
    expires_at: Timestamp,
    nonce: u64,
}

/// What became of it.
pub struct Announced {
    pub told: Told,
    pub expires_at: Timestamp,
    /// An envelope that is published again is known by it.
    pub nonce: u64,
}

/// Until when what is said of a call is news.
pub fn expiry(call: &Call, now: Timestamp) -> Timestamp {
    if call.is_ringing() { call.ring_until } else { now + NEWS_LIFE }
}

impl Announcement {
    /// What the write of a call tells its audience.
    pub fn of(call: &Call, audience: Audience, node: &NodeContext) -> Self {
        let (lost, now) = (fault_injection::strikes(Bug::DropEnvelopes, 100), node.now());
        let expires_at = if lost { Timestamp::from_millis(0) } else { expiry(call, now) };
        let nonce = rand::random();
        let head = Envelope::head(now, expires_at, nonce, trace::traceparent().as_deref());
        Self { telling: Telling { audience, own: node.id.clone(), head }, expires_at, nonce }
    }

    /// What the store made of it.
    pub fn came_to(self, told: Option<Told>) -> Option<Announced> {
        let told = told?;
        if !told.heard.is_empty() {
            trace::note("peer", || told.heard.iter().map(|(node, _)| node.to_string()).collect::<Vec<_>>().join(" "));
        }
        Some(Announced { told, expires_at: self.expires_at, nonce: self.nonce })
    }
}
