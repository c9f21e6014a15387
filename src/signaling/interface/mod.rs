//! The interfaces of this node, one for each who asks. Whatever changes something runs in a task of the node: who asked
//! waits for the result and may vanish meanwhile, as an HTTP client does that loses patience. There is no other way in.

mod backend;
mod cluster;
mod inspection;
mod operators;
mod phones;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::node::NodeContext;
use crate::call::NodeId;
use crate::clock::Clock;
use crate::telemetry::trace::Traces;

pub use backend::Backend;
pub use cluster::Cluster;
pub use inspection::{Inspection, LivePage, NodeView, Person};
pub use operators::Operators;
pub use phones::Phones;

/// What the transports may ask of this node.
pub struct Signaling {
    pub(super) node: Arc<NodeContext>,
    pub phones: Phones,
    pub backend: Backend,
    pub operators: Operators,
    pub cluster: Cluster,
    pub inspection: Inspection,
}

impl Signaling {
    pub fn clock(&self) -> &Clock {
        &self.node.clock
    }

    pub fn traces(&self) -> &Traces {
        &self.node.traces
    }

    pub fn node(&self) -> &NodeId {
        &self.node.id
    }

    /// Obeys a word that was said at this moment of [`Clock::elapsed`]: what it changes is dated by it.
    pub fn obeying<T>(&self, said: Duration, work: impl Future<Output = T>) -> impl Future<Output = T> {
        self.node.obeying(said, work)
    }

    /// Runs a loop of the node until the stop; if it ends before, by a panic too, the whole node stops.
    pub fn run(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.node.run(name, work);
    }

    /// Runs a loop that ends by itself soon after the stop.
    pub fn run_out<F>(&self, name: &'static str, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.node.run_out(name, work);
    }
}
