//! Redis comes back with an old snapshot: who left is gone, what ended is over, and nobody hears of it.

use std::time::{Duration, Instant};

use onlycare_signaling::call::{Call, CallId, State, UserId};
use onlycare_signaling::config::Config;
use onlycare_signaling::store::{Created, Swap};
use serde_json::json;

use crate::harness::cluster::{SECRET, get, get_with};
use crate::harness::phone::{unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::{Cluster, Phone, until};
use crate::losses::once_in_three;

/// The revived leases run out, and those who sweep were well for one more.
const TWO_LEASES: Duration = Duration::from_secs(30);
/// Nodes remember calls that ended for so long, and put them back as ended.
const REMEMBERED: Duration = Duration::from_secs(61);

/// What every node says, and what the store counts.
async fn are_online(cluster: &Cluster, online: &[&str], offline: &[&str]) -> bool {
    for node in &cluster.nodes {
        for (users, expected) in [(online, true), (offline, false)] {
            for user in users {
                let path = format!("/api/users/{user}/online");
                let (_, answer) = get_with(node.public, &path, ("x-internal-secret", SECRET)).await;
                if answer["isOnline"] != expected {
                    return false;
                }
            }
        }
        let (_, health) = get_with(node.public, "/health", ("accept", "*/*")).await;
        if health["connectedUsers"] != online.len() {
            return false;
        }
    }
    true
}

/// So young that the leases in it have not run out: their epochs would go on, and with them whoever left since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_since_a_young_snapshot_is_gone() {
    let mut redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let (left, also_left) = (cluster.phone(0, &unique("left")).await, cluster.phone(1, &unique("also")).await);
    let gone = [left.user.clone(), also_left.user.clone()];
    let (here, gone_names) = ([ana.user.as_str(), bo.user.as_str()], [gone[0].as_str(), gone[1].as_str()]);
    assert!(redis.command(&["--scan", "--pattern", "*sessions:*"]).lines().count() >= 4, "all are in the snapshot");
    assert_eq!(redis.command(&["SAVE"]), "OK");
    left.vanish();
    also_left.vanish();
    until("they left", TWO_LEASES, async || are_online(&cluster, &here, &gone_names).await).await;
    redis.restart();
    until("they are gone again", TWO_LEASES, async || are_online(&cluster, &here, &gone_names).await).await;
    for _ in 0..20 {
        assert!(are_online(&cluster, &here, &gone_names).await, "and stay so");
    }
    ana.completes_call(&bo).await;
    assert!(ana.keep_connected() && bo.keep_connected());
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_long_before_the_loss_is_over() {
    let mut redis = Redis::start();
    let mut cluster = Cluster::on(&[redis.url(), redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(1, &unique("dan")).await);
    let (gus, hal) = (cluster.phone(0, &unique("gus")).await, cluster.phone(1, &unique("hal")).await);
    let (fay, eve) = (cluster.phone(2, &unique("fay")).await, cluster.phone(1, &unique("eve")).await);
    let (active, ringing, lasting) = (unique_call(), unique_call(), unique_call());
    for (caller, callee, id) in [(&ana, &bo, &active), (&gus, &hal, &lasting)] {
        caller.rings(id, callee).await;
        callee.accept(id).await;
        caller.expect("call:accepted").await;
    }
    cleo.rings(&ringing, &dan).await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    let ended = Instant::now();
    assert_eq!(ana.end(&active).await["success"], true);
    bo.expect("call:ended").await;
    assert_eq!(cleo.cancel(&ringing).await["success"], true);
    dan.expect("call:cancelled").await;
    // A node that is gone for good, with its user.
    let fays = fay.user.clone();
    fay.vanish();
    cluster.nodes.pop().expect("a third node").stop().await;

    while ended.elapsed() < REMEMBERED {
        tokio::time::sleep(Duration::from_millis(100)).await; // what is remembered is forgotten by time alone
    }
    // Phones reconnect now and then: these know nothing of what their users did before.
    let mut fresh = Vec::new();
    for (node, phone) in [(0, ana), (1, bo), (0, cleo), (1, dan)] {
        let user = phone.user.clone();
        phone.vanish();
        fresh.push(cluster.phone(node, &user).await);
    }
    let [ana, bo, cleo, dan] = &fresh[..] else { panic!("four phones") };
    let online: Vec<&str> = [ana, bo, cleo, dan, &gus, &hal, &eve].iter().map(|phone| phone.user.as_str()).collect();
    until("as before", TWO_LEASES, async || are_online(&cluster, &online, &[&fays]).await).await;

    redis.restart();
    until("presence is right", TWO_LEASES, async || are_online(&cluster, &online, &[&fays]).await).await;
    // The line of the call that ended yields; that of the call that lasts does not.
    let mut id = unique_call();
    let rings = async || {
        id = unique_call();
        eve.call(&id, &ana.user).await["success"] == true
    };
    until("ana can be called", TWO_LEASES, rings).await;
    ana.expect("call:incoming").await;
    assert_eq!(ana.accept(&id).await["success"], true);
    eve.expect("call:accepted").await;
    assert_eq!(cluster.state(&active).await.0, "ended");
    assert_eq!(cluster.state(&lasting).await.0, "active");
    let busy = dan.call(&unique_call(), &gus.user).await;
    assert_eq!(busy["busy"], true, "gus is in a call: {busy}");
    dan.expect("call:busy").await;
    assert_eq!(ana.end(&id).await["success"], true);
    eve.expect("call:ended").await;
    // The ring is judged by its own deadline, and nobody is told.
    until("the ring is over", TWO_LEASES, async || cluster.state(&ringing).await.0 == "ended").await;
    bo.completes_call(cleo).await;
    assert_eq!(hal.end(&lasting).await["success"], true);
    gus.expect("call:ended").await;
    for phone in [ana, bo, cleo, dan, &gus, &hal] {
        let stale = |heard: &&crate::harness::phone::Heard| {
            // This closes the screen of that ring and no other.
            let is_harmless = heard.event == "call:cancelled" && heard.payload["callId"] == *ringing;
            [&active, &ringing].iter().any(|id| heard.payload["callId"] == id.as_str()) && !is_harmless
        };
        let heard = phone.heard();
        assert_eq!(heard.iter().find(stale), None, "{} heard of a call that was over", phone.user);
        assert!(phone.keep_connected());
    }
    let lines: Vec<&Phone> = vec![ana, bo, cleo, dan, &gus, &hal, &eve];
    let users: Vec<&str> = lines.iter().map(|phone| phone.user.as_str()).collect();
    cluster.assert_free(&users).await;
    cluster.close().await;
}

/// Makes a call older than it is.
async fn age(cluster: &Cluster, id: &str, by: Duration) {
    let call = cluster.shared.calls.load(&CallId::parse(id).unwrap()).await.unwrap().unwrap();
    let mut older = Call { version: call.version.next(7), created_at: call.created_at - by, ..call.clone() };
    if let State::Active { accepted_at, .. } = &mut older.state {
        *accepted_at = *accepted_at - by;
    }
    let swapped = cluster.shared.calls.swap(&older, call.version, &[], &[]).await.unwrap();
    assert!(matches!(swapped, Swap::Done { .. }));
}

/// A call that was accepted over a minute ago.
async fn old_call(cluster: &Cluster, caller: &Phone, callee: &Phone) -> String {
    let id = unique_call();
    caller.rings(&id, callee).await;
    assert_eq!(callee.accept(&id).await["success"], true);
    caller.expect("call:accepted").await;
    age(cluster, &id, Duration::from_secs(90)).await;
    id
}

/// Waits until both parties have left, and the stored call says so.
async fn both_absent(cluster: &Cluster, id: &str) {
    let id = CallId::parse(id).unwrap();
    let load = async || cluster.shared.calls.load(&id).await.unwrap().unwrap();
    until("both are absent", TWO_LEASES, async || {
        let call = load().await;
        call.caller.absent_since.is_some() && call.callee.absent_since.is_some()
    })
    .await;
    cluster.absentees_have_left(&load().await).await;
}

/// Both parties of a call lose the connection while the store is away, and it comes back with an old copy that has the call:
/// their node vouches for it. Of another, whose parties had left before the copy was made, no node knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_parties_left_while_the_store_was_away_is_vouched_for() {
    let mut redis = Redis::start();
    let tune = |config: &mut Config| config.inspector = true;
    let cluster = Cluster::on_tuned(&[redis.url(), redis.url()], tune).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(0, &unique("dan")).await);
    let (eve, bos) = (cluster.phone(1, &unique("eve")).await, bo.user.clone());
    let (known, unknown) = (old_call(&cluster, &ana, &bo).await, old_call(&cluster, &cleo, &dan).await);
    let load = async |id: &str| cluster.shared.calls.load(&CallId::parse(id).unwrap()).await.ok().flatten();
    cleo.vanish();
    dan.vanish();
    both_absent(&cluster, &unknown).await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    redis.stop();
    ana.vanish();
    bo.vanish();
    let is_left = async || get(cluster.nodes[0].admin, "/inspector/node").await.1["sessions"] == 0;
    until("they have left, and the store does not know", TWO_LEASES, is_left).await;
    redis.restart();
    let is_doubted = async || load(&unknown).await.is_some_and(|call| call.unvouched);
    until("the other is doubted", TWO_LEASES, is_doubted).await;
    let dialled = eve.call(&unique_call(), &bos).await;
    assert_eq!(dialled["busy"], true, "{dialled}");
    let call = load(&known).await.expect("it is there");
    assert!(call.is_live() && !call.unvouched, "{call:?}");
}

/// What rang for over a minute and is accepted after the loss is known to everybody, though nobody could vouch for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_ring_that_is_accepted_after_a_loss_is_not_doubted() {
    let mut redis = Redis::start();
    let tune = |config: &mut Config| config.policy.ring_timeout = Duration::from_secs(180);
    let cluster = Cluster::on_tuned(&[redis.url(), redis.url()], tune).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(0, &unique("dan")).await);
    // Nobody here knows of this one: when it is doubted, everything was looked through.
    let unknown = old_call(&cluster, &cleo, &dan).await;
    cleo.vanish();
    dan.vanish();
    let load = async |id: &str| cluster.shared.calls.load(&CallId::parse(id).unwrap()).await.ok().flatten();
    both_absent(&cluster, &unknown).await;
    let long = unique_call();
    ana.rings(&long, &bo).await;
    age(&cluster, &long, Duration::from_secs(70)).await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    redis.restart();
    until("it is accepted", TWO_LEASES, async || bo.accept(&long).await["success"] == true).await;
    let is_doubted = async || load(&unknown).await.is_some_and(|call| call.unvouched);
    until("the other is doubted", TWO_LEASES, is_doubted).await;
    tokio::time::sleep(Duration::from_secs(2)).await; // that each node has looked at everything, nobody tells
    let call = load(&long).await.expect("it is there");
    assert!(call.accepted_at().is_some() && call.is_live() && !call.unvouched, "{call:?}");
    ana.expect("call:accepted").await;
    assert!(ana.keep_connected() && bo.keep_connected());
}

/// An old copy that takes no writes for longer than nodes wait before they doubt: what nobody vouches for is doubted when it
/// takes some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_is_doubted_however_long_the_store_takes_no_writes() {
    let lease = Duration::from_secs(2);
    let mut redis = Redis::start_with(&["--appendonly", "no", "--min-replicas-to-write", "1"]);
    let takes_writes = |redis: &Redis| redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(takes_writes(&redis), "OK");
    let cluster = Cluster::on_tuned(&[redis.url()], |config| {
        config.policy.lease = lease;
        config.policy.lease_renewal = Duration::from_millis(500);
    })
    .await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let known = CallId::parse(&old_call(&cluster, &ana, &bo).await).unwrap();
    // One like it, of which no node ever heard.
    let [unknown, cleo, dan] = ["call", "cleo", "dan"].map(unique);
    let unknown = CallId::parse(&unknown).unwrap();
    let mut call = cluster.shared.calls.load(&known).await.unwrap().unwrap();
    call.id = unknown.clone();
    (call.caller.user, call.callee.user) = (UserId::parse(&cleo).unwrap(), UserId::parse(&dan).unwrap());
    let created = cluster.shared.calls.create(&call, &[], &[], &[], cluster.clock.now()).await.unwrap();
    assert!(matches!(created, Created::Created(_)), "{created:?}");
    let load = async || cluster.shared.calls.load(&unknown).await.ok().flatten();
    assert_eq!(redis.command(&["SAVE"]), "OK");
    redis.restart();
    tokio::time::sleep(3 * lease).await; // the trouble itself
    assert!(load().await.is_some_and(|call| call.is_live() && !call.unvouched), "nothing could be written");
    assert_eq!(takes_writes(&redis), "OK");
    until("it is doubted", TWO_LEASES, async || load().await.is_some_and(|call| call.unvouched)).await;
}

/// One node, through a proxy, with a lease of two seconds; an accepted call that it knows, and one that nobody knows.
async fn one_that_nobody_knows(proxy: &Proxy) -> (Cluster, [Phone; 2], CallId) {
    let cluster = Cluster::on_tuned(&[format!("redis://{}", proxy.address)], |config| {
        config.policy.lease = Duration::from_secs(2);
        config.policy.lease_renewal = Duration::from_millis(500);
    })
    .await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let known = CallId::parse(&old_call(&cluster, &ana, &bo).await).unwrap();
    let [id, cleo, dan] = ["call", "cleo", "dan"].map(unique);
    let mut call = cluster.shared.calls.load(&known).await.unwrap().unwrap();
    call.id = CallId::parse(&id).unwrap();
    (call.caller.user, call.callee.user) = (UserId::parse(&cleo).unwrap(), UserId::parse(&dan).unwrap());
    let created = cluster.shared.calls.create(&call, &[], &[], &[], cluster.clock.now()).await.unwrap();
    assert!(matches!(created, Created::Created(_)), "{created:?}");
    (cluster, [ana, bo], call.id)
}

/// The key under which the store keeps since when it is lost; empty where it does not.
fn date_of_loss(redis: &Redis) -> String {
    redis.command(&["--scan", "--pattern", "*:lost:*"])
}

/// A store that came back older says which it is, and takes no writes from then on: its node vouches when it takes some,
/// however long that is, and doubts what nobody vouched for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vouching_is_repeated_for_as_long_as_the_store_refuses_it() {
    // A machine that stands still for a second has it vouch before the store takes no writes.
    once_in_three(async || vouches_again().await, "it vouched before it was refused three times").await;
}

async fn vouches_again() -> bool {
    const LONGER_THAN_NODES_WAIT_TO_DOUBT: Duration = Duration::from_secs(6);
    let mut redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let (cluster, _phones, unknown) = one_that_nobody_knows(&proxy).await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    // Before it is given up as a command that is not answered.
    proxy.hold_request_of("vouched:", Duration::from_millis(1500));
    redis.restart();
    until("it vouches", TWO_LEASES, async || proxy.has_held()).await;
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    tokio::time::sleep(LONGER_THAN_NODES_WAIT_TO_DOUBT).await; // the trouble itself
    if !date_of_loss(&redis).is_empty() {
        return false;
    }
    let load = async || cluster.shared.calls.load(&unknown).await.ok().flatten();
    assert!(load().await.is_some_and(|call| call.is_live() && !call.unvouched), "nothing could be written");
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    until("it is doubted", TWO_LEASES, async || load().await.is_some_and(|call| call.unvouched)).await;
    true
}

/// A store that was vouched in takes no writes for over a minute after that: what nobody knows is doubted all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_is_doubted_though_the_loss_is_a_minute_old() {
    // A machine that stands still for three seconds has it doubted before.
    once_in_three(async || an_old_loss_is_judged().await, "it was doubted too early three times").await;
}

async fn an_old_loss_is_judged() -> bool {
    let mut redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let (cluster, _phones, unknown) = one_that_nobody_knows(&proxy).await;
    // It was accepted long before the loss, however that is dated.
    age(&cluster, unknown.as_str(), Duration::from_secs(90)).await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    redis.restart();
    until("the loss is dated", TWO_LEASES, async || !date_of_loss(&redis).is_empty()).await;
    // A minute passes: the store alone knows since when it is lost.
    let (key, minute) = (date_of_loss(&redis), Duration::from_secs(70).as_millis() as u64);
    let lost_at: u64 = redis.command(&["GET", &key]).parse().expect("a time");
    assert_eq!(redis.command(&["SET", &key, &(lost_at - minute).to_string(), "KEEPTTL"]), "OK");
    let load = async || cluster.shared.calls.load(&unknown).await.ok().flatten();
    if load().await.is_some_and(|call| call.unvouched) {
        return false;
    }
    until("it is doubted", TWO_LEASES, async || load().await.is_some_and(|call| call.unvouched)).await;
    true
}

/// The line of a call that a node only heard of is taken by one of the old copy, which nobody knows: what phones say of it
/// afterwards is answered by what became of it, not that there is no such call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_line_a_revived_one_has_is_not_forgotten() {
    let mut redis = Redis::start();
    // What is compared while nobody is here is forgotten.
    let tune = |config: &mut Config| config.policy.heal_ringing = Duration::from_secs(60);
    let mut cluster = Cluster::on_tuned(&[redis.url(), redis.url(), redis.url()], tune).await;
    let (ana, bo) = (cluster.phone(2, &unique("ana")).await, cluster.phone(2, &unique("bo")).await);
    let (revived, newer) = (unique_call(), unique_call());
    ana.rings(&revived, &bo).await;
    bo.accept(&revived).await;
    ana.expect("call:accepted").await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    assert_eq!(ana.end(&revived).await["success"], true);
    bo.expect("call:ended").await;
    // The only node that knows of the end goes, with its phones; who comes back is told of a later one.
    let last = unique_call();
    ana.rings(&last, &bo).await;
    ana.cancel(&last).await;
    let (user, gone) = (ana.user.clone(), bo.user.clone());
    ana.vanish();
    bo.vanish();
    cluster.nodes.pop().expect("a third node").stop().await;
    let (ana, cleo) = (cluster.phone(0, &user).await, cluster.phone(1, &unique("cleo")).await);
    ana.rings(&newer, &cleo).await;
    let callee = cleo.user.clone();
    ana.vanish();
    cleo.vanish();
    until("they left", TWO_LEASES, async || are_online(&cluster, &[], &[&user, &callee]).await).await;
    redis.restart();
    let (id, calls) = (CallId::parse(&newer).unwrap(), cluster.shared.calls.clone());
    until("it is put back", TWO_LEASES, async || matches!(calls.load(&id).await, Ok(Some(_)))).await;
    let cleo = cluster.phone(1, &callee).await;
    let answer = cleo.accept(&newer).await;
    assert_eq!((&answer["code"], &answer["state"]), (&json!("invalid_state"), &json!("ended")), "{answer}");
    assert_eq!(answer["reason"], "busy", "it gave way to another call, and did not time out");
    let ana = cluster.phone(0, &user).await;
    assert_eq!(ana.end(&revived).await["success"], true);
    let online = [user.as_str(), &callee];
    until("the dead are swept", TWO_LEASES, async || are_online(&cluster, &online, &[&gone]).await).await;
    cluster.close().await;
}

/// A call of an old copy has the line of the one that its caller began after it, and that one ends in the moment in which both
/// are put back: whoever was to settle which of them goes on finds it over, and the older one is over all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_ends_before_its_line_is_settled_leaves_nobody_busy() {
    let mut redis = Redis::start();
    let (near, next) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let far = Proxy::before(redis.port).await;
    let urls = [&near, &next, &far].map(|proxy| format!("redis://{}", proxy.address));
    let cluster = Cluster::on(&urls).await;
    let (ana, bo) = (cluster.phone(2, &unique("ana")).await, cluster.phone(2, &unique("bo")).await);
    let cleo = cluster.phone(1, &unique("cleo")).await;
    let (revived, last, newer) = (unique_call(), unique_call(), unique_call());
    ana.rings(&revived, &bo).await;
    assert_eq!(bo.accept(&revived).await["success"], true);
    ana.expect("call:accepted").await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    assert_eq!(ana.end(&revived).await["success"], true);
    bo.expect("call:ended").await;
    // Who comes back elsewhere is told of a later one, so that no other node learns that end.
    ana.rings(&last, &bo).await;
    assert_eq!(ana.cancel(&last).await["success"], true);
    bo.expect("call:cancelled").await;
    let users = [ana.user.clone(), bo.user.clone()];
    ana.vanish();
    bo.vanish();
    let gone = users.each_ref().map(String::as_str);
    until("they left", TWO_LEASES, async || are_online(&cluster, &[&cleo.user], &gone).await).await;
    // The node that knows it does not come back, and the others wait for it.
    far.cut();
    let (ana, bo) = (cluster.phone(0, &users[0]).await, cluster.phone(1, &users[1]).await);
    ana.rings(&newer, &cleo).await;
    assert_eq!(cleo.accept(&newer).await["success"], true);
    ana.expect("call:accepted").await;

    redis.stop();
    tokio::time::sleep(Duration::from_millis(200)).await; // the trouble itself
    // A word is one write. To settle it takes two answers before.
    near.delay(Duration::from_millis(100));
    next.delay(Duration::from_millis(100));
    tokio::join!(ana.end(&newer), cleo.end(&newer), async { redis.restart() });
    let parties = [&ana, &bo, &cleo].map(|phone| UserId::parse(&phone.user).unwrap());
    let are_free = async || {
        for user in &parties {
            if !matches!(cluster.shared.calls.line(user).await, Ok(None)) {
                return false;
            }
        }
        // Before it is put back there is no such call.
        matches!(cluster.shared.calls.load(&CallId::parse(&newer).unwrap()).await, Ok(Some(call)) if !call.is_live())
    };
    until("nobody is in a call", TWO_LEASES, are_free).await;
    assert_eq!(cluster.state(&revived).await.0, "ended");
    bo.completes_call(&ana).await;
}
