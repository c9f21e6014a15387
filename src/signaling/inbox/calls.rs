//! Calls that changed on another node.

use std::sync::Arc;

use crate::call::{Call, UserId};
use crate::signaling::cluster::StallDetector;
use crate::signaling::delivery::Delivery;
use crate::signaling::node::NodeContext;

/// Takes in calls that changed elsewhere.
pub struct CallNews {
    pub node: Arc<NodeContext>,
    pub stall: Arc<StallDetector>,
    pub delivery: Arc<Delivery>,
}

impl CallNews {
    /// Tells the users' sessions here.
    pub fn take(&self, users: Vec<UserId>, call: Call) {
        if !self.stall.catches_up(self.node.clock.elapsed()) {
            return self.delivery.take(&users, &call);
        }
        // It may have gone on since, and what tells that comes behind this.
        let delivery = Arc::clone(&self.delivery);
        self.node.spawn(async move {
            let stored = delivery.store.load(&call.id).await.ok().flatten();
            delivery.take(&users, &stored.unwrap_or(call));
        });
    }
}
