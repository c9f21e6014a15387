//! Whom a doubtful line yields to: every cell, on both backends, with and without a Laravel that can be asked.

use std::time::Duration;

use onlycare_signaling::call::{Call, CallId, State, Timestamp};
use onlycare_signaling::config::Auth;
use onlycare_signaling::store::Swap;
use serde_json::json;

use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::{unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

/// What made the line doubtful.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    CallerAway,
    CalleeAway,
    BothAway,
    /// Both are there; the maximum passed.
    TooLong,
}

/// What Laravel says of its row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Unasked,
    GoesOn,
    Unknown,
    Over,
    Away,
}

const DOUBTS: [Doubt; 4] = [Doubt::CallerAway, Doubt::CalleeAway, Doubt::BothAway, Doubt::TooLong];

struct Phones {
    ana: Phone,
    bo: Phone,
    cleo: Phone,
}

async fn phones(cluster: &Cluster) -> Phones {
    let deployed = |node, name| cluster.phone_with(node, Profile::deployed(&unique(name)));
    Phones { ana: deployed(0, "ana").await, bo: deployed(1, "bo").await, cleo: deployed(1, "cleo").await }
}

/// A call of Ana and Bo that was accepted a while ago and is doubtful since.
async fn doubtful(cluster: &Cluster, phones: &Phones, doubt: Doubt) -> String {
    let id = unique_call();
    phones.ana.rings(&id, &phones.bo).await;
    assert_eq!(phones.bo.accept(&id).await["success"], true);
    phones.ana.expect("call:accepted").await;
    let key = CallId::parse(&id).unwrap();
    let call = cluster.shared.calls.load(&key).await.unwrap().unwrap();
    let ago = |seconds: u64| Timestamp::from_millis(call.created_at.as_millis() - seconds * 1000);
    let mut next = Call { version: call.version.next(7), ..call.clone() };
    let (caller, callee) = match doubt {
        Doubt::CallerAway => (Some(ago(70)), None),
        Doubt::CalleeAway => (None, Some(ago(70))),
        Doubt::BothAway => (Some(ago(70)), Some(ago(70))),
        Doubt::TooLong => (None, None),
    };
    (next.caller.absent_since, next.callee.absent_since) = (caller, callee);
    next.state = State::Active { accepted_at: ago(100), until: None, doubtful: true };
    let swapped = cluster.shared.calls.swap(&next, call.version, &[], &[]).await.unwrap();
    assert!(matches!(swapped, Swap::Done { .. }));
    id
}

/// Whether a new call gets the line.
async fn takes(cluster: &Cluster, phones: &Phones, doubt: Doubt, dialer: &Phone, receiver: &Phone) -> bool {
    let (old, new) = (doubtful(cluster, phones, doubt).await, unique_call());
    let ack = dialer.call(&new, &receiver.user).await;
    let took = ack["success"] == true;
    assert_eq!(ack["busy"] == true, !took, "{ack}");
    let expected = if took { "ended" } else { "active" };
    assert_eq!(cluster.state(&old).await.0, expected, "{doubt:?}: {} dials {}", dialer.user, receiver.user);
    if took {
        receiver.expect("call:incoming").await;
        dialer.cancel(&new).await;
        receiver.expect("call:cancelled").await;
    } else {
        phones.ana.end(&old).await;
        phones.bo.expect("call:ended").await;
    }
    took
}

/// By a party: at once. To a party: where both are away, or Laravel says that it is over.
async fn every_cell(cluster: &Cluster, phones: &Phones, word: Word) {
    for doubt in DOUBTS {
        for party in [&phones.ana, &phones.bo] {
            assert!(takes(cluster, phones, doubt, party, &phones.cleo).await, "{doubt:?}, {word:?}: by {}", party.user);
            let expected = matches!(doubt, Doubt::BothAway) || word == Word::Over;
            let took = takes(cluster, phones, doubt, &phones.cleo, party).await;
            assert_eq!(took, expected, "{doubt:?}, {word:?}: to {}", party.user);
        }
    }
}

on_each_backend! {
    async fn what_a_doubtful_line_yields_to_by_laravels_word(backend: Backend) {
        let laravel = Laravel::start().await;
        let cluster = Cluster::tuned(backend, 2, |config| {
            config.auth = Auth::Laravel { url: format!("http://{}", laravel.address) };
            config.policy.callbacks = true;
            config.auth_times.timeout = Duration::from_secs(1);
        })
        .await;
        let phones = phones(&cluster).await;
        for word in [Word::Unknown, Word::GoesOn, Word::Over] {
            laravel.row_of_all(match word {
                Word::GoesOn => json!({"status": "ONGOING", "caller_id": phones.ana.user, "receiver_id": phones.bo.user}),
                Word::Over => json!({"status": "ENDED", "caller_id": phones.ana.user, "receiver_id": phones.bo.user}),
                Word::Unasked | Word::Unknown | Word::Away => json!(null),
            });
            every_cell(&cluster, &phones, word).await;
        }
        laravel.mood(Mood::Broken);
        every_cell(&cluster, &phones, Word::Away).await;
        drop(phones);
        cluster.close().await;
    }

    /// Webhooks, or nothing: nobody can be asked.
    async fn what_a_doubtful_line_yields_to_without_laravels_word(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let phones = phones(&cluster).await;
        every_cell(&cluster, &phones, Word::Unasked).await;
        drop(phones);
        cluster.close().await;
    }

    /// Fails before (Ana and Bo's call ends as lost): who is busy himself takes nobody's line.
    async fn a_dial_that_is_busy_takes_no_doubtful_line(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let phones = phones(&cluster).await;
        let (dan, own) = (unique("dan"), unique_call());
        let phone = cluster.phone_with(0, Profile::of(&dan).device("phone")).await;
        let tablet = cluster.phone_with(1, Profile::of(&dan).device("tablet")).await;
        phone.rings(&own, &phones.cleo).await;
        assert_eq!(phones.cleo.accept(&own).await["success"], true);
        phone.expect("call:accepted").await;
        let others = doubtful(&cluster, &phones, Doubt::BothAway).await;
        let busy = tablet.call(&unique_call(), &phones.bo.user).await;
        assert_eq!(busy["busy"], true, "{busy}");
        for call in [&own, &others] {
            assert_eq!(cluster.state(call).await, ("active", None));
        }
        phones.ana.end(&others).await;
        phones.bo.expect("call:ended").await;
        phone.end(&own).await;
        phones.cleo.expect("call:ended").await;
        drop((phone, tablet, phones));
        cluster.close().await;
    }
}
