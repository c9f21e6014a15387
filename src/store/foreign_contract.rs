//! What another version left in Redis is passed over: nothing that is asked of many fails for one, nothing foreign is
//! decided on or written over.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface, ListInterface, SortedSetsInterface};
use tokio_util::task::TaskTracker;

use super::contract::{UNLIMITED, apply, by, call, test_server};
use super::redis::{RedisCalls, RedisOutbox, RedisSessions, RedisTokens, connect};
use super::*;
use crate::call::{Command, EarlyCommandKind, EndReason, TokenHash, What};
use crate::clock::Clock;

const MINUTE: Duration = Duration::from_secs(60);
const ODD: &str = r#"{"from_tomorrow":{"x":1}}"#;

struct Stage {
    client: Client,
    prefix: String,
    calls: RedisCalls,
    now: Timestamp,
}

impl Stage {
    async fn set() -> Self {
        let client = connect(&test_server::shared().url(), &TaskTracker::new()).await.expect("redis answers");
        let prefix = format!("f{:016x}", rand::random::<u64>());
        let calls = RedisCalls::new(client.clone(), &prefix, UNLIMITED);
        Self { client, prefix, calls, now: Clock::system().now() }
    }

    fn key(&self, rest: &str) -> String {
        format!("{{{}:c}}:{rest}", self.prefix)
    }

    /// A call as another version may have stored it, in a state that nobody here knows.
    async fn foreign(&self, id: &str, live: &str) -> String {
        let mut record = serde_json::to_value(call(id, "ana", "bo", self.now)).unwrap();
        record["state"] = serde_json::from_str(ODD).unwrap();
        let record = record.to_string();
        let fields = vec![("v", "9:9"), ("live", live), ("d", record.as_str())];
        self.client.hset::<(), _, _>(self.key(&format!("call:{id}")), fields).await.unwrap();
        record
    }

    async fn stored(&self, id: &str) -> String {
        self.client.hget(self.key(&format!("call:{id}")), "d").await.unwrap()
    }

    async fn on_line(&self, user: &str, id: &str) {
        self.client.set::<(), _, _>(self.key(&format!("line:{user}")), id, None, None, false).await.unwrap();
    }

    async fn push(&self, key: &str, text: &str) {
        self.client.lpush::<(), _, _>(self.key(key), text).await.unwrap();
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn id(text: &str) -> CallId {
    CallId::parse(text).unwrap()
}

#[tokio::test]
async fn a_foreign_call_takes_its_line_and_is_nobodys_here() {
    let stage = Stage::set().await;
    let (calls, now) = (&stage.calls, stage.now);
    let record = stage.foreign("9", "1").await;
    stage.on_line("bo", "9").await;

    let ring = call("1", "cleo", "bo", now);
    assert_eq!(calls.create(&ring, &[], &[], &[], now).await.unwrap(), Created::Taken);
    let dialled = call("2", "bo", "cleo", now);
    assert_eq!(calls.create(&dialled, &[], &[], &[], now).await.unwrap(), Created::Taken);
    assert_eq!(calls.load(&id("1")).await.unwrap(), None, "nothing was written");

    let same_id = call("9", "ana", "bo", now);
    let corrupt = |error: Option<StoreError>| assert!(matches!(error, Some(StoreError::Corrupt { .. })), "{error:?}");
    corrupt(calls.load(&id("9")).await.err());
    corrupt(calls.line(&user("bo")).await.err());
    corrupt(calls.create(&same_id, &[], &[], &[], now).await.err());
    corrupt(calls.swap(&same_id, same_id.version, &[], &[]).await.err());
    let early = EarlyCommand::unreadable(&user("bo"), now);
    corrupt(calls.keep_early(&id("9"), &early, now).await.err());
    assert!(!calls.restore(&same_id, &[]).await.unwrap().written, "older than what is stored");
    assert_eq!(stage.stored("9").await, record, "nobody wrote over it");

    // Its own version says that it is over.
    stage.foreign("9", "0").await;
    assert_eq!(calls.line(&user("bo")).await.unwrap(), None);
    assert!(matches!(calls.create(&ring, &[], &[], &[], now).await.unwrap(), Created::Created(_)));
}

#[tokio::test]
async fn a_desk_shows_what_can_be_read() {
    let stage = Stage::set().await;
    let (calls, now) = (&stage.calls, stage.now);
    let ring = call("1", "ana", "bo", now);
    calls.create(&ring, &[], &[], &[], now).await.unwrap();
    let ended = apply(&ring, Command::Cancel { by: by("ana"), reason: None }, now);
    calls.swap(&ended, ring.version, &[], &[]).await.unwrap();
    // The newest is the one whose record is looked for.
    for odd in [ODD, "nothing of ours", "7", r#"{"call_id":7}"#] {
        stage.push("outcomes:bo", odd).await;
        let snapshot = calls.reconnect_snapshot(&user("bo")).await.unwrap();
        let listed: Vec<_> = snapshot.outcomes.iter().map(|outcome| outcome.call_id.as_str()).collect();
        assert_eq!((listed, snapshot.taken), (vec!["1"], false), "beside {odd}");
    }
    stage.foreign("9", "1").await;
    stage.on_line("ana", "9").await;
    stage.push("outcomes:ana", r#"{"call_id":"9","spelled":"9","reason":"odd","ended_at":1}"#).await;
    let snapshot = calls.reconnect_snapshot(&user("ana")).await.unwrap();
    assert_eq!((snapshot.taken, snapshot.line, snapshot.last, snapshot.outcomes.len()), (true, None, None, 2));

    // An end that is put back finds its place among them.
    let mut again = ended.clone();
    again.version = ended.version.next(1);
    assert!(calls.restore(&again, &[]).await.unwrap().written);
}

#[tokio::test]
async fn an_end_of_another_reason_is_read_and_stays() {
    let stage = Stage::set().await;
    let ring = call("1", "ana", "bo", stage.now);
    let ended = apply(&ring, Command::Cancel { by: by("ana"), reason: None }, stage.now);
    let mut record = serde_json::to_value(&ended).unwrap();
    record["state"]["ended"]["reason"] = serde_json::from_str(ODD).unwrap();
    let fields = vec![("v", "2:2".to_owned()), ("live", "0".to_owned()), ("d", record.to_string())];
    stage.client.hset::<(), _, _>(stage.key("call:1"), fields).await.unwrap();
    let read = stage.calls.load(&id("1")).await.unwrap().unwrap();
    assert!(matches!(read.end().map(|end| end.reason), Some(EndReason::Other(_))));
    for command in [Command::Accept { by: by("bo") }, Command::Report] {
        let written = match crate::call::step(&read, &command, stage.now) {
            Ok(decision) => decision.next,
            Err(refused) => refused.record.map(|record| *record),
        };
        assert_eq!(written, None, "the reason would be lost");
    }
}

#[tokio::test]
async fn one_of_many_that_cannot_be_read_stops_no_other() {
    let stage = Stage::set().await;
    let (calls, now) = (&stage.calls, stage.now);
    let ring = call("1", "ana", "bo", now);
    let created = Milestone::new(What::Created, now, &NodeId::parse("n1").unwrap());
    calls.create(&ring, &[], &[], std::slice::from_ref(&created), now).await.unwrap();
    stage.foreign("9", "1").await;

    stage.client.hset::<(), _, _>(stage.key("call:8"), ("v", "of tomorrow")).await.unwrap();
    let versions = calls.versions(&[id("8"), id("1"), id("7"), id("9")]).await.unwrap();
    let nine = Version { counter: 9, nonce: 9 };
    let none = LastKept::default();
    let expected = [Some((Version::default(), none)), Some((ring.version, none)), None, Some((nine, none))];
    assert_eq!(versions, expected);

    stage.on_line("cleo", "no id at all").await;
    assert_eq!(calls.lines(&[user("cleo"), user("ana")]).await.unwrap(), [None, Some(id("1"))]);

    for odd in [ODD, "nothing of ours"] {
        stage.push("timeline:1", odd).await;
    }
    stage.push("timeline:1", r#"{"at":7,"what":{"from_tomorrow":1},"party":"bystander"}"#).await;
    let timeline = calls.timeline(&id("1")).await.unwrap();
    assert_eq!(timeline.iter().map(|milestone| milestone.what.name()).collect::<Vec<_>>(), ["other", "created"]);

    // Deadlines: a foreign call's is offered like any, so that a node of its version may take it.
    stage.client.hset::<(), _, _>(stage.key("call:no id at all"), ("live", "1")).await.unwrap();
    let due = vec![(0.0, "9"), (0.0, "no id at all")];
    stage.client.zadd::<(), _, _>(stage.key("due"), None, None, false, false, due).await.unwrap();
    let late = now + MINUTE;
    assert_eq!(calls.claim_due(late, late, MINUTE, 8).await.unwrap(), [id("9"), id("1")]);
}

#[tokio::test]
async fn an_early_command_that_cannot_be_read_waits_beside_the_others() {
    let stage = Stage::set().await;
    let (calls, now) = (&stage.calls, stage.now);
    let reject = EarlyCommand { kind: EarlyCommandKind::Reject, ..EarlyCommand::unreadable(&user("bo"), now) };
    calls.keep_early(&id("1"), &reject, now).await.unwrap();
    let odd = format!("{}|{ODD}", now.as_millis() + 1);
    stage.client.hset::<(), _, _>(stage.key("verdicts:bo"), ("1|t", odd)).await.unwrap();
    let ring = call("1", "ana", "bo", now);
    let Created::EarlyCommands(seen) = calls.create(&ring, &[], &[], &[], now).await.unwrap() else {
        panic!("none kept")
    };
    assert_eq!(seen.len(), 2);
    let resolved = crate::call::resolve(&ring, &seen);
    assert_eq!(resolved.end().map(|end| end.reason), Some(EndReason::Rejected), "the other one is obeyed");
    assert!(matches!(calls.create(&resolved, &seen, &[], &[], now).await.unwrap(), Created::Created(_)));
}

#[tokio::test]
async fn sessions_leases_and_tokens_beside_foreign_ones() {
    let stage = Stage::set().await;
    let sessions = RedisSessions::new(stage.client.clone(), stage.client.clone(), &stage.prefix);
    let session = |number: u128| SessionRecord {
        id: SessionId::from_random(number),
        user: user("bo"),
        node: NodeId::parse("n1").unwrap(),
        epoch: 7,
        device: Device::Named("d".into()),
        acks: true,
        connected_at: stage.now,
    };
    let (first, second) = (session(1), session(2));
    sessions.register(&first).await.unwrap();
    let mut found = Vec::new();
    for shard in 0..64 {
        let key = format!("{{{}:p{shard}}}:sessions:bo", stage.prefix);
        if stage.client.exists::<u64, _>(key.as_str()).await.unwrap() == 1 {
            found.push(key);
        }
    }
    let [key] = found.as_slice() else { panic!("{found:?}") };
    stage.client.hset::<(), _, _>(key.as_str(), ("n1|7|odd", ODD)).await.unwrap();
    let mut device = serde_json::to_value(session(3)).unwrap();
    device["device"] = serde_json::from_str(ODD).unwrap();
    stage.client.hset::<(), _, _>(key.as_str(), ("n2|7|x", device.to_string())).await.unwrap();

    assert_eq!(sessions.register(&second).await.unwrap().sessions.len(), 3);
    assert_eq!(sessions.sessions(&user("bo")).await.unwrap().len(), 3, "also the one on a device of another kind");
    assert_eq!(sessions.sessions_of(&[user("ana"), user("bo")]).await.unwrap().iter().map(Vec::len).sum::<usize>(), 3);

    let lease = Lease {
        node: NodeId::parse("n1").unwrap(),
        epoch: 7,
        address: "a".into(),
        probe: "p".into(),
        expires_at: stage.now,
        sessions: 2,
    };
    let nodes = format!("{{{}:n}}:", stage.prefix);
    stage.client.hset::<(), _, _>(format!("{nodes}nodes"), ("n9", ODD)).await.unwrap();
    let far = (stage.now.as_millis() + 60_000) as f64;
    stage.client.zadd::<(), _, _>(format!("{nodes}leases"), None, None, false, false, (far, "n9")).await.unwrap();
    let renewed = sessions.renew(&lease, MINUTE, Some(stage.now)).await.unwrap();
    assert_eq!(renewed.leases.iter().map(|lease| lease.node.as_str()).collect::<Vec<_>>(), ["n1"]);

    let swept = sessions.sweep(&lease, stage.now, MINUTE, 512).await.unwrap();
    assert_eq!((swept.sessions.len(), swept.claimed), (2, 1), "{swept:?}");
    sessions.swept(&lease, &[user("bo")]).await.unwrap();
    assert_eq!(sessions.sweep(&lease, stage.now, MINUTE, 512).await.unwrap().claimed, 0, "the odd one went with them");

    let tokens = RedisTokens::new(stage.client.clone(), &stage.prefix);
    let hash = TokenHash::from_digest([7; 32]);
    let key = format!("{}:token:{hash}", stage.prefix);
    for _ in 0..2 {
        stage.client.set::<(), _, _>(key.as_str(), ODD, None, None, false).await.unwrap();
        assert_eq!(tokens.get(&hash).await.unwrap(), None, "so laravel is asked");
        tokens.forget(&hash).await.unwrap();
    }
}

#[tokio::test]
async fn messages_beside_foreign_ones() {
    let stage = Stage::set().await;
    let outbox = RedisOutbox::new(stage.client.clone(), &stage.prefix, OutboxBounds::default());
    let message = |id: &str, call: Option<&str>| OutboxMessage {
        id: id.into(),
        queue: Queue::Events,
        call: call.map(|call| CallId::parse(call).unwrap()),
        at: stage.now,
        due: stage.now,
        until: None,
        body: "{}".into(),
    };
    let messages = [message("odd", None), message("a", None), message("1.1", Some("1")), message("1.2", Some("1"))];
    outbox.append(&messages).await.unwrap();
    let kept = stage.key("outbox:letters");
    stage.client.hset::<(), _, _>(kept.as_str(), ("odd", format!("events||0|{ODD}"))).await.unwrap();
    stage.client.hset::<(), _, _>(kept.as_str(), ("1.2", format!("events|1|0|{ODD}"))).await.unwrap();
    let mut claims = outbox.claim(Queue::Events, stage.now, MINUTE, 8).await.unwrap();
    claims.sort_by(|one, other| one.message.id.cmp(&other.message.id));
    assert_eq!(claims.iter().map(|claim| claim.message.id.as_str()).collect::<Vec<_>>(), ["1.1", "a"]);
    let next = outbox.settle(&claims[0], &Settled::Done { lease: MINUTE }, stage.now).await.unwrap();
    assert_eq!(next, None, "the next of its call is left to a node that can read it");
    let dead = Settled::Dead { error: "gone".into(), attempts: 1 };
    outbox.settle(&claims[1], &dead, stage.now).await.unwrap();
    let score = (stage.now.as_millis() as f64, "odd");
    stage.client.zadd::<(), _, _>(stage.key("outbox:dead"), None, None, false, false, score).await.unwrap();
    let dead = outbox.dead_letters(8).await.unwrap();
    assert_eq!(dead.iter().map(|dead| dead.message.id.as_str()).collect::<Vec<_>>(), ["a"]);
    // Its lease runs out.
    let later = stage.now + MINUTE * 2;
    assert!(outbox.claim(Queue::Events, later, MINUTE, 8).await.unwrap().is_empty());
}
