//! Pub/sub between nodes, sharded where Redis is a cluster.

use std::time::Duration;

use async_trait::async_trait;
use fred::clients::{Client, SubscriberClient};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::Builder;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{Body, Bus, BusError, Envelope, Inbound, read_envelope};
use crate::call::{NodeId, Timestamp};
use crate::telemetry::{metrics, outage};

const CAPACITY: usize = 8192;
const PROOF_ATTEMPTS: u32 = 200;
const RECONNECTION: Duration = Duration::from_secs(3);

pub struct RedisBus {
    commands: Client,
    subscriptions: Builder,
    subscriber: Mutex<Option<SubscriberClient>>,
    prefix: String,
    tasks: TaskTracker,
}

impl From<fred::error::Error> for BusError {
    fn from(error: fred::error::Error) -> Self {
        outage::redis_failed(&error);
        BusError(error.to_string())
    }
}

impl RedisBus {
    /// `subscriptions` builds the client that does nothing but subscribe: fred mixes up replies otherwise.
    pub fn new(commands: Client, subscriptions: Builder, prefix: &str, tasks: TaskTracker) -> Self {
        Self { commands, subscriptions, subscriber: Mutex::default(), prefix: prefix.to_owned(), tasks }
    }

    fn channel(&self, node: &NodeId) -> String {
        format!("{}:node:{node}", self.prefix)
    }

    async fn send(&self, channel: String, payload: String) -> Result<usize, BusError> {
        Ok(if self.commands.is_clustered() {
            self.commands.spublish(channel, payload).await?
        } else {
            self.commands.publish(channel, payload).await?
        })
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, node: &NodeId, envelope: &Envelope) -> Result<usize, BusError> {
        let payload = serde_json::to_string(envelope).map_err(|error| BusError(error.to_string()))?;
        self.send(self.channel(node), payload).await
    }

    async fn reconnect(&self) {
        let subscriber = self.subscriber.lock().clone();
        let Some(subscriber) = subscriber else { return };
        if let Ok(Ok(())) = tokio::time::timeout(RECONNECTION, subscriber.force_reconnection()).await {
            return;
        }
        // Its task may have ended for good.
        if let Err(error) = subscriber.init().await {
            tracing::debug!(%error, "connecting anew for the node's channel failed");
        }
    }

    async fn listen(&self, node: &NodeId) -> Result<mpsc::Receiver<Inbound>, BusError> {
        let subscriber: SubscriberClient = self.subscriptions.build_subscriber_client()?;
        let (inbox, receiver) = mpsc::channel(CAPACITY);

        // fred does not resubscribe: each new connection, the first included, subscribes here.
        let mut connections = subscriber.reconnect_rx();
        let (channel, to_subscribe, gaps) = (self.channel(node), subscriber.clone(), inbox.clone());
        self.tasks.spawn(async move {
            let mut first = true;
            while !matches!(connections.recv().await, Err(RecvError::Closed)) {
                let subscribed = if to_subscribe.is_clustered() {
                    to_subscribe.ssubscribe(channel.as_str()).await
                } else {
                    to_subscribe.subscribe(channel.as_str()).await
                };
                if let Err(error) = subscribed {
                    tracing::debug!(%error, "subscribing to the node's channel failed");
                }
                if !first {
                    metrics::redis_reconnected();
                }
                if !first && gaps.send(Inbound::Gap).await.is_err() {
                    return;
                }
                first = false;
            }
        });

        let mut messages = subscriber.message_rx();
        let client = subscriber.clone();
        self.tasks.spawn(async move {
            loop {
                let inbound = match messages.recv().await {
                    Ok(message) => message.value.as_str().map_or(Inbound::Unreadable, |text| {
                        read_envelope(&text).map_or(Inbound::Unreadable, Inbound::Envelope)
                    }),
                    Err(RecvError::Lagged(_)) => Inbound::Gap,
                    Err(RecvError::Closed) => return,
                };
                if inbox.send(inbound).await.is_err() {
                    break;
                }
            }
            // The node stopped listening.
            let _ = client.quit().await;
        });

        if let Err(error) = self.start(&subscriber, node).await {
            // Another will be made: this one must not hear for nobody.
            let _ = subscriber.quit().await;
            return Err(error);
        }
        *self.subscriber.lock() = Some(subscriber);
        Ok(receiver)
    }
}

impl RedisBus {
    async fn start(&self, subscriber: &SubscriberClient, node: &NodeId) -> Result<(), BusError> {
        subscriber.init().await?;
        self.prove(node).await
    }

    /// A subscription is written, not confirmed, when fred returns: waits until Redis counts a listener.
    async fn prove(&self, node: &NodeId) -> Result<(), BusError> {
        let hello = Envelope {
            nonce: 0,
            sent_at: Timestamp::default(),
            expires_at: Timestamp::from_millis(0),
            traceparent: None,
            body: Body::SelfTest { nonce: 0 },
        };
        for _ in 0..PROOF_ATTEMPTS {
            if self.publish(node, &hello).await? > 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(BusError("the node's channel has no subscriber after 2 s".into()))
    }
}
