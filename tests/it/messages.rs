//! Messages inside a call: to each device of the other side, in order, and again to who joins or returns.

use std::time::Duration;

use futures_util::future::join_all;
use onlycare_signaling::call::{CallId, Role};
use onlycare_signaling::store::NewMessage;
use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get_with};
use crate::harness::phone::{unique, unique_call};
use crate::harness::receiver::Receiver;
use crate::harness::redis::Redis;
use crate::harness::{Backend, Cluster, Phone, Profile, until};
use crate::on_each_backend;

const SOON: Duration = Duration::from_secs(20);

async fn talking(ana: &Phone, bo: &Phone) -> String {
    let id = unique_call();
    ana.rings(&id, bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    id
}

async fn says(phone: &Phone, id: &str, data: Value, keep: bool) -> Value {
    phone.ask("call:message", json!({"callId": id, "data": data, "keep": keep})).await
}

async fn hears(phone: &Phone, expected: &[u64]) {
    for expected in expected {
        assert_eq!(phone.expect_within("call:message", SOON).await["data"], *expected);
    }
}

async fn kept(cluster: &Cluster, id: &str) -> usize {
    cluster.shared.calls.kept(&CallId::parse(id).unwrap(), Role::Caller).await.unwrap().1.len()
}

fn prefix(redis: &Redis) -> String {
    let keys = redis.command(&["--scan", "--pattern", "{*:c}:generation"]);
    keys.trim_start_matches('{').split(':').next().expect("a prefix").to_owned()
}

on_each_backend! {
    /// The ack says to whom; the sender hears nothing of it; strangers and calls that are over are refused.
    async fn a_message_reaches_each_device_of_the_other_side(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
        let pixel = cluster.phone_with(1, Profile::of(&bo).device("pixel")).await;
        let tablet = cluster.phone_with(0, Profile::of(&bo).device("tablet")).await;
        let id = unique_call();
        ana.rings(&id, &pixel).await;
        tablet.expect("call:incoming").await;
        assert_eq!(says(&ana, &id, json!("I ring"), false).await["state"], "ringing");
        pixel.expect("call:message").await;
        tablet.expect("call:message").await;
        pixel.accept(&id).await;
        tablet.expect("call:cancelled").await;
        ana.expect("call:accepted").await;
        let before = says(&ana, &id, json!(0), false).await["order"].as_u64().unwrap();
        let ack = says(&ana, &id, json!({"type": "typing", "on": true}), false).await;
        let handed = json!([{"userId": bo, "devices": 2}]);
        assert_eq!((&ack["success"], &ack["handedTo"]), (&json!(true), &handed), "{ack}");
        assert!(ack["order"].as_u64() > Some(before) && ack.get("kept").is_none() && ack.get("repeat").is_none(), "{ack}");
        for phone in [&pixel, &tablet] {
            hears(phone, &[0]).await;
            let heard = phone.expect("call:message").await;
            assert_eq!((&heard["senderId"], &heard["data"]["on"]), (&json!(ana.user), &json!(true)));
            assert!(heard["order"] == ack["order"] && heard.get("kept").is_none(), "{heard}");
            assert_eq!(heard["timestamp"], ack["order"].as_u64().unwrap() / 1000, "when it was said");
        }
        let eve = cluster.phone(1, &unique("eve")).await;
        assert_eq!(says(&eve, &id, json!(1), true).await["code"], "not_a_participant");
        for (field, odd) in [("keep", json!(7)), ("messageId", json!("a b")), ("data", json!("x".repeat(4100)))] {
            let mut said = json!({"callId": id, "data": 1});
            said[field] = odd;
            assert_eq!(ana.ask("call:message", said).await["code"], "invalid_payload", "{field}");
        }
        assert_eq!(says(&pixel, &id, json!("hi"), true).await["handedTo"], json!([{"userId": ana.user, "devices": 1}]));
        ana.expect("call:message").await;
        ana.end(&id).await;
        pixel.expect("call:ended").await;
        let late = says(&ana, &id, json!(1), false).await;
        assert_eq!((&late["code"], &late["state"], &late["reason"]), (&json!("invalid_state"), &json!("ended"), &json!("hung_up")));
        assert_eq!(says(&ana, &unique_call(), json!(1), false).await["code"], "call_not_found");
        ana.assert_nothing_more().await;
        tablet.assert_nothing_more().await;
        cluster.close().await;
    }

    /// Kept ones come again, in order, to a device that joins and to one that returns; nobody hears one twice.
    async fn what_is_kept_is_told_to_who_joins_or_returns(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
        let phone = cluster.phone_with(1, Profile::of(&bo).device("pixel")).await;
        let id = talking(&ana, &phone).await;
        says(&ana, &id, json!(0), true).await;
        hears(&phone, &[0]).await;
        phone.vanish();
        for said in 1..=60 {
            let ack = says(&ana, &id, json!(said), said % 2 == 0 || said > 10).await;
            assert_eq!(ack["success"], true, "{ack}");
        }
        for (device, last) in [("pixel", [59, 60]), ("tablet", [60, 99])] {
            let phone = cluster.phone_with(0, Profile::of(&bo).device(device)).await;
            let mut heard: Vec<u64> = Vec::new();
            for _ in 0..50 {
                heard.extend(phone.expect_within("call:message", SOON).await["data"].as_u64());
            }
            assert!(heard.is_sorted() && heard.ends_with(&last) && heard.len() == 50, "{heard:?}");
            says(&ana, &id, json!(99), true).await;
            hears(&phone, &[99]).await;
            assert!(!phone.heard().iter().any(|heard| heard.event == "call:message"), "{:?}", phone.heard());
            phone.vanish();
        }
        assert_eq!(kept(&cluster, &id).await, 50);
        ana.end(&id).await;
        assert_eq!(kept(&cluster, &id).await, 0, "gone with the call");
        let phone = cluster.phone_with(1, Profile::of(&bo).device("tablet")).await;
        phone.hears_all_said().await;
        assert!(!phone.heard().iter().any(|heard| heard.event == "call:message"), "{:?}", phone.heard());
        cluster.close().await;
    }

    /// Faster than any phone reads, and over a change of the sender's node: in order, all of what is kept.
    async fn the_order_is_the_senders(backend: Backend) {
        let cluster = Cluster::tuned(backend, 3, |config| config.retention.messages_per_minute = 0).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        let mut said = 0_u64;
        let mut sender = ana;
        for node in [2, 1, 0] {
            let acks = join_all((0..20).map(|place| says(&sender, &id, json!(said + place), true))).await;
            assert!(acks.iter().all(|ack| ack["success"] == true), "{acks:?}");
            said += 20;
            let user = sender.user.clone();
            sender.vanish();
            sender = cluster.phone(node, &user).await;
        }
        hears(&bo, &(0..said).collect::<Vec<_>>()).await;
        sender.end(&id).await;
        bo.expect("call:ended").await;
        bo.assert_nothing_more().await;
        cluster.close().await;
    }

    /// A message that is sent again under its name, over another node too, is heard once and has its place.
    async fn a_message_that_is_sent_again_is_the_same(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        let said = json!({"callId": id, "data": "once", "keep": true, "messageId": "m:1"});
        let first = ana.ask("call:message", said.clone()).await;
        let user = ana.user.clone();
        ana.vanish();
        let ana = cluster.phone(1, &user).await;
        let again = ana.ask("call:message", said).await;
        assert_eq!((&again["order"], &again["repeat"], &again["handedTo"][0]["userId"]), (&first["order"], &json!(true), &json!(bo.user)));
        let heard = bo.expect("call:message").await;
        assert_eq!((&heard["messageId"], &heard["kept"], &heard["order"]), (&json!("m:1"), &json!(true), &first["order"]));
        says(&ana, &id, json!(2), false).await;
        hears(&bo, &[2]).await;
        let answer = bo.ask("call:message", json!({"callId": id, "data": 3, "messageId": "m:1"})).await;
        assert!(answer["success"] == true && answer.get("repeat").is_none(), "his names are his own: {answer}");
        assert_eq!(kept(&cluster, &id).await, 1);
        bo.end(&id).await;
        cluster.close().await;
    }

    /// Their allowance is their own, and one over all nodes: who talks too much still hangs up, and dials.
    async fn messages_have_an_allowance_of_their_own(backend: Backend) {
        let cluster = Cluster::tuned(backend, 2, |config| {
            config.retention.messages_per_minute = 5;
            config.limits.events_per_minute = 20;
        })
        .await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let id = talking(&ana, &bo).await;
        let other = cluster.phone(1, &ana.user).await;
        let asked = (0..30).flat_map(|said| [says(&ana, &id, json!(said), true), says(&other, &id, json!(said), true)]);
        let acks = join_all(asked).await;
        let (handed, refused): (Vec<&Value>, Vec<_>) = acks.iter().partition(|ack| ack["success"] == true);
        assert!((5..=8).contains(&handed.len()) && refused.iter().all(|ack| ack["code"] == "rate_limited"), "{acks:?}");
        assert!(refused.iter().all(|ack| ack["retryAfterMs"].as_u64().is_some_and(|wait| wait <= 60_000)));
        for _ in handed {
            bo.expect_within("call:message", SOON).await;
        }
        assert_eq!(ana.end(&id).await["success"], true);
        bo.expect("call:ended").await;
        cluster.close().await;
    }

    /// 10,000 kept messages and a callee with as many sessions as he may have: bounded, and the call goes on.
    async fn a_flood_of_kept_messages_is_bounded(backend: Backend) {
        let cluster = Cluster::tuned(backend, 2, |config| {
            config.retention.messages_per_minute = 0;
            config.policy.max_sessions_per_user = 32;
        })
        .await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
        let devices = (0..32).map(|number| {
            let profile = Profile::of(&bo).device(&format!("d{number}"));
            cluster.phone_with(number % 2, profile)
        });
        let phones = join_all(devices).await;
        let id = talking(&ana, &phones[0]).await;
        let ack = says(&ana, &id, json!("x".repeat(4000)), true).await;
        assert_eq!(ack["handedTo"][0]["devices"], 32, "{ack}");
        let call = CallId::parse(&id).unwrap();
        let now = cluster.clock.now();
        for said in 0..10_000 {
            let new = NewMessage { by: Role::Caller, id: Some("m"), keep: Some("1") };
            let name = format!("m{said}");
            cluster.shared.calls.place(&call, NewMessage { id: Some(&name), ..new }, now).await.unwrap();
        }
        assert_eq!(kept(&cluster, &id).await, 50);
        let acks = join_all((0..32).map(|_| says(&ana, &id, json!("x".repeat(4000)), true))).await;
        assert!(acks.iter().all(|ack| ack["success"] == true || ack["code"] == "rate_limited"), "{acks:?}");
        assert!(kept(&cluster, &id).await <= 50);
        assert_eq!(ana.end(&id).await["success"], true);
        for phone in &phones[..2] {
            phone.expect_within("call:message", SOON).await;
        }
        phones[0].expect_within("call:ended", SOON).await;
        cluster.close().await;
    }
}

/// An envelope that is lost, be it the last: what was kept is found by the comparison with the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_message_that_was_lost_heals() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| {
        config.policy.heal_active = Duration::from_millis(500);
    })
    .await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let id = talking(&ana, &bo).await;
    let call = CallId::parse(&id).unwrap();
    says(&ana, &id, json!(1), true).await;
    // Written, and told nobody.
    let now = cluster.clock.now();
    let lost = NewMessage { by: Role::Caller, id: Some("m2"), keep: Some("2") };
    cluster.shared.calls.place(&call, lost, now).await.unwrap();
    hears(&bo, &[1, 2]).await;
    let lost = NewMessage { by: Role::Caller, id: None, keep: Some("3") };
    cluster.shared.calls.place(&call, lost, now).await.unwrap();
    says(&ana, &id, json!(4), false).await;
    hears(&bo, &[3, 4]).await;
    ana.end(&id).await;
    bo.expect("call:ended").await;
    bo.assert_nothing_more().await;
    cluster.close().await;
}

/// While the store is away nobody is told anything, and the same message gets through when it is back; after a loss its
/// successors are heard as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_waits_for_a_store_that_is_away() {
    let mut redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let id = talking(&ana, &bo).await;
    says(&ana, &id, json!(1), true).await;
    hears(&bo, &[1]).await;
    redis.stop();
    let said = json!({"callId": id, "data": 2, "keep": true, "messageId": "m2"});
    assert_eq!(ana.ask("call:message", said.clone()).await["code"], "unavailable");
    redis.restart();
    until("the message gets through", SOON, async || ana.ask("call:message", said.clone()).await["success"] == true)
        .await;
    hears(&bo, &[2]).await;
    says(&ana, &id, json!(3), true).await;
    hears(&bo, &[3]).await;
    assert_eq!(ana.end(&id).await["success"], true);
    cluster.close().await;
}

/// Beside nodes that know nothing of orders and kept messages: theirs are told as they come, and what an end by one of
/// them leaves in the store is nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_an_older_node_are_told_as_they_come() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let id = talking(&ana, &bo).await;
    let (prefix, call) = (prefix(&redis), id.trim_start_matches("CALL_"));
    let messages = format!("{{{prefix}:c}}:messages:{call}");
    redis.command(&["RPUSH", &messages, "0 7  \"of another call\""]);
    says(&ana, &id, json!(1), true).await;
    hears(&bo, &[1]).await;
    assert_eq!(redis.command(&["LLEN", &messages]).trim(), "1", "what lay there is gone");
    let channels = redis.command(&["PUBSUB", "CHANNELS", &format!("{prefix}:node:*")]);
    for nonce in [7, 8] {
        let old = json!({"sent_at": 1, "expires_at": 9_999_999_999_999_u64, "nonce": nonce, "body": {"kind": "word",
            "user": bo.user, "word": {"say": "message", "call_id": id, "sender": ana.user, "data": 2}}});
        for channel in channels.lines() {
            redis.command(&["PUBLISH", channel, &old.to_string()]);
        }
    }
    hears(&bo, &[2, 2]).await;
    says(&ana, &id, json!(3), false).await;
    hears(&bo, &[3]).await;
    ana.end(&id).await;
    cluster.close().await;
}

/// The words are the parties': neither the backend nor whoever reads a call's history is told one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_message_is_told_to_the_backend() {
    let receiver = Receiver::start().await;
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| receiver.hears_of(config)).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let id = talking(&ana, &bo).await;
    ana.ask("call:message", json!({"callId": id, "data": "s3cr3t", "keep": true, "messageId": "s3cr3t"})).await;
    bo.expect("call:message").await;
    let path = format!("/api/calls/{id}");
    let live = get_with(cluster.address(0), &path, ("x-internal-secret", SECRET)).await;
    ana.end(&id).await;
    receiver.expect(&id, "call.ended").await;
    let over = get_with(cluster.address(1), &path, ("x-internal-secret", SECRET)).await;
    assert_eq!((live.0, over.0), (200, 200));
    let told = format!("{live:?}{over:?}{:?}", receiver.taken(&id));
    assert!(told.contains("call.ended") && !told.contains("s3cr3t"), "{told}");
    cluster.close().await;
}
