//! A disconnect starts a grace and nothing else.

use crate::harness::phone::{unique, unique_call};
use crate::harness::{Cluster, Phone, Profile};

async fn ringing(cluster: &Cluster) -> (Phone, Phone, String) {
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    (ana, bo, id)
}

/// Waits until the stored call notes an absence.
pub async fn noted(cluster: &Cluster, id: &str) {
    let id = onlycare_signaling::call::CallId::parse(id).unwrap();
    for _ in 0..500 {
        let call = cluster.shared.calls.load(&id).await.unwrap().unwrap();
        if call.caller.absent_since.is_some() || call.callee.absent_since.is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await; // the server notices a closed socket by itself
    }
    panic!("the absence was not noted");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acks_absence_only_makes_the_line_yield() {
    let cluster = Cluster::manual(2).await;
    let ana = cluster.phone_with(0, Profile::deployed(&unique("ana"))).await;
    let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
    let cleo = cluster.phone(0, &unique("cleo")).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    ana.vanish();
    noted(&cluster, &id).await;
    cluster.advance(61);
    wait_until_doubtful(&cluster, &id).await;
    bo.assert_nothing_more().await;
    let next = unique_call();
    assert_eq!(cleo.call(&next, &bo.user).await["success"], true);
    assert_eq!(bo.expect("call:ended").await["reason"], "User disconnected");
    assert_eq!(bo.expect("call:incoming").await["callId"], next.as_str());
    assert_eq!(cluster.state(&id).await, ("ended", Some("lost")));
    cleo.cancel(&next).await;
    bo.expect("call:cancelled").await;
    drop((bo, cleo));
    cluster.close().await;
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
