//! Accept, reject, cancel and the ring's deadline raced against each other over two nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use onlycare_signaling::call::{Call, CallId, EndReason, Role};
use parking_lot::Mutex;
use serde_json::Value;

use crate::harness::phone::{unique, unique_call};
use crate::harness::{Backend, Cluster, Phone};

const PAIRS: usize = 20;
const ROUNDS: usize = 50;
/// On a slow machine deadlines win most races: then more rounds are played until each outcome happened so often.
const ENOUGH: usize = 20;
const OUTCOMES: [&str; 5] = ["accepted", "cancelled", "rejected", "no_answer", "hung_up"];
const RING: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    Accept,
    Reject,
    Cancel,
    Wait,
}

/// One round: both sides move at the same moment, often at the very deadline. Returns how it ended.
async fn round(cluster: &Cluster, ana: &Phone, bo: &Phone) -> &'static str {
    let id = unique_call();
    assert_eq!(ana.call(&id, &bo.user).await["success"], true);
    if !rang_in_time(bo, &id).await {
        // A machine that was busy elsewhere for a whole ring: the deadline won before anybody could move.
        expect(ana, "call:timeout", &id).await;
        expect(bo, "call:cancelled", &id).await;
        return "no_answer";
    }
    let caller = [Move::Cancel, Move::Cancel, Move::Wait][rand::random_range(0..3)];
    let callee = [Move::Accept, Move::Accept, Move::Reject, Move::Wait][rand::random_range(0..4)];
    let instant = if rand::random() { Duration::ZERO } else { RING - Duration::from_millis(3) };
    let (mine, other) = tokio::join!(play(ana, &id, caller, instant), play(bo, &id, callee, instant));
    let call = settled(cluster, &id, caller, callee).await;
    judge(&call, ana, bo, &mine, &other, (caller, callee)).await
}

async fn rang_in_time(bo: &Phone, id: &str) -> bool {
    loop {
        let heard = bo.heard();
        let heard_of = |event: &str| heard.iter().any(|heard| heard.event == event && heard.payload["callId"] == id);
        if heard_of("call:incoming") {
            expect(bo, "call:incoming", id).await;
            return true;
        }
        if heard_of("call:cancelled") {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await; // either of two events
    }
}

async fn play(phone: &Phone, id: &str, which: Move, instant: Duration) -> Value {
    // The race is over the store; a few milliseconds either way decide who comes first.
    tokio::time::sleep(instant + Duration::from_micros(rand::random_range(0..6000))).await;
    match which {
        Move::Accept => phone.accept(id).await,
        Move::Reject => phone.reject(id).await,
        Move::Cancel => phone.cancel(id).await,
        Move::Wait => Value::Null,
    }
}

/// The call when nothing can change it any more: over, or active with nobody left to move.
async fn settled(cluster: &Cluster, id: &str, caller: Move, callee: Move) -> Call {
    let id = CallId::parse(id).unwrap();
    loop {
        let call = cluster.shared.calls.load(&id).await.unwrap().unwrap();
        if !call.is_live() || (!call.is_ringing() && (caller, callee) == (Move::Wait, Move::Accept)) {
            return call;
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // the deadline passes by itself
    }
}

/// Each side heard exactly what the one final state says.
async fn judge(call: &Call, ana: &Phone, bo: &Phone, mine: &Value, other: &Value, moves: (Move, Move)) -> &'static str {
    let id = call.wire_id.as_str();
    let Some(end) = call.end() else {
        expect(ana, "call:accepted", id).await;
        ana.end(id).await;
        expect(bo, "call:ended", id).await;
        return "accepted";
    };
    if moves.1 == Move::Accept && end.accepted_at.is_none() {
        assert_eq!(other["code"], "invalid_state", "an accept that lost: {call:?}");
        expect(bo, "call:ended", id).await;
    }
    match end.reason {
        EndReason::Cancelled => {
            assert_eq!(mine["success"], true);
            expect(bo, "call:cancelled", id).await;
        }
        EndReason::Rejected => {
            assert_eq!(other["success"], true);
            expect(ana, "call:rejected", id).await;
            expect(bo, "call:reject:confirmed", id).await;
        }
        EndReason::NoAnswer => {
            expect(ana, "call:timeout", id).await;
            assert_eq!(expect(bo, "call:cancelled", id).await["reason"], "Timeout");
        }
        EndReason::HungUp { by: Some(Role::Caller), accept_missed: false } => {
            assert_eq!((moves, &other["success"]), ((Move::Cancel, Move::Accept), &Value::Bool(true)));
            // Heard before the own cancel or not at all, so it is here by now if it was.
            while ana.heard().iter().any(|heard| heard.event == "call:accepted") {
                expect(ana, "call:accepted", id).await;
            }
            expect(bo, "call:ended", id).await;
        }
        reason => panic!("nobody can have ended it like this: {reason:?} after {moves:?}"),
    }
    end.reason.name()
}

async fn expect(phone: &Phone, event: &str, id: &str) -> Value {
    let payload = phone.expect(event).await;
    assert_eq!(payload["callId"], id, "{} heard {event} of another call", phone.user);
    payload
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_races_have_one_winner_each() {
    let cluster = Cluster::tuned(Backend::Redis, 2, |config| config.policy.ring_timeout = RING).await;
    let cluster = &cluster;
    let tally = &Mutex::new(BTreeMap::<&str, usize>::new());
    let enough = || OUTCOMES.iter().all(|outcome| tally.lock().get(outcome).is_some_and(|count| *count >= ENOUGH));
    let pairs = (0..PAIRS).map(|pair| async move {
        let ana = cluster.phone(pair % 2, &unique("ana")).await;
        let bo = cluster.phone(1 - pair % 2, &unique("bo")).await;
        let mut played = 0;
        while played < ROUNDS || (played < 4 * ROUNDS && !enough()) {
            let outcome = round(cluster, &ana, &bo).await;
            *tally.lock().entry(outcome).or_default() += 1;
            played += 1;
        }
        for phone in [&ana, &bo] {
            // `call:ringing` comes or not: the race may be over before the confirmation.
            while phone.heard().iter().any(|heard| heard.event == "call:ringing") {
                phone.expect("call:ringing").await;
            }
            phone.assert_nothing_more().await;
        }
        cluster.assert_free(&[&ana.user, &bo.user]).await;
    });
    join_all(pairs).await;
    println!("races by outcome: {:?}", tally.lock());
    assert!(enough(), "some outcome hardly happened: {:?}", tally.lock());
    assert_eq!(cluster.shared.calls.live_calls().await.unwrap(), 0);
}

/// Several devices accept in the same moment: one wins, the others are told, the caller hears of one accept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_wins_the_accept() {
    let cluster = Cluster::start(Backend::Redis, 2).await;
    for _ in 0..20 {
        let ana = cluster.phone(0, &unique("ana")).await;
        let (bo, id) = (unique("bo"), unique_call());
        let mut devices = Vec::new();
        for device in 0..4 {
            let profile = crate::harness::Profile::of(&bo).device(&format!("d{device}"));
            devices.push(cluster.phone_with(device % 2, profile).await);
        }
        ana.call(&id, &bo).await;
        join_all(devices.iter().map(|device| device.expect("call:incoming"))).await;
        let acks = join_all(devices.iter().map(|device| device.accept(&id))).await;
        let won: Vec<bool> = acks.iter().map(|ack| ack["success"] == true).collect();
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{acks:?}");
        for (device, won) in devices.iter().zip(won) {
            if !won {
                assert_eq!(device.expect("call:cancelled").await["reason"], "Answered elsewhere");
            }
            device.assert_nothing_more().await;
        }
        ana.expect("call:accepted").await;
        ana.end(&id).await;
    }
}

/// Which call is newer is said by the store, never by the clocks of two nodes: a node whose clock is ahead, or that
/// dials faster than a clock counts, does not make the calls of others old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_rings_though_another_nodes_clock_is_ahead() {
    let cluster = Cluster::with_clocks(&[0, 5]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let cleo = cluster.phone(1, &unique("cleo")).await;
    for _ in 0..3 {
        let ahead = unique_call();
        cleo.rings(&ahead, &bo).await;
        cleo.cancel(&ahead).await;
        bo.expect("call:cancelled").await;
        let behind = unique_call();
        ana.rings(&behind, &bo).await;
        bo.accept(&behind).await;
        ana.expect("call:accepted").await;
        ana.end(&behind).await;
        bo.expect("call:ended").await;
    }
    // Who connected after the end, by a clock that is behind, hears of it as of something before his time.
    let rejected = unique_call();
    cleo.rings(&rejected, &bo).await;
    bo.reject(&rejected).await;
    cleo.expect("call:rejected").await;
    let again = cluster.phone(0, &cleo.user).await;
    again.assert_nothing_more().await;
    for phone in [&ana, &cleo] {
        phone.assert_nothing_more().await;
    }
    cluster.close().await;
}
