//! Who had too little time to put back what it holds when the others decided again.

use std::time::Duration;

use crate::call::NodeId;
use crate::signaling::cluster::StoreIdentity;
use crate::signaling::node::NodeContext;
use crate::store::{CallStore, Generation, RestoreReports, RestoreStage};

/// A look counts as no more of the time that others have: this node may have stood still.
pub(super) const LOOK_COUNTS: Duration = Duration::from_millis(200);

/// How often a node that decides again looks for them.
const LOOK: Duration = Duration::from_millis(150);

/// Waits for those that had too little time, for a lease in which the store takes writes: what is not there may be theirs.
/// Says so when anything is denied here, and not before: who comes later knows that it is late. A node that knows not all
/// others waits for as long as any of them does.
pub(super) async fn await_rest(
    node: &NodeContext,
    store: &dyn CallStore,
    identity: &StoreIdentity,
    generation: &Generation,
    (others, are_all): (&[NodeId], bool),
) {
    let (mut had, mut looked) = (Duration::ZERO, node.clock.elapsed());
    while identity.is_still(generation) {
        let denies = had >= node.policy.lease && !identity.rests();
        let says = if denies { RestoreStage::Denies } else { RestoreStage::Decides };
        match store.report_restored(generation, &node.id, says).await {
            Ok(_) if denies => return,
            Ok(said) if all_have(&said, others, RestoreStage::All) && (are_all || said.denied_since.is_some()) => {
                had = node.policy.lease;
            }
            Ok(_) => had += node.since(looked).min(LOOK_COUNTS),
            Err(_) => {}
        }
        looked = node.clock.elapsed();
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether these have put back so much; one that began while this node was cut off is known by what it says.
pub(super) fn all_have(said: &RestoreReports, others: &[NodeId], done: RestoreStage) -> bool {
    let has = |other| said.nodes.iter().any(|(node, progress)| node == other && *progress >= done);
    others.iter().all(has) && said.nodes.iter().all(|(_, progress)| *progress >= done)
}
