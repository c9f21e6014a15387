//! A store that comes back empty: what nodes put back, in which order, and what is decided before they all have.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::app::App;
use onlycare_signaling::call::{Call, CallId, Device, NodeId, SessionId, State, UserId};
use onlycare_signaling::config::Config;
use onlycare_signaling::store::{Lease, SessionRecord};
use serde_json::json;

use crate::harness::cluster::{SECRET, get, get_with, post};
use crate::harness::phone::{Heard, Profile, initiate, unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Backend, Cluster, Phone, until};
use crate::on_each_backend;

/// A lease, and some time for a busy machine.
const ONE_LEASE: Duration = Duration::from_secs(15);
/// Longer than nodes wait for each other before they decide.
const LONGER_THAN_NODES_WAIT: Duration = Duration::from_secs(6);

/// Plays a story that a machine which stands still for too long spoils, which it says by false.
pub async fn once_in_three(story: impl AsyncFn() -> bool, spoiled: &str) {
    for _ in 0..3 {
        if story().await {
            return;
        }
    }
    panic!("{spoiled}");
}

/// A node that missed the last word of a call has the store to itself after a loss: it puts back what it knows, and
/// decides nothing on that before the others are back. What is said to it meanwhile waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_loss_nobody_decides_before_all_put_back() {
    // The other node has a second to come back: a machine that stands still longer gives it another chance.
    once_in_three(async || the_last_word_counts(Duration::ZERO).await, "the last word of a call was lost three times")
        .await;
}

/// A store that comes back empty and refuses writes: nobody could put anything back, so nobody waited for it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_store_that_refuses_writes_is_not_judged() {
    once_in_three(
        async || the_last_word_counts(LONGER_THAN_NODES_WAIT).await,
        "the last word of a call was lost three times",
    )
    .await;
}

/// Who dials, loses the connection while a loss keeps the dial waiting, comes back and dials somebody else, rings that
/// one alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_that_a_loss_kept_waiting_does_not_ring_after_a_newer_one() {
    // The nodes wait four seconds for each other: a machine that stands still longer gives it another chance.
    once_in_three(async || the_newer_dial_rings_alone().await, "no dial was kept waiting").await;
}

/// False where the older dial rang before the newer one was dialled.
async fn the_newer_dial_rings_alone() -> bool {
    let mut redis = Redis::start();
    let far = Proxy::before(redis.port).await;
    let cluster = Cluster::on_tuned(&[redis.url(), format!("redis://{}", far.address)], |config| {
        config.inspector = true;
    })
    .await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let (cleo, user) = (cluster.phone(0, &unique("cleo")).await, ana.user.clone());
    node_0_knows_the_other(&cluster).await;
    far.cut(); // the other waits for what this one may have to put back
    redis.restart();
    let (given_up, dialled) = (unique_call(), unique_call());
    ana.emit("call:initiate", initiate(&given_up, &bo.user));
    ana.vanish();
    let back = cluster.phone(0, &user).await;
    // The store may not know yet that cleo is connected.
    back.call(&dialled, &cleo.user).await;
    cleo.expect_within("call:incoming", ONE_LEASE).await;
    back.cancel(&dialled).await;
    cleo.expect("call:cancelled").await;
    far.mend();
    let load = async |id| cluster.shared.calls.load(&CallId::parse(id).expect("a call id")).await.expect("the store");
    let (older, newer) = (load(&given_up).await, load(&dialled).await.expect("a call"));
    if older.as_ref().is_some_and(|older| older.order < newer.order) {
        return false;
    }
    assert!(older.is_none(), "{older:?}");
    for phone in [&bo, &cleo] {
        phone.assert_nothing_more().await;
    }
    true
}

/// Who is absent from a call is known to the node that held that party alone. Put back by it, the call counted as one that
/// nobody knows, though the other party is in it: it yielded to whoever dialled that party.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_which_one_party_is_absent_goes_on_after_a_loss() {
    let mut redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    let (cleo, user) = (cluster.phone(1, &unique("cleo")).await, ana.user.clone());
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    ana.vanish();
    let stored = CallId::parse(&id).expect("a call id");
    until("ana is absent", ONE_LEASE, async || {
        let call = cluster.shared.calls.load(&stored).await.expect("the store").expect("a call");
        call.caller.absent_since.is_some()
    })
    .await;
    redis.restart();
    let dialled = unique_call();
    let answer = cleo.call(&dialled, &bo.user).await;
    assert_eq!(answer["busy"], true, "{answer}");
    cleo.expect("call:busy").await;
    let back = cluster.phone(0, &user).await;
    assert_eq!(bo.end(&id).await["success"], true);
    back.expect("call:ended").await;
    bo.assert_nothing_more().await;
}

/// Both parties lose the connection while the store is away, and it comes back empty. Their node was told of all that was
/// decided; put back as one that nobody knows, the call ended as lost with the first dial, long before its grace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_parties_left_while_the_store_was_away_goes_on() {
    let mut redis = Redis::start();
    let cluster = Cluster::on_tuned(&[redis.url(), redis.url()], |config| config.inspector = true).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await, unique_call());
    let (cleo, anas, bos) = (cluster.phone(1, &unique("cleo")).await, ana.user.clone(), bo.user.clone());
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    redis.stop();
    ana.vanish();
    bo.vanish();
    let is_left = async || get(cluster.nodes[0].admin, "/inspector/node").await.1["sessions"] == 0;
    until("they have left, and the store does not know", ONE_LEASE, is_left).await;
    redis.restart();
    let stored = CallId::parse(&id).expect("a call id");
    let is_put_back = async || matches!(cluster.shared.calls.load(&stored).await, Ok(Some(_)));
    until("it is put back", ONE_LEASE, is_put_back).await;
    let mut answer = json!(null);
    let is_answered = async || {
        answer = cleo.call(&unique_call(), &bos).await;
        answer["code"] != "unavailable"
    };
    until("node 1 decides again", ONE_LEASE, is_answered).await;
    assert_eq!(answer["busy"], true, "{answer}");
    assert_eq!(cluster.state(&id).await.0, "active");
    let (ana, bo) = (cluster.phone(0, &anas).await, cluster.phone(1, &bos).await);
    ana.expect("call:accepted").await;
    assert_eq!(ana.end(&id).await["success"], true);
    assert_eq!(bo.expect("call:ended").await["reason"], "Remote user ended call");
    for phone in [&ana, &bo] {
        phone.assert_nothing_more().await;
    }
}

/// Then it waits for it after a loss; needs the inspector.
async fn node_0_knows_the_other(cluster: &Cluster) {
    knows_all(cluster, 0).await;
}

async fn knows_all(cluster: &Cluster, node: usize) {
    let nodes = async || get(cluster.nodes[node].admin, "/inspector/nodes").await.1["nodes"].as_array().map(Vec::len);
    let all = Some(cluster.nodes.len());
    until("the node knows the others, and waits for them", ONE_LEASE, async || nodes().await == all).await;
}

async fn decides_again(cluster: &Cluster, node: usize) {
    let (cleo, dan) = (cluster.phone(node, &unique("cleo")).await, cluster.phone(node, &unique("dan")).await);
    let mut id = unique_call();
    let answered = async || {
        id = unique_call();
        cleo.call(&id, &dan.user).await["code"] != "unavailable"
    };
    until("the node decides again", ONE_LEASE, answered).await;
    cleo.cancel(&id).await;
}

/// A call that both its phones have brought to another node: that one knows it, though it looks what it finds in a store that
/// was lost a moment ago, and the store is lost once more.
async fn moved_between_two_losses(began_since: bool) -> (Redis, Cluster, [Phone; 2], String) {
    let mut redis = Redis::start();
    let mut cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let id = unique_call();
    if began_since {
        redis.restart();
        decides_again(&cluster, 1).await;
    }
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    if !began_since {
        redis.restart();
        decides_again(&cluster, 1).await;
    }
    // Nobody is ever absent: that would be told.
    let there = [cluster.phone(1, &ana.user).await, cluster.phone(1, &bo.user).await];
    ana.vanish();
    bo.vanish();
    if began_since {
        cluster.nodes.remove(0).stop().await;
    } else {
        // It compares all its calls.
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        tokio::time::sleep(Duration::from_secs(1)).await; // the trouble itself
    }
    redis.restart();
    (redis, cluster, there, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_began_after_a_loss_and_moved_is_put_back_after_the_next() {
    let (_redis, cluster, [ana, bo], id) = moved_between_two_losses(true).await;
    let ends = async || ana.end(&id).await["success"] == true;
    until("it ends", ONE_LEASE, ends).await;
    bo.expect("call:ended").await;
    cluster.close().await;
}

/// The node that they left keeps it until the other may have looked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_moved_after_a_loss_is_put_back_after_the_next() {
    let (_redis, cluster, [ana, _bo], id) = moved_between_two_losses(false).await;
    let ends = async || ana.end(&id).await["success"] == true;
    until("it ends", ONE_LEASE, ends).await;
    cluster.close().await;
}

/// A node that could not put back in time has its time when the store takes writes again, however long that takes: until
/// then the others do not say that there is no such call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_that_refuses_writes_keeps_from_being_put_back_is_not_denied() {
    let mut redis = Redis::start();
    let far = Proxy::before(redis.port).await;
    let urls = [redis.url(), format!("redis://{}", far.address)];
    let cluster = Cluster::on_tuned(&urls, |config| config.inspector = true).await;
    let (ana, bo, id) = (cluster.phone(1, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    node_0_knows_the_other(&cluster).await;
    far.cut();
    redis.restart();
    decides_again(&cluster, 0).await;
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    tokio::time::sleep(ONE_LEASE).await; // the trouble itself
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    let ended = json!({"callId": id, "endedBy": ana.user});
    let said = cluster.post(0, "/api/emit/call-ended", ended.clone()).await;
    assert_eq!(said.0, 503, "{}", said.1);
    far.mend();
    let is_ended = async || {
        let (status, said) = cluster.post(0, "/api/emit/call-ended", ended.clone()).await;
        assert_ne!(said["reason"], "Call not found");
        status == 200
    };
    until("it is put back, and ends", ONE_LEASE, is_ended).await;
    bo.expect("call:ended").await;
    // Who has nobody to wait for any more says so again.
    let unknown = json!({"callId": unique_call(), "endedBy": ana.user});
    let is_denied = async || cluster.post(0, "/api/emit/call-ended", unknown.clone()).await.0 == 200;
    until("there is no other call", ONE_LEASE, is_denied).await;
}

/// False where the node that missed the last word decided before the other was back. The store refuses writes for so long.
async fn the_last_word_counts(refuses: Duration) -> bool {
    let mut redis = Redis::start();
    let (near, far) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let url = |proxy: &Proxy| format!("redis://{}", proxy.address);
    let cluster = Cluster::on(&[url(&near), url(&far)]).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, unique("bo"), unique_call());
    let first = cluster.phone_with(0, Profile::of(&bo).device("first")).await;
    let second = cluster.phone_with(1, Profile::of(&bo).device("second")).await;
    let cleo = cluster.phone(1, &unique("cleo")).await;
    ana.rings(&id, &first).await;
    second.expect("call:incoming").await;
    far.cut();
    assert_eq!(first.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    near.cut();
    redis.restart();
    if !refuses.is_zero() {
        assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
        far.mend();
        tokio::time::sleep(refuses).await; // the trouble itself
        assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    }
    let put_back = async {
        far.mend();
        let deadline = Instant::now() + Duration::from_secs(20);
        while redis.command(&["KEYS", "*call:*"]).is_empty() {
            assert!(Instant::now() < deadline, "nothing is put back");
            tokio::time::sleep(Duration::from_millis(10)).await; // asked, not waited for
        }
        let mends = async {
            tokio::time::sleep(Duration::from_millis(500)).await; // the trouble itself
            near.mend();
        };
        // It comes while the store holds what the node knows that knows less.
        tokio::join!(cluster.phone_with(1, Profile::of(&bo).device("third")), mends).0
    };
    let dialled = unique_call();
    let (late, busy, third) = tokio::join!(second.accept(&id), cleo.call(&dialled, &ana.user), put_back);
    if late["success"] == true {
        return false;
    }
    assert_eq!(late["state"], "active", "{late}");
    for device in [&second, &third] {
        assert_eq!(device.expect("call:cancelled").await["reason"], "Answered elsewhere");
    }
    assert_eq!(busy["busy"], true, "{busy}");
    cleo.expect("call:busy").await;
    assert_eq!(first.end(&id).await["success"], true);
    ana.expect("call:ended").await;
    for phone in [&ana, &first, &second, &third, &cleo] {
        phone.assert_nothing_more().await;
    }
    cluster.close().await;
    true
}

/// A call of two phones of the third node that is over; the first had only carried the word of Laravel that accepted it.
async fn ended_elsewhere(cluster: &Cluster) -> (Phone, Phone, String) {
    let (ana, bo, id) = (cluster.phone(2, &unique("ana")).await, cluster.phone(2, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    let accepted = json!({"callId": id, "callerId": ana.user, "receiverId": bo.user});
    assert_eq!(cluster.post(0, "/api/emit/call-accepted", accepted).await.0, 200);
    ana.expect("call:accepted").await;
    assert_eq!(ana.end(&id).await["success"], true);
    bo.expect("call:ended").await;
    (ana, bo, id)
}

/// A node that had only carried a word of Laravel never learned how the call went on. It puts back what it knows when all
/// who knew more are gone, but nobody is told of that call, and it keeps nobody busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_only_heard_of_keeps_nobody_busy_after_a_loss() {
    let mut redis = Redis::start();
    let mut cluster = Cluster::on(&[redis.url(), redis.url(), redis.url()]).await;
    let (ana, bo, id) = ended_elsewhere(&cluster).await;
    let (anas, bos) = (ana.user.clone(), bo.user.clone());
    ana.vanish();
    bo.vanish();
    cluster.nodes.pop().expect("a third node").stop().await;
    redis.restart();
    let stored = CallId::parse(&id).expect("a call id");
    let put_back = async || {
        let call = cluster.shared.calls.load(&stored).await;
        matches!(call, Ok(Some(Call { state: State::Active { .. }, .. })))
    };
    until("the call is put back", ONE_LEASE, put_back).await;

    let (ana, bo) = (cluster.phone(0, &anas).await, cluster.phone(1, &bos).await);
    ana.completes_call(&bo).await;
    assert_eq!(cluster.state(&id).await.0, "ended");
    for phone in [&ana, &bo] {
        // An end closes the screen of that call and no other.
        let stale = |heard: &Heard| heard.payload["callId"] == id.as_str() && heard.event != "call:ended";
        let told = phone.heard().into_iter().find(stale);
        assert_eq!(told, None, "{} heard of a call that was over", phone.user);
    }
    cluster.close().await;
}

/// The node of both parties dies, and one of them comes back elsewhere and is told that his call is over. Then the store is
/// lost: the call does not come to life by a node that had only carried a word of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_to_be_over_stays_so_after_a_loss() {
    let mut redis = Redis::start();
    let mut cluster = Cluster::on(&[redis.url(), redis.url(), redis.url()]).await;
    let (ana, bo, id) = ended_elsewhere(&cluster).await;
    let bos = bo.user.clone();
    bo.vanish();
    let bo = cluster.phone(1, &bos).await;
    cluster.nodes.pop().expect("a third node").stop().await;
    redis.restart();
    let stored = CallId::parse(&id).expect("a call id");
    let put_back = async || matches!(cluster.shared.calls.load(&stored).await, Ok(Some(_)));
    until("the call is put back", ONE_LEASE, put_back).await;
    tokio::time::sleep(LONGER_THAN_NODES_WAIT).await; // whoever knows less has his time
    assert_eq!(cluster.state(&id).await, ("ended", Some("hung_up")));
    drop((ana, bo));
    cluster.close().await;
}

/// A ring that was dialled on a server that the others had left: nobody has answered anything about it, and it rings on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_was_dialled_behind_a_failover_goes_on() {
    let (left, new) = (Redis::start(), Redis::start());
    let (near, far) = (Proxy::before(left.port).await, Proxy::before(left.port).await);
    let url = |proxy: &Proxy| format!("redis://{}", proxy.address);
    let cluster = Cluster::on_tuned(&[url(&near), url(&far)], |config| {
        config.policy.lease = Duration::from_secs(3);
        config.policy.lease_renewal = Duration::from_secs(1);
    })
    .await;
    let (ana, bo) = (cluster.phone(1, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(0, &unique("dan")).await);
    near.lead_to(new.port);
    let decides = async || !new.command(&["KEYS", "*decided:*"]).is_empty();
    until("node 0 decides on the new server", 2 * ONE_LEASE, decides).await;
    tokio::time::sleep(Duration::from_secs(4)).await; // a lease: from then on who comes is late
    cleo.completes_call(&dan).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    far.lead_to(new.port);
    let is_put_back = async || !new.command(&["KEYS", &format!("*call:{}", id.trim_start_matches("CALL_"))]).is_empty();
    until("the ring is put back", 2 * ONE_LEASE, is_put_back).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    assert_eq!(ana.end(&id).await["success"], true);
    bo.expect("call:ended").await;
    for phone in [&ana, &bo] {
        phone.assert_nothing_more().await;
    }
}

/// While a call may not be put back yet, nobody is told that there is none, whatever is said or asked of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_put_back_yet_is_not_unknown() {
    let mut redis = Redis::start();
    let far = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[redis.url(), format!("redis://{}", far.address)]).await;
    let (ana, bo, id) = (cluster.phone(1, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    let words = [
        ("call:upgrade", json!({"callId": id})),
        ("call:upgrade:response", json!({"callId": id, "accepted": true})),
        ("call:downgrade", json!({"callId": id})),
        ("call:message", json!({"callId": id, "data": 1})),
        ("call:accept", json!({"callId": id})),
        ("call:end", json!({"callId": id})),
    ];
    far.cut();
    redis.restart();
    // Their node has not heard of the call.
    let mut devices = Vec::new();
    for (word, _) in &words {
        devices.push(cluster.phone_with(0, Profile::of(&bo.user).device(word)).await);
    }
    let said = devices.iter().zip(words).map(|(phone, (word, payload))| async move {
        let answer = phone.ask(word, payload).await;
        assert_eq!((&answer["success"], &answer["code"]), (&json!(false), &json!("unavailable")), "{word}: {answer}");
    });
    let asked = async {
        let path = format!("/api/calls/{id}");
        let (status, answer) = get_with(cluster.address(0), &path, ("x-internal-secret", SECRET)).await;
        assert_eq!(status, 503, "{answer}");
    };
    tokio::join!(join_all(said), asked);
    far.mend();
    // What was to be obeyed later is.
    ana.expect_within("call:ended", 2 * ONE_LEASE).await;
    assert_eq!(cluster.state(&id).await.0, "ended");
}

/// A node that comes back to a wiped store when the others have waited for it and said that there is no such call: what
/// rings there alone ends as unanswered. It does not ring again where it was said to be over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_is_put_back_too_late_is_over() {
    let mut redis = Redis::start();
    let (near, far) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let url = |proxy: &Proxy| format!("redis://{}", proxy.address);
    let cluster = Cluster::on_tuned(&[url(&near), url(&far)], |config| {
        config.policy.lease = Duration::from_secs(5);
        config.policy.lease_renewal = Duration::from_secs(1);
    })
    .await;
    let (ana, bo, id) = (cluster.phone(1, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    ana.rings(&id, &bo).await;
    far.cut();
    redis.restart();
    let second = cluster.phone_with(0, Profile::of(&bo.user).device("second")).await;
    let is_none = async || second.accept(&id).await["code"] == "call_not_found";
    until("node 0 says that there is none", 2 * ONE_LEASE, is_none).await;
    far.mend();
    ana.expect_within("call:timeout", ONE_LEASE).await;
    assert_eq!(bo.expect_within("call:cancelled", ONE_LEASE).await["reason"], "Timeout");
    for phone in [&ana, &bo] {
        phone.assert_nothing_more().await;
    }
    assert!(second.heard().iter().all(|heard| heard.event == "call:cancelled"), "{:?}", second.heard());
    assert_eq!(cluster.state(&id).await.0, "ended");
    cluster.close().await;
}

/// The same where the others waited for it all the while, since the store took no writes: nobody was told that there is no
/// such call, and it goes on ringing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_nobody_denied_goes_on() {
    once_in_three(async || the_ring_is_waited_for().await, "it was denied three times").await;
}

/// Node 1 has a call and is cut off from a store that came back empty: node 0 decides again, and waits for it.
struct CutOff {
    redis: Redis,
    far: Proxy,
    cluster: Cluster,
    ana: Phone,
    bo: Phone,
    id: String,
    /// As that of each node.
    config: Config,
}

impl CutOff {
    /// The call rings, or was accepted. So many other nodes do not come back.
    async fn with(lease: Duration, accepted: bool, gone: usize) -> Self {
        let mut redis = Redis::start();
        let far = Proxy::before(redis.port).await;
        let gone = join_all((0..gone).map(|_| Proxy::before(redis.port))).await;
        let mut urls = vec![redis.url()];
        urls.extend([&far].into_iter().chain(&gone).map(|proxy| format!("redis://{}", proxy.address)));
        let tuned = parking_lot::Mutex::new(None);
        let cluster = Cluster::on_tuned(&urls, |config| {
            config.policy.lease = lease;
            config.policy.lease_renewal = Duration::from_secs(1);
            config.policy.ring_timeout = Duration::from_secs(60);
            config.inspector = true;
            tuned.lock().get_or_insert_with(|| config.clone());
        })
        .await;
        let (ana, bo, id) =
            (cluster.phone(1, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
        ana.rings(&id, &bo).await;
        if accepted {
            assert_eq!(bo.accept(&id).await["success"], true);
            ana.expect("call:accepted").await;
        }
        for node in [0, 1] {
            knows_all(&cluster, node).await;
        }
        [&far].into_iter().chain(&gone).for_each(Proxy::cut);
        redis.restart();
        decides_again(&cluster, 0).await;
        let config = tuned.into_inner().expect("a configuration");
        Self { redis, far, cluster, ana, bo, id, config }
    }

    fn takes_writes(&self, writes: bool) {
        let replicas = if writes { "0" } else { "1" };
        assert_eq!(self.redis.command(&["CONFIG", "SET", "min-replicas-to-write", replicas]), "OK");
    }

    /// Node 1 comes back, and the callee accepts at node 0. False where the call was denied meanwhile.
    async fn is_accepted_by(&self, second: &Phone) -> bool {
        let Self { far, ana, id, .. } = self;
        far.mend();
        let mut said = json!(null);
        until("it is put back or denied", ONE_LEASE, async || {
            said = second.accept(id).await;
            said["code"] != "unavailable"
        })
        .await;
        if said["code"] == "call_not_found" || said["reason"] == "no_answer" {
            return false;
        }
        assert_eq!(said["success"], true, "{said}");
        ana.expect("call:accepted").await;
        assert_eq!(ana.end(id).await["success"], true);
        true
    }
}

/// False where the machine stood still until it was denied, or rang to its end.
async fn the_ring_is_waited_for() -> bool {
    let lease = Duration::from_secs(5);
    let story = CutOff::with(lease, false, 0).await;
    story.takes_writes(false);
    tokio::time::sleep(2 * lease).await; // the trouble itself
    let second = story.cluster.phone_with(0, Profile::of(&story.bo.user).device("second")).await;
    story.takes_writes(true);
    story.is_accepted_by(&second).await
}

/// A node that comes when the others decide again, and still wait for it, waits no longer for one that is gone: else they
/// would deny its calls while it does (chaos, seed 14).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_is_in_time_though_another_is_gone() {
    once_in_three(async || the_late_ring_goes_on().await, "it was denied three times").await;
}

/// False where it was denied, or the machine stood still until it was.
async fn the_late_ring_goes_on() -> bool {
    let story = CutOff::with(Duration::from_secs(8), false, 1).await;
    let second = story.cluster.phone_with(0, Profile::of(&story.bo.user).device("second")).await;
    // Node 0 waits for eight seconds. To wait for one that is gone takes four.
    tokio::time::sleep(Duration::from_millis(4500)).await; // the trouble itself
    story.is_accepted_by(&second).await
}

/// A node that begins longer than a lease after a loss, while others still wait for one that has not put back what it holds:
/// it denies nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_while_others_wait_waits_too() {
    let lease = Duration::from_secs(5);
    let story = CutOff::with(lease, true, 0).await;
    story.takes_writes(false);
    tokio::time::sleep(2 * lease).await; // the trouble itself
    story.takes_writes(true);
    let CutOff { redis: _redis, far, cluster, ana, bo, id, config } = story;
    let begun = App::start(config).await.expect("a node");
    let ended = json!({"callId": id, "endedBy": ana.user});
    let said = post(begun.public, "/api/emit/call-ended", Some(SECRET), ended.clone()).await;
    assert_eq!(said.0, 503, "{}", said.1);
    far.mend();
    let (calls, stored) = (&cluster.shared.calls, CallId::parse(&id).unwrap());
    until("it is put back", ONE_LEASE, async || matches!(calls.load(&stored).await, Ok(Some(_)))).await;
    let back = calls.load(&stored).await.unwrap().unwrap();
    // The word that was answered 503 may have ended it already.
    let is_denied = back.end().is_some_and(|end| end.reason.name() != "hung_up");
    assert!(!is_denied && !back.unvouched, "nobody denied it: {back:?}");
    let is_ended = async || post(begun.public, "/api/emit/call-ended", Some(SECRET), ended.clone()).await.0 == 200;
    until("it is put back, and ends", ONE_LEASE, is_ended).await;
    bo.expect("call:ended").await;
    begun.stop().await;
    cluster.close().await;
}

/// A store that is emptied behind connections which nobody makes again, and into which somebody puts back an older copy: a word
/// that was decided before that and arrives after it changes nothing, and is judged anew on what all have put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_before_a_loss_is_judged_anew() {
    let redis = Redis::start();
    let far = Proxy::before(redis.port).await;
    let cluster = Cluster::on_tuned(&[redis.url(), format!("redis://{}", far.address)], |config| {
        // Nobody notices by himself meanwhile.
        config.policy.lease_renewal = Duration::from_secs(4);
    })
    .await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, unique("bo"), unique_call());
    let first = cluster.phone_with(0, Profile::of(&bo).device("first")).await;
    let second = cluster.phone_with(1, Profile::of(&bo).device("second")).await;
    ana.rings(&id, &first).await;
    second.expect("call:incoming").await;
    let ringing = CallId::parse(&id).unwrap();
    let ringing = cluster.shared.calls.load(&ringing).await.unwrap().expect("it rings");
    far.hold_request_of("\"accepted_at\"", Duration::from_millis(1500));
    let story = async {
        tokio::time::sleep(Duration::from_millis(300)).await; // the word of the second is decided
        assert_eq!(first.accept(&id).await["success"], true);
        ana.expect("call:accepted").await;
        assert_eq!(redis.command(&["FLUSHALL"]), "OK");
        // As a third node does, before it finds out.
        cluster.shared.calls.generation().await.unwrap();
        assert!(cluster.shared.calls.restore(&ringing, &[]).await.unwrap().written);
    };
    let (late, ()) = tokio::join!(second.accept(&id), story);
    assert_eq!((&late["success"], &late["state"]), (&json!(false), &json!("active")), "{late}");
    assert_eq!(first.end(&id).await["success"], true);
    ana.expect("call:ended").await;
    cluster.close().await;
}

/// No node had a phone of a call when the store was lost: nobody vouches for it, and its end is told to phones that were shown
/// it. One that came back while its node could not reach the store was shown nothing, and heard nothing of the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_shown_nothing_hears_the_end_of_a_call_that_nobody_vouched_for() {
    let redis = Redis::start();
    let far = Proxy::before(redis.port).await;
    let urls = [redis.url(), format!("redis://{}", far.address)];
    // What is compared while nobody is here is forgotten.
    let cluster = Cluster::on_tuned(&urls, |config| config.policy.heal_active = Duration::from_secs(60)).await;
    let (ana, bo, id) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await, unique_call());
    let users = [ana.user.clone(), bo.user.clone()];
    ana.rings(&id, &bo).await;
    assert_eq!(bo.accept(&id).await["success"], true);
    ana.expect("call:accepted").await;
    ana.vanish();
    bo.vanish();
    let stored = CallId::parse(&id).expect("a call id");
    let load = async || cluster.shared.calls.load(&stored).await.ok().flatten();
    until("both are absent", ONE_LEASE, async || {
        load().await.is_some_and(|call| call.caller.absent_since.is_some() && call.callee.absent_since.is_some())
    })
    .await;
    assert_eq!(redis.command(&["FLUSHALL"]), "OK");
    until("it is put back", ONE_LEASE, async || load().await.is_some_and(|call| call.unvouched)).await;
    // She is greeted when both nodes have put back what they held.
    let ana = cluster.phone(0, &users[0]).await;
    far.cut();
    let bo = cluster.phone(1, &users[1]).await;
    until("it is over", ONE_LEASE, async || ana.end(&id).await["success"] == true).await;
    far.mend();
    assert_eq!(bo.expect_within("call:ended", ONE_LEASE).await["callId"], id.as_str());
    bo.completes_call(&ana).await;
    cluster.close().await;
}

/// A sweeper claimed what an earlier epoch of a node had left, and died: the node removes it when the claim has run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_sweeper_had_claimed_does_not_stay() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url()]).await;
    let (sessions, bo) = (&cluster.shared.sessions, cluster.phone(0, &unique("bo")).await);
    let user = UserId::parse(&bo.user).expect("a user id");
    let of_bo = sessions.sessions(&user).await.expect("the store answers").remove(0);
    let left = SessionRecord {
        id: SessionId::from_random(7),
        user: UserId::parse(&unique("ana")).expect("a user id"),
        ..of_bo.clone()
    };
    sessions.register(&left).await.expect("the store answers");
    let lease = Lease {
        node: of_bo.node.clone(),
        epoch: of_bo.epoch,
        address: String::new(),
        probe: String::new(),
        expires_at: cluster.clock.now(),
        sessions: 2,
    };
    let claim = Duration::from_secs(8);
    sessions.sweep(&lease, cluster.clock.now(), claim, 512).await.expect("the store answers");
    // Its lease is gone: it begins another epoch.
    let leases = redis.command(&["--scan", "--pattern", "*:leases"]);
    assert_eq!(redis.command(&["DEL", leases.as_str()]), "1");
    let online = async || sessions.online_users().await.unwrap_or_default();
    until("only bo is online", 2 * ONE_LEASE, async || online().await == [user.clone()]).await;
    let again = sessions.sessions(&user).await.expect("the store answers");
    assert!(again.len() == 1 && again[0].epoch > of_bo.epoch, "{again:?}");
    assert!(bo.keep_connected());
    cluster.close().await;
}

/// A registration that the store failed runs after the removal of its session, from the buffer of a connection that was
/// given up: it does not stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_runs_after_its_removal_does_not_stay() {
    let redis = Redis::start();
    let near = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", near.address)]).await;
    let stored = async |user: &UserId| cluster.shared.sessions.sessions(user).await.unwrap_or_default();
    for _ in 0..3 {
        let name = unique("bo");
        near.lose_reply_of(&name);
        let (bo, user) = (cluster.phone(0, &name).await, UserId::parse(&name).expect("a user id"));
        assert!(near.has_struck());
        until("bo is registered", ONE_LEASE, async || !stored(&user).await.is_empty()).await;
        let late = stored(&user).await.remove(0);
        bo.vanish();
        until("bo is removed", ONE_LEASE, async || stored(&user).await.is_empty()).await;
        cluster.shared.sessions.register(&late).await.expect("the store answers");
        let deadline = Instant::now() + ONE_LEASE;
        while Instant::now() < deadline {
            if stored(&user).await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await; // asked, not waited for
        }
        // The node's second look may have come before this: with another phone it comes after.
    }
    panic!("who left stays online");
}

/// A registration whose node gave it up runs in the store that came back, when its epoch was swept already: the phone that
/// left since would be online for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_late_under_an_epoch_that_is_over_goes() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url()]).await;
    let bo = cluster.phone(0, &unique("bo")).await;
    let (sessions, user) = (&cluster.shared.sessions, UserId::parse(&bo.user).unwrap());
    let of_bo = async || sessions.sessions(&user).await.ok()?.into_iter().next();
    let before = of_bo().await.expect("he is registered");
    assert_eq!(redis.command(&["FLUSHALL"]), "OK");
    let is_again = async || of_bo().await.is_some_and(|session| session.epoch > before.epoch);
    until("he is registered under a new epoch", ONE_LEASE, is_again).await;
    let is_alone = async || sessions.online_users().await.is_ok_and(|online| online == [user.clone()]);
    // When the first is gone its epoch was swept, with the second still to come.
    for late in [1, 2] {
        let (id, user) = (SessionId::from_random(late), UserId::parse(&unique("gone")).unwrap());
        sessions.register(&SessionRecord { id, user, ..before.clone() }).await.unwrap();
        until("who left is gone", ONE_LEASE, is_alone).await;
    }
    assert!(bo.keep_connected() && of_bo().await.is_some());
    cluster.close().await;
}

/// The same where the store was lost once more before all were registered under the next epoch: neither the store nor the
/// node knew of the first any more (chaos, seed 40).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_epoch_is_forgotten_between_two_losses() {
    let redis = Redis::start();
    let near = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", near.address)]).await;
    let bo = cluster.phone(0, &unique("bo")).await;
    let (sessions, user) = (&cluster.shared.sessions, UserId::parse(&bo.user).unwrap());
    let of_bo = async || sessions.sessions(&user).await.ok()?.into_iter().next();
    let before = of_bo().await.expect("he is registered");
    near.cut_at_reply_of(&bo.user);
    assert_eq!(redis.command(&["FLUSHALL"]), "OK");
    until("he is being registered under the next epoch", ONE_LEASE, async || near.has_struck()).await;
    assert_eq!(redis.command(&["FLUSHALL"]), "OK");
    near.mend();
    let is_again = async || of_bo().await.is_some_and(|session| session.epoch > before.epoch);
    until("he is registered again", ONE_LEASE, is_again).await;
    let (id, gone) = (SessionId::from_random(1), UserId::parse(&unique("gone")).unwrap());
    sessions.register(&SessionRecord { id, user: gone, ..before }).await.unwrap();
    let is_alone = async || sessions.online_users().await.is_ok_and(|online| online == [user.clone()]);
    until("who left is gone", ONE_LEASE, is_alone).await;
    cluster.close().await;
}

on_each_backend! {
    /// A node began a new epoch, after a loss or a lapsed lease, and died before it had swept the one before, or before its
    /// lease had come to the new one.
    async fn no_epoch_of_a_dead_node_is_left(backend: Backend) {
        let cluster = Cluster::tuned(backend, 1, |config| {
            config.policy.lease = Duration::from_secs(2);
            config.policy.lease_renewal = Duration::from_millis(500);
        })
        .await;
        let (sessions, clock) = (&cluster.shared.sessions, &cluster.clock);
        for (node, of_lease) in [("dead", 3), ("begun", 2)] {
            let node = NodeId::parse(node).unwrap();
            for epoch in [1, 2, 3] {
                let user = UserId::parse(&unique("ana")).unwrap();
                let (id, device) = (SessionId::from_random(epoch.into()), Device::Unknown);
                let (node, connected_at) = (node.clone(), clock.now());
                let session = SessionRecord { id, user, node, epoch, device, acks: true, connected_at };
                sessions.begin(&session.node, epoch).await.unwrap();
                sessions.register(&session).await.unwrap();
            }
            let (address, probe) = ("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1/ready".to_owned());
            let lease = Lease { node, epoch: of_lease, address, probe, expires_at: clock.now(), sessions: 3 };
            sessions.renew(&lease, Duration::from_millis(1), None).await.unwrap();
        }
        let is_swept = async || cluster.shared.sessions.online_users().await.unwrap().is_empty();
        until("all of its sessions are swept", ONE_LEASE, is_swept).await;
        cluster.close().await;
    }

    /// A node that had gone left a session behind, as one of an old copy of the store does, and nobody was well enough to call
    /// it dead when the user's own session left: the absence was dated by the lease of that node, and its grace was over.
    async fn who_left_last_is_away_since_then(backend: Backend) {
        let cluster = Cluster::tuned(backend, 1, |config| {
            config.policy.lease = Duration::from_secs(4);
            config.policy.lease_renewal = Duration::from_millis(500);
            config.policy.caller_grace = Duration::from_secs(60);
            config.inspector = true;
        })
        .await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let (sessions, clock, id) = (&cluster.shared.sessions, &cluster.clock, unique_call());
        let user = UserId::parse(&ana.user).unwrap();
        let of_ana = sessions.sessions(&user).await.unwrap().remove(0);
        let (dead, epoch) = (NodeId::parse("dead").unwrap(), 1);
        let left = SessionRecord { id: SessionId::from_random(7), node: dead.clone(), epoch, ..of_ana };
        sessions.register(&left).await.unwrap();
        let (address, probe) = ("http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1/ready".to_owned());
        let lease = Lease { node: dead, epoch, address, probe, expires_at: clock.now(), sessions: 1 };
        sessions.renew(&lease, Duration::from_millis(1), None).await.unwrap();
        ana.rings(&id, &bo).await;
        let nodes = async || get(cluster.nodes[0].admin, "/inspector/nodes").await.1["nodes"].as_array().map(Vec::len);
        until("its lease is read, or it is swept", ONE_LEASE, async || {
            nodes().await == Some(2) || sessions.sessions(&user).await.unwrap().len() == 1
        })
        .await;
        let before = clock.now();
        ana.vanish();
        let call = CallId::parse(&id).unwrap();
        let away = async || cluster.shared.calls.load(&call).await.unwrap().unwrap().caller.absent_since;
        until("she is away", ONE_LEASE, async || away().await.is_some()).await;
        assert!(away().await >= Some(before), "{:?} is before {before:?}", away().await);
        until("the dead are swept", ONE_LEASE, async || sessions.sessions(&user).await.unwrap().is_empty()).await;
        assert!(away().await >= Some(before), "the sweep changes nothing of it");
        assert_eq!(bo.reject(&id).await["success"], true);
        drop(bo);
        cluster.close().await;
    }
}
