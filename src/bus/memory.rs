//! The bus of nodes in one process.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Bus, BusError, Envelope, Inbound};
use crate::call::NodeId;

const CAPACITY: usize = 8192;

#[derive(Default)]
pub struct MemoryBus {
    inboxes: Mutex<HashMap<NodeId, mpsc::Sender<Inbound>>>,
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, node: &NodeId, envelope: &Envelope) -> Result<usize, BusError> {
        let inbox = self.inboxes.lock().get(node).cloned();
        Ok(match inbox {
            Some(inbox) => usize::from(inbox.try_send(Inbound::Envelope(envelope.clone())).is_ok()),
            None => 0,
        })
    }

    async fn reconnect(&self) {}

    async fn listen(&self, node: &NodeId) -> Result<mpsc::Receiver<Inbound>, BusError> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        self.inboxes.lock().insert(node.clone(), sender);
        Ok(receiver)
    }
}
