//! Milestones of calls reach the backend by webhook: signed, in order, at least once, in nobody's way.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::cluster::{config, get, post};
use crate::harness::phone::{unique, unique_call};
use crate::harness::receiver::{Answer, OTHER_SECRET, Receiver, SIGNING_SECRET};
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

/// Nodes that send webhooks to a receiver.
async fn with_webhooks(backend: Backend, nodes: usize, receiver: &Receiver) -> Cluster {
    let terms = config(&[
        ("WEBHOOK_URL", &receiver.url()),
        ("WEBHOOK_SECRET", &format!("{SIGNING_SECRET},{OTHER_SECRET}")),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
    ]);
    Cluster::tuned(backend, nodes, |config| {
        config.webhook = terms.webhook.clone();
        config.policy.webhooks = true;
    })
    .await
}

/// What was answered is settled a moment later.
async fn assert_drained(cluster: &Cluster) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while cluster.shared.outbox.backlog().await.unwrap().waiting > 0 {
        assert!(Instant::now() < deadline, "outbox messages are left");
        tokio::task::yield_now().await;
    }
}

on_each_backend! {
    /// From the first ring to the hang-up, signed with both secrets while they are changed over.
    async fn a_call_is_told_from_ring_to_hang_up(backend: Backend) {
        let receiver = Receiver::start().await;
        let cluster = with_webhooks(backend, 2, &receiver).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        let id = ana.completes_call(&bo).await;
        let ended = receiver.expect(&id, "call.ended").await;
        let hooks = receiver.taken(&id);
        let told: Vec<(u64, &str)> = hooks.iter().map(|hook| (hook.seq(), hook.kind.as_str())).collect();
        assert_eq!(told, vec![(1, "call.initiated"), (3, "call.ringing"), (4, "call.accepted"), (5, "call.ended")]);
        for hook in &hooks {
            assert_eq!(hook.signed, [true, true], "{hook:?}");
            assert!(hook.id.starts_with("msg_") && hook.id.ends_with(&format!("_{}", hook.seq())), "{hook:?}");
            assert!(!hook.id.contains('.') && !hook.id.contains(id.trim_start_matches("CALL_")), "{hook:?}");
            assert_eq!((&hook.data["callerId"], &hook.data["receiverId"]), (&json!(ana.user), &json!(bo.user)));
            assert!(!hook.data.to_string().contains("null"), "{hook:?}");
            assert!(hook.timestamp > 1_700_000_000);
        }
        let data = &ended.data;
        assert_eq!((&data["reason"], &data["endedBy"], &data["state"]), (&json!("hung_up"), &json!(ana.user), &json!("ended")));
        let times: Vec<u64> =
            ["createdAt", "ringingAt", "acceptedAt", "endedAt"].iter().map(|name| data[*name].as_u64().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(data["durationMs"].as_u64(), Some(times[3] - times[2]));
        assert_eq!((&data["talkMs"], data.get("absentSince")), (&data["durationMs"], None));
        assert_drained(&cluster).await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// Nobody can confirm: the push is asked for at once, with all that a ring screen needs.
    async fn a_push_is_asked_for_when_nobody_can_confirm(backend: Backend) {
        let receiver = Receiver::start().await;
        let cluster = with_webhooks(backend, 2, &receiver).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let (bo, id) = (unique("bo"), unique_call());
        let started = Instant::now();
        ana.call(&id, &bo).await;
        let push = receiver.expect(&id, "call.push_required").await;
        assert!(push.at - started < Duration::from_millis(1500), "at once");
        let data = &push.data;
        assert_eq!((&data["agoraToken"], &data["balanceTime"]), (&json!("agora"), &json!("12:00")));
        assert_eq!((&data["channelName"], &data["callerName"]), (&json!(format!("channel-{id}")), &json!(ana.user)));
        assert!(data["expiresAt"].as_u64().unwrap() > data["createdAt"].as_u64().unwrap());
        ana.cancel(&id).await;
        assert_eq!(receiver.expect(&id, "call.cancelled").await.data["reason"], "cancelled");
        assert_eq!(receiver.taken(&id).iter().filter(|hook| hook.kind == "call.push_required").count(), 1);
        drop(ana);
        cluster.close().await;
    }

    /// A device that promised to confirm has two seconds; one that does saves the push.
    async fn a_push_is_asked_for_when_nobody_confirms(backend: Backend) {
        let receiver = Receiver::start().await;
        let cluster = with_webhooks(backend, 2, &receiver).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        let confirmed = unique_call();
        ana.rings(&confirmed, &bo).await;
        ana.cancel(&confirmed).await;
        let cleo = unique("cleo");
        let auth = json!({"token": "t", "userId": cleo, "acks": true});
        let deaf = Phone::open_with(cluster.address(1), &cleo, auth, false).await;
        deaf.expect("session:ready").await;
        let id = unique_call();
        let started = Instant::now();
        ana.call(&id, &cleo).await;
        deaf.expect("call:incoming").await;
        let push = receiver.expect(&id, "call.push_required").await;
        assert!(push.at - started >= Duration::from_secs(2), "after two seconds");
        ana.cancel(&id).await;
        receiver.expect(&id, "call.cancelled").await;
        receiver.expect(&confirmed, "call.cancelled").await;
        assert!(!receiver.hooks().iter().any(|hook| hook.call() == confirmed && hook.kind == "call.push_required"));
        drop((ana, bo, deaf));
        cluster.close().await;
    }

    /// Whoever is told busy because of an active call has the backend asked about that call, not more than once in 5 s.
    async fn a_busy_answer_asks_about_the_call(backend: Backend) {
        let receiver = Receiver::start().await;
        let cluster = with_webhooks(backend, 2, &receiver).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        let cleo = cluster.phone(1, &unique("cleo")).await;
        let id = unique_call();
        ana.rings(&id, &bo).await;
        bo.accept(&id).await;
        for _ in 0..3 {
            let busy = unique_call();
            assert_eq!(cleo.call(&busy, &bo.user).await["busy"], true);
            assert_eq!(receiver.expect(&busy, "call.missed").await.data["reason"], "busy");
        }
        receiver.expect(&id, "call.verify").await;
        ana.end(&id).await;
        let ended = receiver.expect(&id, "call.ended").await;
        assert_eq!(receiver.taken(&id).iter().filter(|hook| hook.kind == "call.verify").count(), 1);
        assert_eq!(ended.seq(), 6, "behind the question");
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// A receiver that wants nothing more gets nothing more, from no node, until an operator says so.
    async fn a_410_switches_webhooks_off(backend: Backend) {
        let receiver = Receiver::start().await;
        receiver.answer(Answer::Status(410));
        let cluster = with_webhooks(backend, 2, &receiver).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let bo = cluster.phone(0, &unique("bo")).await;
        let id = ana.completes_call(&bo).await;
        receiver.until("the 410", |receiver| (!receiver.hooks().is_empty()).then_some(())).await;
        let off = async || cluster.shared.outbox.switched_off().await.unwrap().is_some();
        while !off().await {
            tokio::task::yield_now().await;
        }
        receiver.answer(Answer::Well);
        let other = ana.completes_call(&bo).await;
        // The other node learns of it within two seconds.
        tokio::time::sleep(Duration::from_secs(3)).await; // nothing is to come
        let before = receiver.hooks().len();
        let third = ana.completes_call(&bo).await;
        tokio::time::sleep(Duration::from_secs(1)).await; // nothing is to come
        assert_eq!(receiver.hooks().len(), before);
        let (status, _) = post(cluster.nodes[1].admin, "/outbox/on", None, json!({})).await;
        assert_eq!(status, 200);
        for id in [&other, &third] {
            receiver.expect(id, "call.ended").await;
        }
        assert!(receiver.taken(&id).len() <= 4);
        drop((ana, bo));
        cluster.close().await;
    }
}

/// Two nodes that tell a receiver who comes and goes.
async fn with_presence_webhooks(receiver: &Receiver) -> Cluster {
    let terms = config(&[
        ("WEBHOOK_URL", &receiver.url()),
        ("WEBHOOK_SECRET", SIGNING_SECRET),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("WEBHOOK_PRESENCE", "true"),
    ]);
    assert!(terms.policy.presence_webhooks);
    Cluster::tuned(Backend::Memory, 2, |config| {
        config.webhook = terms.webhook.clone();
        config.policy.webhooks = true;
        config.policy.presence_webhooks = true;
    })
    .await
}

/// Who comes and goes is told where that is wanted; a network switch is not told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_told_where_it_is_wanted() {
    let receiver = Receiver::start().await;
    let cluster = with_presence_webhooks(&receiver).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let second = cluster.phone(1, &ana.user).await;
    let user = ana.user.clone();
    drop(ana);
    let told = |receiver: &Receiver, kind: &str| {
        let of_user = |hook: &crate::harness::receiver::Hook| hook.data["userId"] == user.as_str() && hook.kind == kind;
        receiver.hooks().iter().filter(|hook| of_user(hook)).count()
    };
    receiver.until("user.online", |receiver| (told(receiver, "user.online") == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(4)).await; // nothing is to come
    assert_eq!(told(&receiver, "user.offline"), 0, "another session is left");
    drop(second);
    receiver.until("user.offline", |receiver| (told(receiver, "user.offline") == 1).then_some(())).await;
    cluster.close().await;
}

/// Who comes and goes all the while, by any node, is told of once in a while, and in the end what he is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_all_the_while_is_told_of_now_and_then() {
    let receiver = Receiver::start().await;
    let cluster = with_presence_webhooks(&receiver).await;
    let (user, started) = (unique("ana"), Instant::now());
    let told = |receiver: &Receiver| -> Vec<String> {
        let of_user = receiver.hooks().into_iter().filter(|hook| hook.data["userId"] == user.as_str());
        of_user.map(|hook| hook.kind).collect()
    };
    for round in 0..40 {
        drop(cluster.phone(round % 2, &user).await);
    }
    let rounds = 1 + started.elapsed().as_secs() as usize / 3;
    let is_told = |receiver: &Receiver| told(receiver).last().is_some_and(|kind| kind == "user.offline").then_some(());
    receiver.until("that he is offline", is_told).await;
    let before = told(&receiver).len();
    // A message of each node in a damping, and what is told in the end.
    assert!(before <= 4 * rounds + 2, "{before} messages in {rounds} rounds: {:?}", told(&receiver));
    let phone = cluster.phone(0, &user).await;
    let is_told = |receiver: &Receiver| told(receiver).last().is_some_and(|kind| kind == "user.online").then_some(());
    receiver.until("that he is online", is_told).await;
    drop(phone);
    cluster.close().await;
}

/// A backend that sleeps, throttles, fails, talks nonsense or hangs up changes nothing between phones; when it is back it
/// is told everything, each call in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_in_any_mood_loses_no_webhook() {
    let moods = [
        Answer::Status(500),
        Answer::Status(404),
        Answer::RetryAfter(2),
        Answer::Redirect,
        Answer::Garbage,
        Answer::HangsUp,
        Answer::Silence,
    ];
    join_all(moods.map(|mood| async move {
        let receiver = Receiver::start().await;
        let cluster = with_webhooks(Backend::Memory, 2, &receiver).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        // Several: what it answers to one of them may be about him.
        let mut callers = Vec::new();
        for _ in 0..6 {
            callers.push(cluster.phone(0, &unique("ana")).await);
        }
        receiver.answer(mood);
        let mut calls = Vec::new();
        for caller in callers.iter().cycle().take(12) {
            let started = Instant::now();
            calls.push(caller.completes_call(&bo).await);
            assert!(started.elapsed() < Duration::from_secs(2), "{mood:?}: {:?}", started.elapsed());
        }
        receiver.until("some attempts", |receiver| (receiver.hooks().len() >= 5).then_some(())).await;
        receiver.answer(Answer::Well);
        for id in &calls {
            let ended = |receiver: &Receiver| receiver.taken(id).into_iter().find(|hook| hook.seq() == 5);
            receiver.within(Duration::from_secs(60), &format!("{id} after {mood:?}"), ended).await;
            let seqs: Vec<u64> = receiver.taken(id).iter().map(|hook| hook.seq()).collect();
            assert_eq!(seqs, vec![1, 3, 4, 5], "{mood:?}");
        }
        // What came twice came under the same id.
        let mut kinds: HashMap<String, String> = HashMap::new();
        for hook in receiver.hooks() {
            let known = kinds.entry(hook.id.clone()).or_insert_with(|| format!("{} {}", hook.call(), hook.kind));
            assert_eq!(*known, format!("{} {}", hook.call(), hook.kind));
        }
        assert_eq!(cluster.shared.outbox.backlog().await.unwrap().dead, 0);
        drop((callers, bo));
        cluster.close().await;
    }))
    .await;
}

/// A receiver that knows nothing of one user's calls is still there for the others'. Fails before: after five of his messages it
/// was only probed, and their pushes waited with his.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_of_one_user_delays_no_push_of_another() {
    join_all([404, 422].map(|status| async move {
        let receiver = Receiver::start().await;
        let cluster = with_webhooks(Backend::Memory, 1, &receiver).await;
        let (eve, ana) = (cluster.phone(0, &unique("eve")).await, cluster.phone(0, &unique("ana")).await);
        receiver.answer_of(&eve.user, Answer::Status(status));
        for _ in 0..10 {
            let id = unique_call();
            eve.call(&id, &unique("nobody")).await;
            eve.cancel(&id).await;
        }
        // Of each call the first message, and nothing waits for another call's.
        let refused = |receiver: &Receiver| {
            let first = receiver.hooks().into_iter().filter(|hook| hook.kind == "call.initiated");
            first.map(|hook| hook.id).collect::<HashSet<_>>().len() == 10
        };
        let all = |receiver: &Receiver| refused(receiver).then_some(());
        receiver.within(Duration::from_secs(3), &format!("ten that it answers {status}"), all).await;
        let (id, started) = (unique_call(), Instant::now());
        ana.call(&id, &unique("bo")).await;
        let push = receiver.expect(&id, "call.push_required").await;
        assert!(push.at - started < Duration::from_secs(1), "{status}: after {:?}", push.at - started);
        ana.cancel(&id).await;
        receiver.expect(&id, "call.cancelled").await;
        drop((eve, ana));
        cluster.close().await;
    }))
    .await;
}

/// A call id that is used again when the record is gone is another call: a receiver that remembers ids misses nothing
/// of it, and an outbox message of the first that died keeps none of the second from being written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_id_that_is_used_again_has_messages_of_its_own() {
    let receiver = Receiver::start().await;
    let cluster = Cluster::manual_tuned(1, |config| {
        receiver.hears_of(config);
        config.retention.ended = Duration::from_secs(1);
    })
    .await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let id = unique_call();
    for round in 1..=2 {
        ana.rings(&id, &bo).await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
        let told = |receiver: &Receiver| {
            receiver.taken(&id).iter().filter(|hook| hook.kind == "call.cancelled").count() == round
        };
        receiver.until("the end", |receiver| told(receiver).then_some(())).await;
        if round == 1 {
            cluster.advance(2);
        }
    }
    let ids: HashSet<String> = receiver.taken(&id).into_iter().map(|hook| hook.id).collect();
    assert_eq!(ids.len(), 6, "{ids:?}");
    drop((ana, bo));
    cluster.close().await;
}

/// An outbox message that the receiver never takes is given up after three days, listed, and sent again when asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_and_replayed() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(422));
    let cluster = Cluster::manual_tuned(1, |config| {
        receiver.hears_of(config);
    })
    .await;
    let ana = cluster.phone_with(0, Profile::of(&unique("ana"))).await;
    let bo = cluster.phone_with(0, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    ana.cancel(&id).await;
    let admin = cluster.nodes[0].admin;
    let deadline = Instant::now() + Duration::from_secs(30);
    let dead = loop {
        let (_, body) = get(admin, "/outbox/dead").await;
        let dead = body["dead"].as_array().unwrap().clone();
        if dead.len() == 3 {
            break dead;
        }
        assert!(Instant::now() < deadline, "{body}, attempts: {}", receiver.hooks().len());
        cluster.advance(3600);
        tokio::time::sleep(Duration::from_millis(20)).await; // the next attempt is made in real time
    };
    assert_eq!((&dead[0]["error"], &dead[0]["attempts"]), (&json!("HTTP 422"), &json!(10)));
    // A lease may run out while the clock jumps: then an attempt is made twice.
    assert!(receiver.hooks().len() >= 30, "ten attempts each");
    receiver.answer(Answer::Well);
    let (status, answer) = post(admin, "/outbox/replay", None, json!({"call": id})).await;
    assert_eq!((status, answer), (200, json!({"replayed": 3})));
    receiver.expect(&id, "call.cancelled").await;
    receiver.expect(&id, "call.initiated").await;
    assert_eq!(post(admin, "/outbox/replay", None, json!({})).await.0, 400);
    drop((ana, bo));
    cluster.close().await;
}
