//! Who is there when a deadline is judged.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, PartyPresence, Role};
use crate::signaling::cluster::{Members, Registration};
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;

/// After the store failed a renewal of this node, all nodes have so long to register who came meanwhile: they do that with
/// their own next renewal.
const REGISTERED_WITHIN: Duration = Duration::from_secs(6);
/// Looks who is there.
pub struct PresenceAtDeadline {
    pub node: Arc<NodeContext>,
    pub members: Arc<Members>,
    pub registration: Arc<Registration>,
    pub directory: Arc<Directory>,
}

impl PresenceAtDeadline {
    /// Reads the sessions once more before anybody is called absent.
    pub async fn of(&self, call: &Call) -> PartyPresence {
        let now = self.node.now();
        let unsure = self.registration.had_trouble_within(REGISTERED_WITHIN);
        let mut presence =
            PartyPresence { mass_disconnect: self.members.is_mass_disconnect(), unsure, ..PartyPresence::default() };
        let both = call.are_both_away();
        let asked = call.asks_whether_back(now);
        if both || asked == Some(Role::Caller) || call.caller.grace_until.is_some_and(|grace| grace <= now) {
            presence.caller_present = self.directory.is_present(call, Role::Caller).await;
        }
        if both || asked == Some(Role::Callee) || call.callee.grace_until.is_some_and(|grace| grace <= now) {
            presence.callee_present = self.directory.is_present(call, Role::Callee).await;
        }
        presence
    }
}
