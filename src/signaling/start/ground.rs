//! The rooms that all others stand on: who is where.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::bus::Bus;
use crate::signaling::call_cache::CallCache;
use crate::signaling::cluster::{
    Members, Messenger, OwnLease, Place, Registration, SelfTest, StallDetector, StoreIdentity, StoreLost,
};
use crate::signaling::directory::Directory;
use crate::signaling::node::NodeContext;
use crate::signaling::sessions::LocalSessions;
use crate::signaling::timeline::Timeline;
use crate::store::{CallStore, SessionStore};

/// Losses of the store that wait to be taken up.
const LOSSES: usize = 16;

pub struct Ground {
    pub local: Arc<LocalSessions>,
    pub cache: Arc<CallCache>,
    pub timeline: Arc<Timeline>,
    pub members: Arc<Members>,
    pub registration: Arc<Registration>,
    pub lease: Arc<OwnLease>,
    pub stall: Arc<StallDetector>,
    pub self_test: Arc<SelfTest>,
    pub messenger: Arc<Messenger>,
    pub identity: Arc<StoreIdentity>,
    pub directory: Arc<Directory>,
}

/// Builds them, with what tells of losses.
pub fn lay(
    node: &Arc<NodeContext>,
    at: Place,
    store: &Arc<dyn CallStore>,
    sessions: &Arc<dyn SessionStore>,
    bus: &Arc<dyn Bus>,
) -> (Ground, mpsc::Receiver<StoreLost>) {
    let local = Arc::<LocalSessions>::default();
    let cache = Arc::<CallCache>::default();
    let timeline = Arc::new(Timeline::new(Arc::clone(node), Arc::clone(store)));
    let members = Arc::new(Members::new(Arc::clone(node)));
    let registration = Arc::new(Registration::new(Arc::clone(node)));
    let lease =
        Arc::new(OwnLease::new(Arc::clone(node), Arc::clone(sessions), Arc::clone(&members), Arc::clone(&local), at));
    let stall = Arc::new(StallDetector::new(node.clock.elapsed()));
    let self_test = Arc::new(SelfTest::new(Arc::clone(node), Arc::clone(bus)));
    let messenger = Arc::new(Messenger {
        node: Arc::clone(node),
        bus: Arc::clone(bus),
        members: Arc::clone(&members),
        timeline: Arc::clone(&timeline),
    });
    let (lost, losses) = mpsc::channel(LOSSES);
    let identity = Arc::new(StoreIdentity::new(
        Arc::clone(node),
        Arc::clone(store),
        Arc::clone(&registration),
        (Arc::clone(&cache), Arc::clone(&local)),
        lost,
    ));
    let directory = Arc::new(Directory {
        node: Arc::clone(node),
        store: Arc::clone(sessions),
        local: Arc::clone(&local),
        members: Arc::clone(&members),
    });
    let ground = Ground {
        local,
        cache,
        timeline,
        members,
        registration,
        lease,
        stall,
        self_test,
        messenger,
        identity,
        directory,
    };
    (ground, losses)
}
