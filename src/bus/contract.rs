//! What every bus promises, run once on memory and once on Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::memory::MemoryBus;
use super::redis::RedisBus;
use super::*;
use crate::call::{Audience, Command};
use crate::store::contract::{UNLIMITED, apply, by, call, session, test_server, user};
use crate::store::redis::{RedisCalls, RedisSessions, builder, connect};
use crate::store::{CallStore, Created, SessionStore, Swap, Telling, Tells};

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

/// A call is told by the script that writes it: to each other node with a session of its parties, once, as the envelope
/// that a publish would have been.
#[tokio::test]
async fn a_call_is_told_in_the_step_that_writes_it() {
    let url = test_server::shared().url();
    let prefix = format!("b{:016x}", rand::random::<u64>());
    let commands = connect(&url, &TaskTracker::new()).await.unwrap();
    let bus = RedisBus::new(commands.clone(), builder(&url).unwrap(), &prefix, TaskTracker::new());
    let sessions = RedisSessions::new(commands.clone(), commands.clone(), &prefix);
    let calls = RedisCalls::new(commands, &prefix, UNLIMITED);
    let now = Timestamp::from_millis(1_800_000_000_000);
    let mut inbox = bus.listen(&node("n2")).await.unwrap();
    let held =
        [session(1, "ana", "n1", 1), session(2, "ana", "n2", 1), session(3, "bo", "n2", 1), session(4, "bo", "n3", 7)];
    for session in &held {
        sessions.register(session).await.unwrap();
    }
    let telling = |caller, nonce| Telling {
        audience: Audience { caller, callee: true },
        own: node("n1"),
        head: Envelope::head(now, now + Duration::from_secs(9), nonce, Some("00-1-2-01")),
    };
    let dialled = call("77", "ana", "bo", now);
    let (created, told) = calls.create_telling(&dialled, &[], &[], &[], (now, &telling(true, 5))).await.unwrap();
    let Created::Created(dialled) = created else { panic!("{created:?}") };
    let mut told = told.expect("it was told");
    told.caller.sort_by(|one, other| one.id.cmp(&other.id));
    told.callee.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!((told.caller.as_slice(), told.callee.as_slice()), (&held[..2], &held[2..]));
    told.heard.sort();
    assert_eq!(told.heard, [(node("n2"), 1), (node("n3"), 0)], "not itself, and n3 does not listen");
    let expected = |call: &Call, users: [&str; 2], nonce| Envelope {
        sent_at: now,
        expires_at: now + Duration::from_secs(9),
        nonce,
        traceparent: Some("00-1-2-01".into()),
        body: Body::Call {
            users: users.iter().filter(|name| !name.is_empty()).map(|name| user(name)).collect(),
            call: Box::new(call.clone()),
        },
    };
    assert_eq!(next(&mut inbox).await, Some(expected(&dialled, ["ana", "bo"], 5)), "with its order");

    let ended = apply(&dialled, Command::Cancel { by: by("ana"), reason: None }, now);
    let (swapped, told) = calls.swap_telling(&ended, &dialled, &[], &[], &telling(false, 6)).await.unwrap();
    let Swap::Done { over } = swapped else { panic!("{swapped:?}") };
    let told = told.expect("it was told");
    assert!(told.caller.is_empty() && told.callee.len() == 2, "only those who are to hear: {told:?}");
    let stored = calls.load(&ended.id).await.unwrap().unwrap();
    assert_eq!(stored.over, over);
    assert_eq!(next(&mut inbox).await, Some(expected(&stored, ["bo", ""], 6)), "as it is stored");

    let (stale, told) = calls.swap_telling(&ended, &dialled, &[], &[], &telling(true, 7)).await.unwrap();
    assert_eq!((stale, told), (Swap::Stale(Box::new(stored)), None), "what is not written is not told");
    assert_eq!(bus.publish(&node("n2"), &numbered(8)).await.unwrap(), 1);
    assert_eq!(next(&mut inbox).await, Some(numbered(8)), "nothing came before");
}
