//! What every bus promises, run once on memory and once on Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::memory::MemoryBus;
use super::redis::RedisBus;
use super::*;
use crate::store::contract::test_server;
use crate::store::redis::{builder, connect};

async fn redis() -> Arc<dyn Bus> {
    let url = test_server::shared().url();
    let prefix = format!("b{:016x}", rand::random::<u64>());
    let commands = connect(&url, &TaskTracker::new()).await.unwrap();
    Arc::new(RedisBus::new(commands, builder(&url).unwrap(), &prefix, TaskTracker::new()))
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn numbered(nonce: u64) -> Envelope {
    Envelope {
        nonce: 0,
        sent_at: Timestamp::default(),
        expires_at: Timestamp::from_millis(9),
        traceparent: None,
        body: Body::SelfTest { nonce },
    }
}

/// The next envelope that is none of the bus's own.
async fn next(inbox: &mut mpsc::Receiver<Inbound>) -> Option<Envelope> {
    loop {
        let inbound = tokio::time::timeout(Duration::from_secs(5), inbox.recv()).await.ok()??;
        match inbound {
            Inbound::Envelope(envelope) if envelope != numbered_hello() => return Some(envelope),
            _ => {}
        }
    }
}

fn numbered_hello() -> Envelope {
    Envelope {
        nonce: 0,
        sent_at: Timestamp::default(),
        expires_at: Timestamp::from_millis(0),
        traceparent: None,
        body: Body::SelfTest { nonce: 0 },
    }
}

async fn envelopes_reach_their_node_in_order(bus: Arc<dyn Bus>) {
    let mut one = bus.listen(&node("one")).await.unwrap();
    let mut two = bus.listen(&node("two")).await.unwrap();
    for nonce in 1..=500 {
        assert_eq!(bus.publish(&node("one"), &numbered(nonce)).await.unwrap(), 1);
    }
    bus.publish(&node("two"), &numbered(1000)).await.unwrap();
    for nonce in 1..=500 {
        assert_eq!(next(&mut one).await, Some(numbered(nonce)));
    }
    assert_eq!(next(&mut two).await, Some(numbered(1000)), "and no other node");
}

async fn nobody_listens_is_counted(bus: Arc<dyn Bus>) {
    assert_eq!(bus.publish(&node("nobody"), &numbered(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn order_on_memory() {
    envelopes_reach_their_node_in_order(Arc::new(MemoryBus::default())).await;
}

#[tokio::test]
async fn order_on_redis() {
    envelopes_reach_their_node_in_order(redis().await).await;
}

#[tokio::test]
async fn nobody_on_memory() {
    nobody_listens_is_counted(Arc::new(MemoryBus::default())).await;
}

#[tokio::test]
async fn nobody_on_redis() {
    nobody_listens_is_counted(redis().await).await;
}

/// A node that makes its subscription anew is told that it may have missed something, and hears again.
#[tokio::test]
async fn a_subscription_can_be_made_anew() {
    let bus = redis().await;
    let mut inbox = bus.listen(&node("one")).await.unwrap();
    bus.reconnect().await;
    while inbox.recv().await.expect("the inbox is open") != Inbound::Gap {}
    while bus.publish(&node("one"), &numbered(7)).await.unwrap() == 0 {}
    assert_eq!(next(&mut inbox).await, Some(numbered(7)));
}

#[test]
fn an_unknown_kind_is_unreadable_not_fatal() {
    let newer = r#"{"expires_at":1,"body":{"kind":"from_a_newer_node","x":1}}"#;
    assert!(serde_json::from_str::<Envelope>(newer).is_err());
}

#[test]
fn versions_with_and_without_traces_understand_each_other() {
    let untraced = r#"{"sent_at":1,"expires_at":9,"body":{"kind":"self_test","nonce":7}}"#;
    let envelope: Envelope = serde_json::from_str(untraced).unwrap();
    assert_eq!(envelope.traceparent, None);
    assert_eq!(serde_json::to_string(&envelope).unwrap(), untraced, "what an older node wrote is what we write");
    // As an older node reads a newer one's: what it does not know is passed over.
    let newer = untraced.replace("\"body\"", "\"traceparent\":\"00-1-2-01\",\"from_tomorrow\":[1],\"body\"");
    let envelope: Envelope = serde_json::from_str(&newer).unwrap();
    assert_eq!(envelope.traceparent.as_deref(), Some("00-1-2-01"), "a bad one costs the trace, not the message");
}
