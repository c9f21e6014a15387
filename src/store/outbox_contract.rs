//! What every outbox promises, run once on memory and once on Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::contract::{UNLIMITED, apply, by, call, contract, test_server};
use super::memory::MemoryStore;
use super::redis::{RedisCalls, RedisOutbox, connect};
use super::*;
use crate::call::Command;
use crate::clock::Clock;

const LEASE: Duration = Duration::from_secs(20);
const BOUNDS: OutboxBounds = OutboxBounds { messages: 8, bytes: 4000 };

struct Stores {
    calls: Arc<dyn CallStore>,
    outbox: Arc<dyn Outbox>,
    now: Timestamp,
}

fn memory() -> Stores {
    let clock = Clock::system();
    let store = Arc::new(MemoryStore::bounded(clock.clone(), UNLIMITED, BOUNDS));
    Stores { calls: store.clone(), outbox: store, now: clock.now() }
}

async fn redis_at(url: &str) -> Stores {
    let client = connect(url, &TaskTracker::new()).await.expect("redis answers");
    let prefix = format!("c{:016x}", rand::random::<u64>());
    Stores {
        calls: Arc::new(RedisCalls::new(client.clone(), &prefix, UNLIMITED).bounded(BOUNDS)),
        outbox: Arc::new(RedisOutbox::new(client, &prefix, BOUNDS)),
        now: Clock::system().now(),
    }
}

async fn redis() -> Stores {
    redis_at(&test_server::shared().url()).await
}

fn message(call: &str, id: &str, queue: Queue, now: Timestamp) -> OutboxMessage {
    OutboxMessage {
        id: id.into(),
        queue,
        call: Some(CallId::parse(call).unwrap()),
        at: now,
        due: now,
        until: None,
        body: format!("{{\"id\":\"{id}\",\"text\":\"a|b\\n|c\"}}"),
    }
}

fn event(call: &str, id: &str, now: Timestamp) -> OutboxMessage {
    message(call, id, Queue::Events, now)
}

fn after(now: Timestamp, seconds: u64) -> Timestamp {
    now + Duration::from_secs(seconds)
}

fn ids(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.message.id.as_str()).collect()
}

const DONE: Settled = Settled::Done { lease: LEASE };

contract! {
    /// The messages of a call are found by its id as it is stored.
    async fn messages_of_any_stored_id_are_claimed(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        for (id, call) in [("a", "CALL_CALL_1"), ("b", "CALL_2"), ("c", "CALL_")] {
            let message = OutboxMessage { call: Some(CallId::stored(call).unwrap()), ..event("x", id, now) };
            outbox.append(&[message]).await.unwrap();
        }
        let claims = outbox.claim(Queue::Events, now, LEASE, 8).await.unwrap();
        assert_eq!(ids(&claims).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b", "c"]));
    }

    /// A change of a call and its messages are written together, or neither is.
    async fn messages_come_with_their_change(stores: Stores) {
        let (calls, outbox, now) = (stores.calls, stores.outbox, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let initiated = event("1", "1.1", now);
        calls.create(&first, &[], std::slice::from_ref(&initiated), &[], now).await.unwrap();
        calls.create(&first, &[], &[event("1", "never", now)], &[], now).await.unwrap();
        let busy = call("CALL_2", "cleo", "bo", now);
        calls.create(&busy, &[], &[event("2", "never", now)], &[], now).await.unwrap();
        let cancelled = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
        calls.swap(&cancelled, Version { counter: 9, nonce: 9 }, &[event("1", "never", now)], &[]).await.unwrap();
        assert_eq!(outbox.backlog().await.unwrap().waiting, 1, "what was refused wrote nothing");
        calls.swap(&cancelled, first.version, &[event("1", "1.5", now)], &[]).await.unwrap();
        let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        assert_eq!(ids(&claims), vec!["1.1"], "one of a call at a time");
        assert_eq!(claims[0].message, initiated, "as it was written");
        let next = outbox.settle(&claims[0], &DONE, now).await.unwrap().unwrap();
        assert_eq!(next.message.id, "1.5");
        assert_eq!(outbox.settle(&next, &DONE, now).await.unwrap(), None);
        assert_eq!(outbox.backlog().await.unwrap(), Backlog::default());
        // A call that is over when it is written has messages too.
        let over = apply(&call("CALL_3", "ana", "bo", now), Command::Displace { by: crate::call::Role::Callee }, now);
        calls.create(&over, &[], &[event("3", "3.1", now), event("3", "3.5", now)], &[], now).await.unwrap();
        let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        assert_eq!(ids(&claims), vec!["3.1"]);
    }

    /// A call that is put back brings what it has to tell, unless the store knew the call.
    async fn a_restored_call_brings_its_outbox_messages(stores: Stores) {
        let (calls, outbox, now) = (stores.calls, stores.outbox, stores.now);
        let first = call("CALL_1", "ana", "bo", now);
        let messages = [event("1", "1.1", now), event("1", "1.3", now)];
        assert_eq!(calls.restore(&first, &messages).await.unwrap(), crate::store::contract::restored());
        assert_eq!(calls.restore(&first, &[event("1", "never", now)]).await.unwrap(), crate::store::contract::known());
        let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        let next = outbox.settle(&claims[0], &DONE, now).await.unwrap().unwrap();
        assert_eq!((claims[0].message.id.as_str(), next.message.id.as_str()), ("1.1", "1.3"));
        assert_eq!(outbox.settle(&next, &DONE, now).await.unwrap(), None);
    }

    /// Messages of one call are handed out one after the other, those of others beside them.
    async fn a_call_is_told_in_order(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        for id in ["a.1", "a.2", "b.1", "b.2"] {
            outbox.append(&[event(&id[..1], id, now)]).await.unwrap();
        }
        let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        assert_eq!(ids(&claims), vec!["a.1", "b.1"]);
        assert!(outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap().is_empty(), "both calls are leased");
        // What waits is not overtaken by what comes later.
        let later = Settled::Later { at: after(now, 5), attempts: 1 };
        assert_eq!(outbox.settle(&claims[0], &later, now).await.unwrap(), None);
        outbox.append(&[event("a", "a.3", now)]).await.unwrap();
        assert!(outbox.claim(Queue::Events, after(now, 4), LEASE, 10).await.unwrap().is_empty());
        let again = outbox.claim(Queue::Events, after(now, 5), LEASE, 10).await.unwrap();
        assert_eq!((ids(&again), again[0].attempts), (vec!["a.1"], 1));
        // One that goes its own way lets the others pass, and comes back by itself.
        let apart = Settled::Apart { at: after(now, 60), attempts: 3 };
        outbox.settle(&again[0], &apart, after(now, 5)).await.unwrap();
        let second = outbox.claim(Queue::Events, after(now, 5), LEASE, 10).await.unwrap();
        assert_eq!(ids(&second), vec!["a.2"]);
        let third = outbox.settle(&second[0], &DONE, after(now, 6)).await.unwrap().unwrap();
        assert_eq!(third.message.id, "a.3");
        assert_eq!(outbox.settle(&third, &DONE, after(now, 6)).await.unwrap(), None);
        outbox.settle(&claims[1], &DONE, after(now, 6)).await.unwrap();
        let alone = outbox.claim(Queue::Events, after(now, 60), Duration::from_secs(90), 10).await.unwrap();
        assert_eq!(ids(&alone), vec!["b.2", "a.1"], "the lease that nobody settled, and the one on its own way");
        assert_eq!(alone[1].attempts, 3);
        let later = Settled::Later { at: after(now, 90), attempts: 4 };
        outbox.settle(&alone[1], &later, after(now, 60)).await.unwrap();
        let again = outbox.claim(Queue::Events, after(now, 90), LEASE, 10).await.unwrap();
        assert_eq!((ids(&again), again[0].attempts), (vec!["a.1"], 4));
    }

    /// Pushes and callbacks wait for no other message, and each queue is claimed by itself.
    async fn queues_are_apart(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        outbox.append(&[event("a", "a.1", now), message("a", "a.2", Queue::Pushes, now)]).await.unwrap();
        let mut cancel = message("a", "a.c", Queue::Callbacks, now);
        cancel.due = after(now, 2);
        outbox.append(&[cancel]).await.unwrap();
        assert_eq!(ids(&outbox.claim(Queue::Pushes, now, LEASE, 10).await.unwrap()), vec!["a.2"]);
        assert!(outbox.claim(Queue::Callbacks, now, LEASE, 10).await.unwrap().is_empty(), "not due yet");
        assert_eq!(ids(&outbox.claim(Queue::Callbacks, after(now, 2), LEASE, 10).await.unwrap()), vec!["a.c"]);
        assert_eq!(ids(&outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap()), vec!["a.1"]);
    }

    /// What a dead node had claimed is handed out again; who comes back too late changes nothing.
    async fn a_lease_ends(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        outbox.append(&[event("a", "a.1", now), event("a", "a.2", now), event("a", "a.3", now)]).await.unwrap();
        let dead = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        assert!(outbox.claim(Queue::Events, after(now, 19), LEASE, 10).await.unwrap().is_empty());
        let heir = outbox.claim(Queue::Events, after(now, 20), LEASE, 10).await.unwrap();
        assert_eq!(ids(&heir), vec!["a.1"]);
        let later = Settled::Later { at: after(now, 500), attempts: 1 };
        outbox.settle(&dead[0], &later, after(now, 21)).await.unwrap();
        outbox.settle(&dead[0], &Settled::Dead { error: "x".into(), attempts: 9 }, after(now, 21)).await.unwrap();
        assert_eq!(outbox.backlog().await.unwrap().dead, 0);
        // It was delivered all the same: that counts.
        assert_eq!(outbox.settle(&dead[0], &DONE, after(now, 21)).await.unwrap(), None);
        assert_eq!(outbox.backlog().await.unwrap().waiting, 2);
        let second = outbox.settle(&heir[0], &DONE, after(now, 22)).await.unwrap().unwrap();
        assert_eq!(second.message.id, "a.2");
        // The lease was prolonged with the step to the next message.
        assert!(outbox.claim(Queue::Events, after(now, 41), LEASE, 10).await.unwrap().is_empty());
        assert_eq!(ids(&outbox.claim(Queue::Events, after(now, 42), LEASE, 10).await.unwrap()), vec!["a.2"]);
    }

    /// Two claimers never get the same message.
    async fn claimers_do_not_meet(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        for name in ["a", "b", "c", "d", "e", "f"] {
            outbox.append(&[event(name, &format!("{name}.1"), now)]).await.unwrap();
        }
        let claim = || outbox.claim(Queue::Events, now, LEASE, 2);
        let (one, two, three, four) = tokio::join!(claim(), claim(), claim(), claim());
        let claims: Vec<Claim> = [one, two, three, four].into_iter().flat_map(Result::unwrap).collect();
        let distinct: BTreeSet<&str> = ids(&claims).into_iter().collect();
        assert_eq!((claims.len(), distinct.len()), (6, 6));
    }

    /// Dead letters are kept, listed, replayed by id, call and time, and forgotten when they are old.
    async fn dead_letters_can_be_replayed(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        let die = async |id: &str, at: Timestamp| {
            outbox.append(&[event(&id[..1], id, now)]).await.unwrap();
            let claims = outbox.claim(Queue::Events, at, LEASE, 10).await.unwrap();
            let dead = Settled::Dead { error: "HTTP 500".into(), attempts: 10 };
            outbox.settle(&claims[0], &dead, at).await.unwrap();
        };
        for (second, id) in ["a.1", "b.1", "b.2", "c.1"].into_iter().enumerate() {
            die(id, after(now, second as u64)).await;
        }
        let dead = outbox.dead_letters(3).await.unwrap();
        let listed: Vec<&str> = dead.iter().map(|dead| dead.message.id.as_str()).collect();
        assert_eq!(listed, vec!["c.1", "b.2", "b.1"], "the newest first");
        assert_eq!((dead[0].error.as_str(), dead[0].attempts, dead[0].died_at), ("HTTP 500", 10, after(now, 3)));
        let backlog = outbox.backlog().await.unwrap();
        assert_eq!((backlog.waiting, backlog.dead, backlog.oldest), (0, 4, None));
        assert!(outbox.claim(Queue::Events, after(now, 1000), LEASE, 10).await.unwrap().is_empty());
        let later = after(now, 50);
        assert_eq!(outbox.replay(&Which::Id("a.1".into()), later).await.unwrap().messages, 1);
        assert_eq!(outbox.replay(&Which::Id("a.1".into()), later).await.unwrap().messages, 0);
        assert_eq!(outbox.replay(&Which::Call(CallId::parse("CALL_b").unwrap()), later).await.unwrap().messages, 2);
        let mut claims = outbox.claim(Queue::Events, later, LEASE, 10).await.unwrap();
        claims.sort_by_key(|claim| claim.message.id.clone());
        assert_eq!(ids(&claims), vec!["a.1", "b.1", "b.2"]);
        assert!(claims.iter().all(|claim| claim.attempts == 0), "from the first attempt on");
        for claim in &claims {
            outbox.settle(claim, &DONE, later).await.unwrap();
        }
        assert_eq!(outbox.replay(&Which::Since(after(now, 4)), later).await.unwrap().messages, 0);
        assert_eq!(outbox.replay(&Which::Since(after(now, 3)), later).await.unwrap().messages, 1);
        die("d.1", after(now, 60)).await;
        assert_eq!(outbox.bury(after(now, 60), later).await.unwrap(), 0);
        assert_eq!(outbox.bury(after(now, 61), later).await.unwrap() + outbox.bury(after(now, 61), later).await.unwrap(), 1);
        assert_eq!(outbox.backlog().await.unwrap().dead, 0);
    }

    /// Beyond its bounds the oldest are dropped and counted, dead ones first, and a call is never refused for it.
    async fn the_oldest_are_dropped(stores: Stores) {
        let (calls, outbox, now) = (stores.calls, stores.outbox, stores.now);
        for second in 0..BOUNDS.messages {
            let at = after(now, second);
            outbox.append(&[OutboxMessage { at, due: at, ..event("a", &format!("a.{second}"), now) }]).await.unwrap();
        }
        let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        assert_eq!(ids(&claims), vec!["a.0"]);
        let dead = Settled::Dead { error: String::new(), attempts: 1 };
        outbox.settle(&claims[0], &dead, after(now, 1)).await.unwrap();
        let first = call("CALL_1", "ana", "bo", now);
        let late = |id: &str| OutboxMessage { at: after(now, 99), ..event("1", id, after(now, 99)) };
        let created = calls.create(&first, &[], &[late("1.1")], &[], now).await.unwrap();
        assert!(matches!(created, Created::Created(_)), "{created:?}");
        let backlog = outbox.backlog().await.unwrap();
        assert_eq!((backlog.waiting, backlog.dead, backlog.dropped), (BOUNDS.messages, 0, 1), "the dead one");
        outbox.append(&[late("1.2"), late("1.3")]).await.unwrap();
        let backlog = outbox.backlog().await.unwrap();
        assert_eq!((backlog.waiting, backlog.dropped), (BOUNDS.messages, 3));
        assert_eq!(backlog.oldest, Some(after(now, 3)));
        let claims = outbox.claim(Queue::Events, after(now, 10), LEASE, 10).await.unwrap();
        assert_eq!(ids(&claims), vec!["a.3"], "the chain goes on behind what was dropped");
        let large = OutboxMessage { body: "x".repeat(3700), ..late("1.4") };
        outbox.append(&[large]).await.unwrap();
        let backlog = outbox.backlog().await.unwrap();
        assert!(backlog.bytes <= BOUNDS.bytes, "{backlog:?}");
        assert!(backlog.waiting >= 1 && backlog.waiting < 3, "{backlog:?}");
        assert_eq!(outbox.settle(&claims[0], &DONE, after(now, 10)).await.unwrap(), None, "dropped while it was sent");
    }

    /// The receiver is back: all that waits for a later attempt is due, what is on its way stays there.
    async fn what_waits_can_be_hurried(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        outbox.append(&[event("a", "a.1", now), event("b", "b.1", now), message("c", "c.1", Queue::Pushes, now)]).await.unwrap();
        let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
        let pushes = outbox.claim(Queue::Pushes, now, LEASE, 10).await.unwrap();
        let far = Settled::Later { at: after(now, 9000), attempts: 5 };
        outbox.settle(&claims[0], &far, now).await.unwrap();
        outbox.settle(&pushes[0], &far, now).await.unwrap();
        outbox.hurry(Queue::Events, after(now, 1)).await.unwrap();
        assert_eq!(ids(&outbox.claim(Queue::Events, after(now, 1), LEASE, 10).await.unwrap()), vec!["a.1"]);
        assert!(outbox.claim(Queue::Pushes, after(now, 1), LEASE, 10).await.unwrap().is_empty(), "another queue");
    }

    /// The same message is not appended twice.
    async fn an_id_is_written_once(stores: Stores) {
        let (outbox, now) = (stores.outbox, stores.now);
        outbox.append(&[event("a", "a.1", now), event("a", "a.1", now)]).await.unwrap();
        outbox.append(&[event("a", "a.1", now)]).await.unwrap();
        outbox.append(&[]).await.unwrap();
        assert_eq!(outbox.backlog().await.unwrap().waiting, 1);
    }

    /// That a receiver wants nothing more outlives the node that was told.
    async fn a_receiver_is_switched_off(stores: Stores) {
        let outbox = stores.outbox;
        assert_eq!(outbox.switched_off().await.unwrap(), None);
        outbox.switch_off(Some("https://l.test")).await.unwrap();
        assert_eq!(outbox.switched_off().await.unwrap().as_deref(), Some("https://l.test"));
        outbox.switch_off(None).await.unwrap();
        assert_eq!(outbox.switched_off().await.unwrap(), None);
    }
}

/// A node of an older version gives messages up without listing them under their calls, and removes listed ones: the
/// first are found all the same, the others are not.
#[tokio::test]
async fn dead_letters_of_older_nodes_are_found_by_their_call() {
    use fred::interfaces::{HashesInterface, KeysInterface, SortedSetsInterface};
    let client = connect(&test_server::shared().url(), &TaskTracker::new()).await.expect("redis answers");
    let prefix = format!("c{:016x}", rand::random::<u64>());
    let outbox = RedisOutbox::new(client.clone(), &prefix, OutboxBounds::default());
    let key = |name: &str| format!("{{{prefix}:c}}:outbox:{name}");
    let (now, dead) = (Clock::system().now(), Settled::Dead { error: "HTTP 500".into(), attempts: 10 });
    let which = |call: &str| Which::Call(CallId::parse(call).unwrap());
    let listed = async |call: &str| client.zcard::<u64, _>(key(&format!("dead_of:{call}"))).await.unwrap();
    for (number, call) in ["old", "young", "gone"].into_iter().enumerate() {
        let at = now + Duration::from_secs(100 * number as u64);
        let messages: Vec<OutboxMessage> =
            (0..100).map(|n| message(call, &format!("{call}.{n}"), Queue::Pushes, now)).collect();
        outbox.append(&messages).await.unwrap();
        for claim in outbox.claim(Queue::Pushes, at, LEASE, 100).await.unwrap() {
            outbox.settle(&claim, &dead, at).await.unwrap();
        }
        assert_eq!(listed(call).await, 100);
    }
    for call in ["old", "young"] {
        client.del::<(), _>(key(&format!("dead_of:{call}"))).await.unwrap();
    }
    for n in 0..100 {
        client.zrem::<(), _, _>(key("dead"), format!("gone.{n}")).await.unwrap();
        client.hdel::<(), _, _>(key("letters"), format!("gone.{n}")).await.unwrap();
    }
    // Upkeep lists what no node can add to any more.
    outbox.bury(now, after(now, 121)).await.unwrap();
    assert_eq!((listed("old").await, listed("young").await), (100, 0));
    let replayed = |messages| Replayed { messages, more: false };
    assert_eq!(outbox.replay(&which("young"), after(now, 121)).await.unwrap(), replayed(100), "who asks finds all");
    assert_eq!(outbox.replay(&which("old"), after(now, 121)).await.unwrap(), replayed(100));
    assert_eq!(outbox.replay(&which("gone"), after(now, 121)).await.unwrap(), replayed(0));
    assert_eq!((listed("old").await, listed("gone").await), (0, 0));
    assert_eq!(outbox.backlog().await.unwrap().dead, 0);
}

/// A call ends even when Redis is out of memory, and its message is written; a delivered message goes.
#[tokio::test]
async fn a_call_ends_when_redis_is_out_of_memory() {
    use fred::interfaces::ClientLike;
    let server = test_server::Redis::start();
    let stores = redis_at(&server.url()).await;
    let (calls, outbox, now) = (stores.calls, stores.outbox, stores.now);
    let first = call("CALL_1", "ana", "bo", now);
    calls.create(&first, &[], &[event("1", "1.1", now)], &[], now).await.unwrap();
    let client = connect(&server.url(), &TaskTracker::new()).await.unwrap();
    let config = fred::types::CustomCommand::new_static("CONFIG", fred::types::ClusterHash::FirstKey, false);
    client.custom::<(), _>(config, vec!["SET", "maxmemory", "1"]).await.unwrap();
    assert!(calls.create(&call("CALL_2", "cleo", "dan", now), &[], &[], &[], now).await.is_err(), "no new call");
    let ended = apply(&first, Command::Cancel { by: by("ana"), reason: None }, now);
    let swapped = calls.swap(&ended, first.version, &[event("1", "1.5", now)], &[]).await.unwrap();
    assert!(matches!(swapped, Swap::Done { .. }), "{swapped:?}");
    let claims = outbox.claim(Queue::Events, now, LEASE, 10).await.unwrap();
    let next = outbox.settle(&claims[0], &DONE, now).await.unwrap().unwrap();
    let later = Settled::Later { at: after(now, 5), attempts: 1 };
    outbox.settle(&next, &later, now).await.unwrap();
    assert_eq!(outbox.backlog().await.unwrap().waiting, 1);
}
