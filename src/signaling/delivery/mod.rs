//! From a changed call to the phones: own sessions directly, one envelope for each other node. Read `tell.rs` first.

mod direct;
mod here;
mod learn;
mod messages;
mod notices;
mod tell;

use std::sync::Arc;

use super::call_cache::CallCache;
use super::cluster::Messenger;
use super::directory::Directory;
use super::node::NodeContext;
use super::sessions::LocalSessions;
use super::timeline::Timeline;
use crate::store::CallStore;

pub use direct::DirectDelivery;
pub use messages::{HandOver, Handed, MessageContent};
pub use notices::{NOTICE_TTL, Notices};

/// Tells phones how their calls stand.
pub struct Delivery {
    pub node: Arc<NodeContext>,
    pub store: Arc<dyn CallStore>,
    pub cache: Arc<CallCache>,
    pub timeline: Arc<Timeline>,
    pub local: Arc<LocalSessions>,
    pub directory: Arc<Directory>,
    pub messenger: Arc<Messenger>,
    pub notices: Arc<Notices>,
}
