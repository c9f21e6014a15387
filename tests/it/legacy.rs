//! Deployed phones (no `acks`) and an unmodified backend: semantics.md, "With deployed apps and an unmodified backend",
//! one story a row.

use std::time::{Duration, Instant};

use onlycare_signaling::config::{Auth, Config};
use serde_json::json;

use crate::harness::cluster::SECRET;
use crate::harness::laravel::{Laravel, Mood};
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

async fn cluster_of(backend: Backend, laravel: &Laravel, tune: impl Fn(&mut Config)) -> Cluster {
    let url = format!("http://{}", laravel.address);
    Cluster::tuned(backend, 2, |config| {
        config.auth = Auth::Laravel { url: url.clone() };
        config.policy.callbacks = true;
        config.auth_times.timeout = Duration::from_secs(1);
        tune(config);
    })
    .await
}

async fn start(backend: Backend) -> (Cluster, Laravel) {
    let laravel = Laravel::start().await;
    (cluster_of(backend, &laravel, |_| {}).await, laravel)
}

/// A ring of five seconds, so that Laravel is asked after three.
async fn with_short_rings(backend: Backend) -> (Cluster, Laravel) {
    let laravel = Laravel::start().await;
    let cluster = cluster_of(backend, &laravel, |config| config.policy.ring_timeout = Duration::from_secs(4)).await;
    (cluster, laravel)
}

async fn deployed(cluster: &Cluster, node: usize, name: &str) -> Phone {
    cluster.phone_with(node, Profile::deployed(&unique(name))).await
}

fn row(status: &str, caller: &str, receiver: &str) -> serde_json::Value {
    json!({"status": status, "caller_id": caller, "receiver_id": receiver})
}

fn token_of(phone: &Phone) -> String {
    format!("token-of-{}", phone.user)
}

on_each_backend! {
    /// The callee rejects on a socket; his REST twin never came. Laravel is told at once, in his name.
    async fn a_rejection_is_called_back(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
        ana.rings(&id, &bo).await;
        bo.ask("call:reject", json!({"callId": id, "reason": "Later"})).await;
        ana.expect("call:rejected").await;
        let post = laravel.expect_post(&id, "reject").await;
        assert_eq!((post.token, post.body), (token_of(&bo), json!({"reason": "Later"})));
        assert_eq!(post.call, id.trim_start_matches("CALL_"), "paths take the bare id");
        drop((ana, bo));
        cluster.close().await;
    }

    /// The caller cancels on a socket: Laravel is told two seconds later, unless the app's REST twin came first.
    async fn a_cancel_is_called_back_unless_laravel_says_it_first(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await);
        let (told, lost) = (unique_call(), unique_call());
        ana.rings(&told, &bo).await;
        ana.cancel(&told).await;
        bo.expect("call:cancelled").await;
        let body = json!({"receiverId": bo.user, "callId": told, "reason": "Caller ended call"});
        let (_, answer) = cluster.post(1, "/api/emit/call-cancelled", body).await;
        assert_eq!(answer["success"], true, "{answer}");
        ana.rings(&lost, &bo).await;
        let cancelled = Instant::now();
        ana.cancel(&lost).await;
        bo.expect("call:cancelled").await;
        let post = laravel.expect_post(&lost, "cancel").await;
        assert!(post.at - cancelled >= Duration::from_millis(1900), "the twin goes first");
        assert_eq!((post.token, post.body), (token_of(&ana), json!({"reason": "Caller ended call"})));
        // The emit that our own request causes is answered as always and changes nothing.
        let body = json!({"receiverId": bo.user, "callId": lost, "reason": "Caller ended call"});
        let (status, answer) = cluster.post(1, "/api/emit/call-cancelled", body).await;
        assert_eq!((status, answer), (200, json!({"success": true, "emitted": true})));
        assert!(laravel.posts(&told).is_empty(), "{:?}", laravel.posts(&told));
        bo.assert_nothing_more().await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// What the app tells nobody: a busy answer, a newer call of the caller. The rows would stay open.
    async fn busy_and_superseded_are_called_back(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await);
        let cleo = deployed(&cluster, 1, "cleo").await;
        let (first, busy, second) = (unique_call(), unique_call(), unique_call());
        ana.rings(&first, &bo).await;
        assert_eq!(cleo.call(&busy, &bo.user).await["busy"], true);
        // A cancel push silences any ring, so it waits while the other call rings this callee.
        tokio::time::sleep(Duration::from_millis(1500)).await; // nothing is to come
        assert!(laravel.posts(&busy).is_empty());
        ana.rings(&second, &cleo).await;
        bo.expect("call:cancelled").await;
        let post = laravel.expect_post(&busy, "cancel").await;
        assert_eq!((post.token, post.body), (token_of(&cleo), json!({"reason": "User is busy"})));
        let post = laravel.expect_post(&first, "cancel").await;
        assert_eq!((post.token, post.body), (token_of(&ana), json!({"reason": "Caller ended call"})));
        cleo.reject(&second).await;
        laravel.expect_post(&second, "reject").await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// The callee accepted over REST and Laravel's word of it was lost: Laravel is asked before the ring is given up,
    /// and the call goes on.
    async fn a_lost_accept_does_not_cut_the_call(backend: Backend) {
        let (cluster, laravel) = with_short_rings(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, unique("bo"), unique_call());
        ana.ask("call:initiate", initiate(&id, &bo)).await;
        laravel.row(&id, row("ONGOING", &ana.user, &bo));
        let accepted = ana.expect("call:accepted").await;
        assert_eq!(accepted["callId"], id.as_str());
        tokio::time::sleep(Duration::from_secs(3)).await; // the ring deadline passes
        assert_eq!(cluster.state(&id).await, ("active", None));
        assert_eq!(laravel.rows_asked(), 1);
        assert_eq!(ana.expect("call:accepted").await["repeat"], true);
        ana.assert_nothing_more().await;
        ana.end(&id).await;
        assert!(laravel.posts(&id).is_empty(), "both apps end it themselves");
        drop(ana);
        cluster.close().await;
    }

    /// Nobody answered: the deadline stands, both are told on time, and Laravel after.
    async fn a_ring_nobody_answered_times_out_on_time(backend: Backend) {
        let (cluster, laravel) = with_short_rings(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
        laravel.row(&id, row("CONNECTING", &ana.user, &bo.user));
        let started = Instant::now();
        ana.rings(&id, &bo).await;
        assert_eq!(ana.expect("call:timeout").await["reason"], "No answer");
        let took = started.elapsed();
        assert!((3900..4700).contains(&took.as_millis()), "{took:?}");
        assert_eq!(bo.expect("call:cancelled").await["reason"], "Timeout");
        let post = laravel.expect_post(&id, "cancel").await;
        assert_eq!((post.token, post.body), (token_of(&ana), json!({"reason": "No answer"})));
        drop((ana, bo));
        cluster.close().await;
    }

    /// Rejected over REST, which tells nobody: Laravel is asked, and the caller hears "rejected", not "no answer".
    async fn a_rest_only_rejection_is_found_before_the_deadline(backend: Backend) {
        let (cluster, laravel) = with_short_rings(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, unique("bo"), unique_call());
        ana.call(&id, &bo).await;
        laravel.row(&id, row("REJECTED", &ana.user, &bo));
        ana.expect("call:rejected").await;
        cluster.assert_free(&[&ana.user, &bo]).await;
        assert!(laravel.posts(&id).is_empty(), "its own word");
        drop(ana);
        cluster.close().await;
    }

    /// Laravel is away at the deadline: nobody is told anything while it is asked again.
    async fn while_laravel_is_away_the_deadline_waits(backend: Backend) {
        let (cluster, laravel) = with_short_rings(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, unique("bo"), unique_call());
        ana.call(&id, &bo).await;
        laravel.row(&id, row("ONGOING", &ana.user, &bo));
        laravel.mood(Mood::Broken);
        tokio::time::sleep(Duration::from_millis(4700)).await; // the ring deadline passes
        ana.assert_nothing_more().await;
        assert_eq!((cluster.state(&id).await.0, laravel.rows_asked()), ("trying", 1));
        laravel.mood(Mood::Well);
        ana.expect("call:accepted").await;
        ana.end(&id).await;
        drop(ana);
        cluster.close().await;
    }

    /// Both hung up over REST only, which tells nobody: the next caller is not refused.
    async fn an_end_nobody_told_makes_nobody_busy(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await);
        let (cleo, old, new) = (deployed(&cluster, 1, "cleo").await, unique_call(), unique_call());
        ana.rings(&old, &bo).await;
        bo.accept(&old).await;
        laravel.row(&old, row("ENDED", &ana.user, &bo.user));
        let young = unique_call();
        assert_eq!(cleo.call(&young, &bo.user).await["busy"], true, "a call this young is believed");
        assert_eq!(laravel.rows_asked(), 0);
        tokio::time::sleep(Duration::from_secs(10)).await; // it grows old
        cleo.rings(&new, &bo).await;
        assert_eq!(cluster.state(&old).await, ("ended", Some("hung_up")));
        assert_eq!(laravel.rows_asked(), 1);
        cleo.cancel(&new).await;
        bo.expect("call:cancelled").await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// A call that Laravel has as ongoing makes busy as ever, and one second is all it may take to find out.
    async fn a_call_that_goes_on_makes_busy(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await);
        let (cleo, id) = (deployed(&cluster, 1, "cleo").await, unique_call());
        ana.rings(&id, &bo).await;
        bo.accept(&id).await;
        laravel.row(&id, row("ONGOING", &ana.user, &bo.user));
        tokio::time::sleep(Duration::from_secs(10)).await; // it grows old
        assert_eq!(cleo.call(&unique_call(), &bo.user).await["busy"], true);
        laravel.pause(Duration::from_secs(5));
        let started = Instant::now();
        assert_eq!(cleo.call(&unique_call(), &bo.user).await["busy"], true);
        assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
        laravel.pause(Duration::ZERO);
        ana.end(&id).await;
        bo.expect("call:ended").await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// The caller gave up, the callee accepted all the same over REST: Laravel's row is ended below the time that is
    /// billed, once, and the callee hears it when his screen listens.
    async fn an_accept_that_lost_is_ended_in_laravel(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
        ana.rings(&id, &bo).await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
        let accepted = Instant::now();
        assert_eq!(bo.accept(&id).await["code"], "invalid_state");
        let post = laravel.expect_post(&id, "end").await;
        let after = post.at - accepted;
        assert!(after > Duration::from_secs(4) && after < Duration::from_secs(9), "{after:?}");
        assert_eq!((post.token, post.body), (token_of(&bo), json!({"duration": 0})));
        assert_eq!(bo.expect("call:ended").await["reason"], "Call ended");
        assert!(accepted.elapsed() >= Duration::from_millis(7900), "no screen listens before");
        assert_eq!(laravel.actions(&id).iter().filter(|action| *action == "end").count(), 1);
        drop((ana, bo));
        cluster.close().await;
    }

    /// A cancel met an accept: nobody is left alone, and Laravel's clock is stopped below the time that is billed.
    async fn a_cancel_that_met_an_accept_is_ended_in_laravel(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        laravel.answer_posts("end", 500, None);
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
        ana.rings(&id, &bo).await;
        let accepted = Instant::now();
        bo.accept(&id).await;
        ana.cancel(&id).await;
        let post = laravel.expect_post(&id, "end").await;
        assert!(post.at - accepted < Duration::from_secs(9));
        bo.expect("call:ended").await;
        tokio::time::sleep(Duration::from_secs(2)).await; // nothing is to come
        assert_eq!(laravel.actions(&id), vec!["end"], "once, also when it failed");
        drop((ana, bo));
        cluster.close().await;
    }

    /// The callee rejects a call whose caller had no socket and never initiated it here: Laravel knows the caller.
    async fn a_rejection_of_an_unknown_call_reaches_its_caller(backend: Backend) {
        let (cluster, laravel) = start(backend).await;
        let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
        laravel.row(&id, row("CONNECTING", &ana.user, &bo.user));
        assert_eq!(bo.reject(&id).await["code"], "call_not_found", "kept, and answered at once");
        assert_eq!(ana.expect("call:rejected").await["callId"], id.as_str());
        assert_eq!(bo.expect("call:reject:confirmed").await["callId"], id.as_str());
        assert_eq!(cluster.state(&id).await, ("ended", Some("rejected")));
        laravel.expect_post(&id, "reject").await;
        // A stranger's word, and one about a call that goes on, change nothing.
        let strange = unique_call();
        laravel.row(&strange, row("CONNECTING", &ana.user, "USR_somebody"));
        bo.reject(&strange).await;
        let ongoing = unique_call();
        laravel.row(&ongoing, row("ONGOING", &ana.user, &bo.user));
        bo.reject(&ongoing).await;
        for _ in 0..8 {
            bo.reject(&unique_call()).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await; // nothing is to come
        assert_eq!(laravel.rows_asked(), 6, "six a minute");
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        drop((ana, bo));
        cluster.close().await;
    }
}

/// Laravel fails: the push is asked for by itself, and the cancel goes on being tried. Throttled: after the time it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_is_tried_again_while_laravel_fails() {
    let (cluster, laravel) = start(Backend::Memory).await;
    laravel.answer_posts("cancel", 500, None);
    let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
    ana.rings(&id, &bo).await;
    ana.cancel(&id).await;
    bo.expect("call:cancelled").await;
    let notified = laravel.expect_post(&id, "notify-cancelled").await;
    assert_eq!((notified.token.as_str(), notified.secret.as_deref()), (&*token_of(&ana), Some(SECRET)));
    let expected = json!({"receiverId": bo.user, "callerId": ana.user, "callId": id, "reason": "Caller ended call"});
    assert_eq!(notified.body, expected);
    laravel.answer_posts("cancel", 429, Some(3));
    let deadline = Instant::now() + Duration::from_secs(10);
    while laravel.posts(&id).len() < 3 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    laravel.answer_posts("cancel", 404, None);
    while laravel.posts(&id).len() < 4 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let posts = laravel.posts(&id);
    assert!(posts[3].at - posts[2].at >= Duration::from_secs(3), "not before it asked for");
    tokio::time::sleep(Duration::from_secs(3)).await; // nothing is to come
    assert_eq!(laravel.actions(&id), vec!["cancel", "notify-cancelled", "cancel", "cancel"], "a 404 is an answer");
    drop((ana, bo));
    cluster.close().await;
}

/// A token that Laravel no longer takes is dropped, and the next one is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_dropped_for_an_older_one() {
    let (cluster, laravel) = start(Backend::Memory).await;
    let (ana, bo, id) = (deployed(&cluster, 0, "ana").await, deployed(&cluster, 1, "bo").await, unique_call());
    ana.rings(&id, &bo).await;
    bo.ask("call:ringing", json!({"callId": id})).await;
    laravel.revoke(&bo.user);
    bo.reject(&id).await;
    ana.expect("call:rejected").await;
    laravel.expect_post(&id, "reject").await;
    tokio::time::sleep(Duration::from_millis(1500)).await; // nothing is to come
    assert_eq!(laravel.actions(&id), vec!["reject"], "no other token, so that was all");
    let backlog = cluster.shared.outbox.backlog().await.unwrap();
    assert_eq!((backlog.waiting, backlog.dead), (0, 0));
    drop((ana, bo));
    cluster.close().await;
}

/// Callbacks off: nothing is asked, nothing is told, and a ring ends by the clock alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_can_be_switched_off() {
    let laravel = Laravel::start().await;
    let cluster = cluster_of(Backend::Memory, &laravel, |config| {
        config.policy.callbacks = false;
        config.policy.ring_timeout = Duration::from_secs(3);
    })
    .await;
    let (ana, id) = (deployed(&cluster, 0, "ana").await, unique_call());
    let bo = unique("bo");
    ana.call(&id, &bo).await;
    laravel.row(&id, row("ONGOING", &ana.user, &bo));
    ana.expect("call:timeout").await;
    assert_eq!((laravel.rows_asked(), laravel.posts(&id).len()), (0, 0));
    drop(ana);
    cluster.close().await;
}
