//! A disconnect starts a grace and nothing else.

use std::time::{Duration, Instant};

use onlycare_signaling::call::{Call, CallId, State};
use onlycare_signaling::config::Config;
use serde_json::json;

use crate::harness::cluster::{SECRET, get_with};
use crate::harness::laravel::Laravel;
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::receiver::Receiver;
use crate::harness::{Backend, Cluster, Phone, Profile, redis, until};
use crate::legacy::with_manual_time;
use crate::processes::{Node, prefix};

async fn ringing(cluster: &Cluster) -> (Phone, Phone, String) {
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    (ana, bo, id)
}

/// Waits until the stored call notes an absence, and who is absent has left.
pub async fn noted(cluster: &Cluster, id: &str) {
    absent(cluster, id, |call| call.caller.absent_since.is_some() || call.callee.absent_since.is_some()).await;
}

/// Waits until the stored call notes these absences, and who is absent has left.
async fn absent(cluster: &Cluster, id: &str, are: impl Fn(&Call) -> bool) {
    let call = stored(cluster, id, "absent", are).await;
    cluster.absentees_have_left(&call).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ringing_caller_who_stays_away_cancels() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = ringing(&cluster).await;
    ana.vanish();
    noted(&cluster, &id).await;
    cluster.advance(9);
    bo.assert_nothing_more().await;
    cluster.advance(2);
    assert_eq!(bo.expect("call:cancelled").await["reason"], "User disconnected");
    assert_eq!(cluster.state(&id).await, ("ended", Some("caller_gone")));
    drop(bo);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ringing_caller_who_returns_goes_on_ringing() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = ringing(&cluster).await;
    let user = ana.user.clone();
    ana.vanish();
    noted(&cluster, &id).await;
    cluster.advance(5);
    let ana = cluster.phone(1, &user).await;
    cluster.advance(15);
    assert_eq!(cluster.state(&id).await, ("ringing", None));
    bo.assert_nothing_more().await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    ana.end(&id).await;
    drop((ana, bo));
    cluster.close().await;
}

/// The callee dials somebody else meanwhile: the caller is told so where he is now, not where he dialled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ringing_caller_who_returns_hears_that_his_callee_dialled_another() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = ringing(&cluster).await;
    let user = ana.user.clone();
    ana.vanish();
    noted(&cluster, &id).await;
    let ana = cluster.phone(1, &user).await;
    let (cleo, next) = (cluster.phone(0, &unique("cleo")).await, unique_call());
    bo.rings(&next, &cleo).await;
    assert_eq!(ana.expect("call:busy").await["callId"], id);
    bo.expect("call:cancelled").await;
    bo.cancel(&next).await;
    cleo.expect("call:cancelled").await;
    drop((ana, bo, cleo));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ringing_callee_who_vanishes_changes_nothing() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = ringing(&cluster).await;
    let user = bo.user.clone();
    bo.vanish();
    cluster.has_left(&user).await;
    cluster.advance(12);
    ana.assert_nothing_more().await;
    let bo = Phone::open(cluster.address(0), Profile::of(&user)).await;
    bo.expect("session:ready").await;
    let left = bo.expect("call:incoming").await["expiresInMs"].as_u64().unwrap();
    assert!((1..=18_000).contains(&left), "{left} ms are left");
    bo.reject(&id).await;
    ana.expect("call:rejected").await;
    drop((ana, bo));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_switch_does_not_end_a_paid_call() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = ringing(&cluster).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let user = ana.user.clone();
    ana.vanish();
    noted(&cluster, &id).await;
    cluster.advance(50);
    let ana = cluster.phone(1, &user).await;
    cluster.advance(120);
    assert_eq!(cluster.state(&id).await, ("active", None));
    bo.assert_nothing_more().await;
    ana.end(&id).await;
    bo.expect("call:ended").await;
    drop((ana, bo));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_that_stays_away_ends_the_call_by_absence() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = ringing(&cluster).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    bo.vanish();
    noted(&cluster, &id).await;
    cluster.advance(61);
    let ended = ana.expect("call:ended").await;
    assert_eq!(ended["reason"], "User disconnected");
    assert!(ended.get("endedBy").is_none());
    drop(ana);
    cluster.close().await;
}

/// Fails before (the call goes on, and the ring until its deadline): with a slow store an accept or a dial is written when the
/// end of its socket has been judged, and nobody looked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_before_his_word_was_written_is_absent() {
    let redis = redis::Redis::start();
    let slow = Proxy::before(redis.port).await;
    let cluster = Cluster::on_tuned(&[format!("redis://{}", slow.address), redis.url()], |config| {
        config.policy.caller_grace = Duration::from_secs(2);
        config.policy.call_grace = Duration::from_secs(2);
    })
    .await;
    for (word, heard, over) in
        [("call:accept", "call:accepted", "call:ended"), ("call:initiate", "call:incoming", "call:cancelled")]
    {
        let (ana, bo) = (cluster.phone(1, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let id = unique_call();
        if word == "call:accept" {
            ana.rings(&id, &bo).await;
        }
        slow.delay(Duration::from_millis(400));
        // Each is looked up, so that the word is written after the socket's end was judged.
        for _ in 0..6 {
            bo.emit("call:ringing", json!({"callId": id}));
        }
        bo.emit(word, if word == "call:accept" { json!({"callId": id}) } else { initiate(&id, &ana.user) });
        bo.all_said_arrives().await;
        bo.vanish();
        ana.expect(heard).await;
        slow.delay(Duration::ZERO);
        assert_eq!(ana.expect_within(over, Duration::from_secs(20)).await["reason"], "User disconnected");
    }
    cluster.close().await;
}

/// Without `acks` one lost socket is no dead phone: the line yields to its own parties, to strangers when both are away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acks_absence_only_makes_the_line_yield() {
    let cluster = Cluster::manual(2).await;
    let cleo = cluster.phone(0, &unique("cleo")).await;
    let (ana, bo, id) = talking(&cluster).await;
    let absent = ana.user.clone();
    ana.vanish();
    noted(&cluster, &id).await;
    cluster.advance(61);
    wait_until_doubtful(&cluster, &id).await;
    bo.assert_nothing_more().await;
    for party in [&bo.user, &absent] {
        assert_eq!(cleo.call(&unique_call(), party).await["busy"], true, "a stranger cuts no paid call");
    }
    bo.assert_nothing_more().await;
    let next = unique_call();
    bo.rings(&next, &cleo).await;
    assert_eq!(cluster.state(&id).await, ("ended", Some("lost")));
    bo.cancel(&next).await;
    cleo.expect("call:cancelled").await;

    let (ana, bo, id) = talking(&cluster).await;
    let user = bo.user.clone();
    lose_both(&cluster, ana, bo, &id).await;
    let next = unique_call();
    assert_eq!(cleo.call(&next, &user).await["useFcmFallback"], true, "nobody shows that it goes on");
    assert_eq!(cluster.state(&id).await, ("ended", Some("lost")));
    cleo.cancel(&next).await;
    drop(cleo);
    cluster.close().await;
}

/// Two phones of the deployed app in an accepted call, each on its node.
async fn talking(cluster: &Cluster) -> (Phone, Phone, String) {
    let ana = cluster.phone_with(0, Profile::deployed(&unique("ana"))).await;
    let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    (ana, bo, id)
}

/// Waits for the stored call to be so.
async fn stored(cluster: &Cluster, id: &str, what: &str, is_so: impl Fn(&Call) -> bool) -> Call {
    let id = CallId::parse(id).unwrap();
    for _ in 0..500 {
        let call = cluster.shared.calls.load(&id).await.unwrap().unwrap();
        if is_so(&call) {
            return call;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // the node writes it by itself
    }
    panic!("not {what}: {:?}", cluster.shared.calls.load(&id).await);
}

/// Both sockets go, and a minute.
async fn lose_both(cluster: &Cluster, ana: Phone, bo: Phone, id: &str) {
    ana.vanish();
    bo.vanish();
    let both = |call: &Call| call.caller.absent_since.is_some() && call.callee.absent_since.is_some();
    absent(cluster, id, both).await;
    cluster.advance(61);
    stored(cluster, id, "away", |call| call.lost_at.is_some() || !call.is_live()).await;
}

/// The media of a paid call needs no socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lost_sockets_end_no_paid_call() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = talking(&cluster).await;
    let (caller, callee) = (ana.user.clone(), bo.user.clone());
    lose_both(&cluster, ana, bo, &id).await;
    assert_eq!(cluster.state(&id).await, ("active", None));
    cluster.advance(14);
    let bo = cluster.phone_with(0, Profile::deployed(&callee)).await;
    bo.assert_nothing_more().await;
    stored(&cluster, &id, "back", |call| call.lost_at.is_none()).await;
    cluster.advance(900);
    bo.assert_nothing_more().await;
    let ana = cluster.phone_with(1, Profile::deployed(&caller)).await;
    ana.expect("call:accepted").await;
    ana.assert_nothing_more().await;
    let back = |call: &Call| matches!(call.state, State::Active { doubtful: false, .. });
    stored(&cluster, &id, "without doubt", back).await;
    ana.end(&id).await;
    assert_eq!(bo.expect("call:ended").await["reason"], "Remote user ended call");
    drop((ana, bo));
    cluster.close().await;
}

/// `LOST_CALL_SECS` frees the lines. A phone whose media may be fine is not told to hang up; one with `acks` is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_by_absence_is_not_replayed_without_acks() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = talking(&cluster).await;
    let (caller, callee) = (ana.user.clone(), bo.user.clone());
    lose_both(&cluster, ana, bo, &id).await;
    cluster.advance(530);
    assert_eq!(cluster.state(&id).await, ("active", None));
    cluster.advance(15);
    let call = stored(&cluster, &id, "over", |call| !call.is_live()).await;
    assert_eq!(call.end().unwrap().reason.name(), "lost");
    cluster.assert_free(&[&caller, &callee]).await;
    cluster.advance(15);
    let deployed = cluster.phone_with(1, Profile::deployed(&caller)).await;
    let new = cluster.phone(0, &callee).await;
    assert_eq!(new.expect("call:ended").await["reason"], "User disconnected");
    deployed.assert_nothing_more().await;
    drop((deployed, new));
    cluster.close().await;
}

/// Its row is asked when both are away, then once a minute. What is final there is over, and said as any other end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laravel_is_asked_whether_a_call_goes_on() {
    let (cluster, laravel) = with_manual_time().await;
    let (ana, bo, id) = talking(&cluster).await;
    let caller = ana.user.clone();
    laravel.row(&id, json!({"status": "ONGOING", "caller_id": ana.user, "receiver_id": bo.user}));
    lose_both(&cluster, ana, bo, &id).await;
    for asked in 1..=5 {
        laravel.expect_questions(&id, asked).await;
        assert_eq!(cluster.state(&id).await, ("active", None));
        cluster.advance(61); // and a moment: no node watches it any more, the index is asked
    }
    laravel.expect_questions(&id, 6).await;
    laravel.row(&id, json!({"status": "ENDED"}));
    cluster.advance(61);
    let call = stored(&cluster, &id, "over", |call| !call.is_live()).await;
    assert_eq!(call.end().unwrap().reason.name(), "hung_up");
    let ana = cluster.phone_with(1, Profile::deployed(&caller)).await;
    assert_eq!(ana.expect("call:ended").await["callId"], id.as_str());
    assert_eq!(laravel.askers(&id).len(), 7);
    drop(ana);
    cluster.close().await;
}

/// A stranger's call ends one that Laravel has ended, and none that it has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laravel_says_whether_a_doubtful_line_is_free() {
    let (cluster, laravel) = with_manual_time().await;
    let cleo = cluster.phone(0, &unique("cleo")).await;
    let (ana, bo, id) = talking(&cluster).await;
    laravel.row(&id, json!({"status": "ONGOING", "caller_id": ana.user, "receiver_id": bo.user}));
    ana.vanish();
    noted(&cluster, &id).await;
    cluster.advance(61);
    wait_until_doubtful(&cluster, &id).await;
    assert_eq!(cleo.call(&unique_call(), &bo.user).await["busy"], true);
    assert_eq!(laravel.askers(&id).len(), 1, "only then: the other is there");
    bo.assert_nothing_more().await;
    laravel.row(&id, json!({"status": "ENDED"}));
    let next = unique_call();
    assert_eq!(cleo.call(&next, &bo.user).await["success"], true);
    assert_eq!(bo.expect("call:ended").await["reason"], "Remote user ended call");
    assert_eq!(bo.expect("call:incoming").await["callId"], next.as_str());
    cleo.cancel(&next).await;
    bo.expect("call:cancelled").await;
    drop((bo, cleo));
    cluster.close().await;
}

/// A backend that bills by the time in which both were there charges nobody for the absence that ended the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_is_told_how_long_both_were_there() {
    let receiver = Receiver::start().await;
    let cluster = Cluster::manual_tuned(2, |config| {
        receiver.hears_of(config);
    })
    .await;
    let (ana, bo, id) = ringing(&cluster).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    cluster.advance(100);
    bo.vanish();
    noted(&cluster, &id).await;
    cluster.advance(61);
    let ended = ana.expect("call:ended").await;
    assert_eq!(ended["durationMs"], 161_000, "what phones hear stays as it is");
    let hook = receiver.expect(&id, "call.ended").await.data;
    let secret = ("x-internal-secret", SECRET);
    let record = get_with(cluster.address(0), &format!("/api/calls/{id}"), secret).await.1;
    for told in [&hook, &record] {
        assert_eq!(
            (&told["reason"], &told["durationMs"], &told["talkMs"]),
            (&json!("lost"), &json!(161_000), &json!(100_000))
        );
        assert_eq!(told["absentSince"].as_u64(), Some(told["acceptedAt"].as_u64().unwrap() + 100_000));
    }
    drop(ana);
    cluster.close().await;
}

/// A record also goes when the maximum is long past. That proves nothing to a phone without `acks`: it may talk for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_gone_hangs_up_no_deployed_phone() {
    let heal = |config: &mut Config| config.policy.heal_active = Duration::from_millis(100);
    let cluster = Cluster::tuned(Backend::Redis, 1, heal).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone_with(0, Profile::deployed(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let redis = redis::shared();
    let key = redis.command(&["KEYS", &format!("*:call:{}", id.trim_start_matches("CALL_"))]);
    assert_eq!(redis.command(&["DEL", &key]), "1", "{key:?}");
    assert_eq!(ana.expect("call:ended").await["reason"], "User disconnected");
    bo.assert_nothing_more().await;
    drop((ana, bo));
    for node in cluster.nodes {
        node.stop().await;
    }
}

/// Two phones of the deployed app talk; then `fate` befalls the two nodes. Whoever is left sweeps their sessions and asks
/// Laravel; the phones come back to it and hear nothing of an end.
async fn outlives(fate: impl FnOnce(Node, Node, &dyn Fn() -> Node) -> Node) {
    let laravel = Laravel::start().await;
    let (prefix, url) = (prefix(), format!("http://{}", laravel.address));
    let variables = [
        ("AUTH", "laravel"),
        ("LARAVEL_API_URL", url.as_str()),
        ("LARAVEL_API_SECRET", SECRET),
        ("CALL_GRACE_SECS", "1"),
    ];
    let start = || Node::start(&prefix, &variables);
    let (first, second) = (start(), start());
    let ana = Phone::connect(first.public, Profile::deployed(&unique("ana"))).await;
    let bo = Phone::connect(first.public, Profile::deployed(&unique("bo"))).await;
    let (caller, callee, id) = (ana.user.clone(), bo.user.clone(), unique_call());
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    laravel.row(&id, json!({"status": "ONGOING", "caller_id": caller, "receiver_id": callee}));
    let left = fate(first, second, &start);
    let path = format!("/api/calls/{id}");
    let record = || async { get_with(left.public, &path, ("x-internal-secret", SECRET)).await.1 };
    let deadline = Instant::now() + Duration::from_secs(40);
    while laravel.askers(&id).is_empty() && record().await["state"] == "active" && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await; // a lease of the dead and one of one's own
    }
    assert_eq!(record().await["state"], "active", "{}", record().await);
    assert_eq!(laravel.askers(&id).len(), 1, "asked when both are away");
    let ana = Phone::connect(left.public, Profile::deployed(&caller)).await;
    ana.expect("call:accepted").await;
    let bo = Phone::connect(left.public, Profile::deployed(&callee)).await;
    bo.assert_nothing_more().await;
    assert_eq!(ana.end(&id).await["success"], true, "it went on");
    assert_eq!(bo.expect("call:ended").await["reason"], "Remote user ended call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_killed_node_goes_on_without_its_sockets() {
    outlives(|first, second, _| {
        drop(first);
        second
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_while_all_nodes_are_down() {
    outlives(|first, second, start| {
        drop((first, second));
        start()
    })
    .await;
}

pub async fn wait_until_doubtful(cluster: &Cluster, id: &str) {
    let id = onlycare_signaling::call::CallId::parse(id).unwrap();
    for _ in 0..500 {
        let call = cluster.shared.calls.load(&id).await.unwrap().unwrap();
        if matches!(call.state, onlycare_signaling::call::State::Active { doubtful: true, .. }) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await; // a timer of the node writes it
    }
    panic!("the line did not become doubtful");
}

/// A node that was cut off for longer than its lease is held for dead, and its phones for gone; they were there all along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_there_while_his_node_was_cut_off_is_not_absent() {
    let redis = redis::Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[redis.url(), format!("redis://{}", proxy.address)]).await;
    let (ana, bo, id) = ringing(&cluster).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    proxy.cut();
    let call = async || cluster.shared.calls.load(&CallId::parse(&id).unwrap()).await.unwrap().unwrap();
    let within = Duration::from_secs(40);
    until("he counts as away", within, async || call().await.callee.absent_since.is_some()).await;
    proxy.mend();
    until("he is there", within, async || call().await.callee.absent_since.is_none()).await;
    ana.end(&id).await;
    bo.expect("call:ended").await;
    let over = call().await;
    assert_eq!((over.talk(), over.absent_since()), (over.duration(), None), "all of it is paid");
    cluster.close().await;
}

/// Two sockets of a device leave at the same time, each on another node: each takes the other for there until it is removed,
/// and what one of them finds must not undo what the other has stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sockets_that_leave_together_leave_an_absence() {
    let cluster = Cluster::start(Backend::Memory, 2).await;
    for _ in 0..30 {
        let (ana, bo, id) = talking(&cluster).await;
        let again = cluster.phone(1, &ana.user).await;
        let user = onlycare_signaling::call::UserId::parse(&ana.user).unwrap();
        ana.vanish();
        again.vanish();
        let is_gone = async || cluster.shared.sessions.sessions(&user).await.is_ok_and(|all| all.is_empty());
        until("both are removed", Duration::from_secs(10), is_gone).await;
        stored(&cluster, &id, "absent", |call| call.caller.absent_since.is_some()).await;
        assert_eq!(bo.end(&id).await["success"], true);
    }
    cluster.close().await;
}
