//! What is let in, and what a refusal looks like.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use onlycare_signaling::call::UserId;
use onlycare_signaling::store::RingBudget;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::cluster::{get, post};
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::poller::Poller;
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Backend, Cluster, Phone, Profile, until};
use crate::on_each_backend;

const SOON: Duration = Duration::from_secs(30);

/// Of who says thousands of things at once only so many a second are read: the node does not refuse one by one what costs
/// nothing to say. Nothing of it is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_read_no_faster_than_phones_speak() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.limits.events_per_minute = 100).await;
    let phone = cluster.phone(0, &unique("ana")).await;
    let began = Instant::now();
    for _ in 0..1_256 {
        phone.emit("call:ringing", json!({"callId": "no-such-call"}));
    }
    let last = phone.ask("call:end", json!({"callId": "no-such-call"})).await;
    assert_eq!(last["success"], false, "{last}");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2_300), "1,256 events were read in {took:?}");
    assert!(phone.keep_connected());
}

/// The same of who polls, at his node or by another. A body that waits for its turn is not a slow one. Fails before: a body of
/// 256 packets was read at once, and the next too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_polling_is_read_no_faster_than_phones_speak() {
    let cluster = Cluster::tuned(Backend::Memory, 2, |config| {
        config.limits.events_per_minute = 100;
        (config.reading.grace, config.reading.bytes_per_second) = (Duration::from_millis(500), 1_000_000);
    })
    .await;
    let event = format!("42{}", json!(["call:ringing", {"callId": "no-such-call"}]));
    let body = vec![event; 252].join("\u{1e}");
    join_all([0, 1].map(|node| {
        let (cluster, body) = (&cluster, &body);
        async move {
            let mut phone = Poller::open(cluster.address(0), &unique("ana")).await;
            phone.address = cluster.address(node);
            let began = Instant::now();
            for _ in 0..5 {
                phone.post(body).await;
            }
            let last = phone.ask("call:end", json!({"callId": "no-such-call"})).await;
            assert!(last.contains(r#""success":false"#), "{last}");
            let took = began.elapsed();
            assert!(took > Duration::from_millis(2_300), "1,260 events were read in {took:?} by node {node}");
        }
    }))
    .await;
}

/// A session posts no more bodies at once than a client that gave some up. Fails before: as many as it liked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_posts_few_bodies_at_once() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        (config.limits.events_per_minute, config.reading.grace) = (100, SOON);
    })
    .await;
    let phone = Poller::open(cluster.address(0), &unique("ana")).await;
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={}", phone.sid);
    let says = format!("POST {path} HTTP/1.1\r\nhost: n\r\ncontent-length: 9\r\n\r\n3");
    let halves = (0..5).map(|_| {
        let (address, says) = (phone.address, &says);
        Box::pin(async move {
            let mut half = TcpStream::connect(address).await.unwrap();
            half.write_all(says.as_bytes()).await.unwrap();
            let mut answer = [0; 1024];
            let read = half.read(&mut answer).await.unwrap_or_default();
            String::from_utf8_lossy(&answer[..read]).into_owned()
        })
    });
    let (answer, _, others) = tokio::time::timeout(SOON, select_all(halves)).await.expect("one is answered");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(others.into_iter().all(|other| other.now_or_never().is_none()), "another was answered");
}

/// A phone that sends too much is told so, and can still end its call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_but_a_hang_up_is_not() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| config.limits.events_per_minute = 100).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let mut refused = 0;
    for _ in 0..200 {
        let ack = ana.ask("call:ringing", json!({"callId": "no-such-call"})).await;
        refused += usize::from(ack["code"] == "rate_limited");
    }
    assert!((70..=110).contains(&refused), "{refused} of 200 were refused");
    let ack = ana.ask("call:ringing", json!({"callId": id})).await;
    assert_eq!((&ack["success"], &ack["code"]), (&json!(false), &json!("rate_limited")));
    assert!((1..=60_000).contains(&ack["retryAfterMs"].as_u64().unwrap()), "{ack}");
    assert_eq!(ana.ask("call:initiate", initiate(&unique_call(), &bo.user)).await["code"], "rate_limited");
    assert_eq!(ana.end("no-such-call").await["code"], "rate_limited", "a hang-up of no call of his is limited");
    assert_eq!(ana.end(&id).await, json!({"success": true, "callId": id, "state": "ended"}));
    bo.expect("call:ended").await;
    assert!(ana.keep_connected(), "a limit ends no session");
}

/// Hang-ups have a bound of their own, far above what a finger can do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hang_ups_are_bounded_too() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.limits.events_per_minute = 1).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await, unique_call());
    ana.call(&id, &bo.user).await;
    bo.expect("call:incoming").await;
    let mut refused = 0;
    for ack in join_all((0..60).map(|_| bo.accept(&id))).await {
        refused += usize::from(ack["code"] == "rate_limited");
    }
    assert!((5..60).contains(&refused), "{refused} of 60 were refused");
    assert_eq!(cluster.state(&id).await, ("active", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callee_is_rung_six_times_a_minute() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| config.retention.rings_per_minute = 6).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    for _ in 0..6 {
        let id = unique_call();
        ana.rings(&id, &bo).await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
    }
    let ack = ana.call(&unique_call(), &bo.user).await;
    assert_eq!(ack["code"], "rate_limited");
    assert!(ack["retryAfterMs"].as_u64().unwrap() > 1000, "{ack}");
    bo.assert_nothing_more().await;
    let cleo = cluster.phone(1, &unique("cleo")).await;
    ana.rings(&unique_call(), &cleo).await;
}

on_each_backend! {
    /// Fails before (cleo hears `call:ended`, and nobody rings): a dial that is refused ends no call of the dialer's own.
    async fn a_dial_that_is_limited_costs_no_call(backend: Backend) {
        let cluster = Cluster::tuned(backend, 2, |config| config.retention.rings_per_minute = 6).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let (cleo, own) = (cluster.phone(1, &unique("cleo")).await, unique_call());
        for _ in 0..6 {
            let id = unique_call();
            ana.rings(&id, &bo).await;
            ana.cancel(&id).await;
            bo.expect("call:cancelled").await;
        }
        ana.rings(&own, &cleo).await;
        cleo.accept(&own).await;
        ana.expect("call:accepted").await;
        let ack = ana.call(&unique_call(), &bo.user).await;
        assert_eq!(ack["code"], "rate_limited", "{ack}");
        assert!(ack["retryAfterMs"].as_u64().unwrap() > 1000, "{ack}");
        let ring = json!({
            "callId": unique_call(), "callerId": ana.user, "receiverId": bo.user, "callType": "AUDIO",
            "channelName": "c", "agoraToken": "t",
        });
        let (status, told) = cluster.post(1, "/api/calls", ring).await;
        assert_eq!((status, &told["code"]), (200, &json!("rate_limited")), "{told}");
        assert_eq!(cluster.state(&own).await, ("active", None));
        bo.assert_nothing_more().await;
        cleo.assert_nothing_more().await;
        // One that rings ends it.
        let (dan, next) = (cluster.phone(0, &unique("dan")).await, unique_call());
        ana.rings(&next, &dan).await;
        cleo.expect("call:ended").await;
        ana.cancel(&next).await;
        dan.expect("call:cancelled").await;
        drop((ana, bo, cleo, dan));
        cluster.close().await;
    }
}

/// Who rings somebody that does not answer, for ever, keeps him busy for a bounded time: a friend gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whom_nobody_answers_keeps_nobody_busy() {
    let cluster = Cluster::manual_tuned(1, |config| config.retention.ring_budget.per_callee = 3).await;
    let (mal, cleo, bo) = (unique("mal"), unique("cleo"), unique("bo"));
    let (mal, cleo) = (cluster.phone(0, &mal).await, cluster.phone(0, &cleo).await);
    let (mut busy, mut rung, mut last) = (0, 0, None);
    // The callee is offline; each second one of both dials, the stranger first.
    for second in 0..600 {
        if last.is_none() {
            let id = unique_call();
            let ack = mal.call(&id, &bo).await;
            match ack["code"].as_str() {
                Some(code) => {
                    assert_eq!((code, ack["retryAfterMs"].as_u64().is_some()), ("rate_limited", true), "{ack}");
                }
                None => (last, rung) = (Some((id, second)), rung + 1),
            }
        }
        if second % 10 == 5 {
            let id = unique_call();
            let ack = cleo.call(&id, &bo).await;
            busy += usize::from(ack["busy"] == true);
            if ack["useFcmFallback"] == true {
                cleo.cancel(&id).await;
            }
        }
        cluster.advance(1);
        if let Some((id, begun)) = &last
            && second - begun >= 28
        {
            mal.cancel(id).await;
            last = None;
        }
    }
    assert!((3..=5).contains(&rung), "{rung} rings in ten minutes");
    assert!(busy <= 15, "the friend was refused {busy} of 60 times");
    drop((mal, cleo));
    if let Some((id, _)) = last {
        let bo = cluster.phone(0, &bo).await;
        bo.reject(&id).await;
    }
    cluster.close().await;
}

/// What a callee has not answered is forgiven when he answers, and Laravel is told like a phone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_forgives_what_was_not_answered() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| {
        config.policy.ring_timeout = Duration::from_secs(5);
        config.retention.ring_budget = RingBudget { full_ring: Duration::from_secs(1), per_callee: 2, per_caller: 0 };
    })
    .await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let unanswered = async || {
        let id = unique_call();
        ana.rings(&id, &bo).await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
    };
    unanswered().await;
    ana.completes_call(&bo).await;
    unanswered().await;
    unanswered().await;
    let ack = ana.call(&unique_call(), &bo.user).await;
    assert_eq!(ack["code"], "rate_limited", "{ack}");
    assert!(ack["retryAfterMs"].as_u64().unwrap() > 60_000, "{ack}");
    let ring = json!({
        "callId": unique_call(), "callerId": ana.user, "receiverId": bo.user, "callType": "AUDIO",
        "channelName": "c", "agoraToken": "t",
    });
    let (status, told) = cluster.post(1, "/api/calls", ring).await;
    assert_eq!((status, &told["code"]), (200, &json!("rate_limited")), "{told}");
    let id = unique_call();
    bo.rings(&id, &ana).await;
    bo.cancel(&id).await;
    ana.expect("call:cancelled").await;
    unanswered().await;
    drop((ana, bo));
    cluster.close().await;
}

/// However many sockets an account opens over all nodes, with whatever devices, few live: the oldest go, but not the
/// phone that is in a call, and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_an_account_are_bounded_over_all_nodes() {
    let cluster = Cluster::start(Backend::Redis, 2).await;
    let user = unique("ana");
    let ana = cluster.phone_with(0, Profile::of(&user).device("own")).await;
    let (bo, id) = (cluster.phone(1, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let of = |place: usize| Phone::open(cluster.address(place % 2), Profile::of(&user).device(&format!("d{place}")));
    let mut sockets = join_all((0..100).map(of)).await;
    let owner = UserId::parse(&user).unwrap();
    let is_ready = |socket: &Phone| socket.heard().iter().any(|heard| heard.event == "session:ready");
    let settled = async |sockets: &[Phone]| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let live = sockets.iter().filter(|socket| socket.keep_connected()).count();
            let ready = sockets.iter().filter(|socket| is_ready(socket) || !socket.keep_connected()).count();
            let stored = cluster.shared.sessions.sessions(&owner).await.unwrap().len();
            if ready == sockets.len() && live == 31 && stored == 32 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{live} of {} live, {ready} are ready, {stored} are stored",
                sockets.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await; // sockets end as their nodes hear of it
        }
    };
    settled(&sockets).await;
    sockets.retain(Phone::keep_connected);
    for place in 100..140 {
        sockets.push(of(place).await);
    }
    settled(&sockets).await;
    assert!(ana.keep_connected(), "a party to a call goes last");
    assert_eq!(bo.ask("call:message", json!({"callId": id, "data": "still there?"})).await["success"], true);
    ana.expect("call:message").await;
    assert_eq!(cluster.state(&id).await, ("active", None));
    ana.end(&id).await;
    bo.expect("call:ended").await;
    drop((ana, bo, sockets));
    cluster.close().await;
}

/// What bounds an account is in the store: while that is away its sockets are bounded all the same, and registered after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_an_account_are_bounded_while_the_store_is_away() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", proxy.address)]).await;
    let (user, bo) = (unique("ana"), cluster.phone(0, &unique("bo")).await);
    proxy.cut();
    let of = |place: usize| Phone::open(cluster.address(0), Profile::of(&user).device(&format!("d{place}")));
    let sockets = join_all((0..100).map(of)).await;
    let live = || sockets.iter().filter(|socket| socket.keep_connected()).count();
    until("only as many are left as an account may have", SOON, async || live() <= 32).await;
    assert!(live() >= 16, "and not many fewer: {}", live());
    assert!(bo.keep_connected(), "another's");
    proxy.mend();
    let owner = UserId::parse(&user).unwrap();
    let stored = async || cluster.shared.sessions.sessions(&owner).await.map_or(0, |sessions| sessions.len());
    until("they are registered", SOON, async || stored().await == live()).await;
    drop((bo, sockets));
    cluster.close().await;
}

/// Whose presence is asked for is read from the store: it costs by the id, and what is refused reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_charged_by_the_id() {
    let cluster = Cluster::tuned(Backend::Redis, 1, |config| config.limits.presence_ids_per_minute = 1000).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let ids: Vec<String> = (0..500).map(|place| format!("USR_{place}")).collect();
    let mut answered = 0;
    for _ in 0..100 {
        let ack = ana.ask("presence:subscribe", json!({"userIds": ids})).await;
        if ack["success"] == true {
            answered += 1;
            continue;
        }
        assert_eq!(ack["code"], "rate_limited", "{ack}");
        assert!((1..=60_000).contains(&ack["retryAfterMs"].as_u64().unwrap()), "{ack}");
    }
    assert!((2..=6).contains(&answered), "{answered} of 100 were answered");
    ana.rings(&unique_call(), &bo).await;
    assert_eq!(
        bo.ask("presence:subscribe", json!({"userIds": ids})).await["success"],
        true,
        "others are not concerned"
    );
}

/// Too many new sockets get a 503 with a hint, before anything is opened; those that are open stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_and_sessions_of_a_node_are_bounded() {
    let open = "/socket.io/?EIO=4&transport=polling";
    let limited = Cluster::tuned(Backend::Memory, 1, |config| config.limits.handshakes_per_address = 3).await;
    let mut refused = 0;
    for (status, answer) in join_all((0..40).map(|_| get(limited.address(0), open))).await {
        if status == 503 {
            refused += 1;
            assert_eq!(answer["code"], "unavailable");
        }
    }
    assert!(refused >= 10, "{refused} of 40 were refused");
    let full = Cluster::tuned(Backend::Memory, 1, |config| config.limits.sessions = 2).await;
    let phones = [full.phone(0, &unique("ana")).await, full.phone(0, &unique("bo")).await];
    assert_eq!(get(full.address(0), open).await.0, 503);
    let [ana, bo] = phones;
    ana.rings(&unique_call(), &bo).await;
    drop(bo);
    while get(full.address(0), open).await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await; // the node notices the closed socket
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_requests_are_bounded_by_address() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.limits.api_per_second = 5).await;
    let mut refused = 0;
    let address = cluster.address(0);
    let answers = (0..40).map(|_| post(address, "/api/emit/call-ended", Some("wrong"), json!({"callId": "1"})));
    for (status, answer) in join_all(answers).await {
        if status == 429 {
            refused += 1;
            assert_eq!(answer, json!({"error": "Too many requests", "code": "rate_limited"}));
        } else {
            assert_eq!(status, 401);
        }
    }
    assert!(refused >= 10, "{refused} of 40 were refused");
    let phone = Phone::connect(cluster.address(0), Profile::of(&unique("ana"))).await;
    phone.assert_nothing_more().await;
}
