//! What happened to the deployed system, and what must hold instead (docs/field-notes.md): one story each.

use serde_json::json;

use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

async fn pair(cluster: &Cluster) -> (Phone, Phone, String) {
    let ana = cluster.phone(0, &unique("ana")).await;
    let bo = cluster.phone(1, &unique("bo")).await;
    (ana, bo, unique_call())
}

on_each_backend! {
    /// A call across two nodes, from the ring to the hang-up.
    async fn a_call_rings_across_the_cluster(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        let incoming = ana.rings(&id, &bo).await;
        assert_eq!(incoming["callerId"], ana.user.as_str());
        assert_eq!(incoming["callerName"], ana.user.as_str());
        assert_eq!(incoming["balanceTime"], "12:00");
        assert!(incoming.get("absent").is_none(), "null values are left out");
        assert!(incoming["expiresInMs"].as_u64().unwrap() <= 30_000);
        assert_eq!(bo.accept(&id).await, json!({"success": true, "callId": id, "state": "active"}));
        assert_eq!(ana.expect("call:accepted").await["receiverId"], bo.user.as_str());
        let (_, health) = cluster.get(1, "/health").await;
        assert_eq!((health["connectedUsers"].as_u64(), health["activeCalls"].as_u64()), (Some(2), Some(1)));
        assert_eq!(ana.end(&id).await["state"], "ended");
        let ended = bo.expect("call:ended").await;
        assert_eq!((&ended["reason"], &ended["endedBy"]), (&json!("Remote user ended call"), &json!(ana.user)));
        assert!(ended["durationMs"].is_u64());
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// The caller kept ringing for 45 s after a rejection: he hears of it before Laravel does.
    async fn a_rejection_reaches_the_caller_at_once(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        assert_eq!(bo.ask("call:reject", json!({"callId": id, "reason": "Later"})).await["success"], true);
        assert_eq!(bo.expect("call:reject:confirmed").await["callId"], id.as_str());
        assert_eq!(ana.expect("call:rejected").await["reason"], "Later");
        cluster.assert_free(&[&ana.user, &bo.user]).await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// A rejection overtook its initiate: it is kept, and the later initiate resolves at once instead of ringing.
    async fn a_rejection_that_overtakes_its_call_is_kept(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        let ack = bo.reject(&id).await;
        assert_eq!((&ack["success"], &ack["code"]), (&json!(false), &json!("call_not_found")));
        assert_eq!(ana.call(&id, &bo.user).await["success"], true);
        assert_eq!(ana.expect("call:rejected").await["reason"], "User declined");
        bo.assert_nothing_more().await;
        cluster.assert_free(&[&ana.user, &bo.user]).await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// The callee had no socket: the call is tracked all the same, rings him when he connects, and can be rejected.
    async fn an_offline_callee_is_tracked_and_rung(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let (bo, id) = (unique("bo"), unique_call());
        let ack = ana.call(&id, &bo).await;
        assert_eq!(ack, json!({"success": false, "error": "User offline - FCM notification sent", "useFcmFallback": true}));
        let bo = cluster.phone(1, &bo).await;
        assert_eq!(bo.expect("call:incoming").await["callId"], id.as_str());
        bo.reject(&id).await;
        ana.expect("call:rejected").await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// A call accepted over REST was cut at 30 s by the ring timer: its accept is a transition like any other.
    async fn an_accept_over_http_disarms_the_ring_timer(backend: Backend) {
        let cluster = Cluster::tuned(backend, 3, |config| {
            config.policy.ring_timeout = std::time::Duration::from_millis(700);
        }).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        let bare = id.trim_start_matches("CALL_");
        let body = json!({"callerId": ana.user, "callId": bare, "receiverId": bo.user});
        let (status, answer) = cluster.post(2, "/api/emit/call-accepted", body).await;
        assert_eq!((status, answer), (200, json!({"success": true, "emitted": true})));
        assert_eq!(ana.expect("call:accepted").await["callId"], id.as_str(), "spelled as it was initiated");
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await; // nothing is to happen at the ring deadline
        assert_eq!(cluster.state(&id).await, ("active", None));
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        bo.end(&id).await;
        ana.expect("call:ended").await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// The caller never learned of the accept: he hears it again whenever he connects while it is true.
    async fn an_accept_is_told_again_on_reconnect(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        let user = ana.user.clone();
        ana.vanish();
        bo.accept(&id).await;
        let ana = Phone::open(cluster.address(1), Profile::of(&user)).await;
        let ready = ana.expect("session:ready").await;
        assert_eq!(ready["call"]["callId"], id.as_str());
        assert_eq!((&ready["call"]["role"], &ready["call"]["state"]), (&json!("caller"), &json!("active")));
        ana.expect("call:accepted").await;
        ana.end(&id).await;
        bo.expect("call:ended").await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// The caller cancelled while the callee accepted, and the callee sat alone with the clock running.
    async fn a_cancel_that_meets_an_accept_is_a_hang_up(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        bo.accept(&id).await;
        assert_eq!(ana.cancel(&id).await["state"], "ended");
        bo.expect("call:ended").await;
        assert_eq!(cluster.state(&id).await, ("ended", Some("hung_up")));
        // Her own word may have come before she was told of the accept, and then she is not.
        ana.hears_all_said().await;
        assert!(ana.heard().len() <= 1 && ana.heard().iter().all(|heard| heard.event == "call:accepted"));
        drop((ana, bo));
        cluster.close().await;
    }

    /// The late acceptor is told, the caller hears nothing.
    async fn an_accept_that_lost_is_told(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
        let ack = bo.accept(&id).await;
        assert_eq!((&ack["code"], &ack["state"], &ack["reason"]), (&json!("invalid_state"), &json!("ended"), &json!("cancelled")));
        assert_eq!(bo.expect("call:ended").await["reason"], "Call ended");
        ana.assert_nothing_more().await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// "User is busy" for ever, and busy that saw ringing calls only: any live call makes both busy, every end frees.
    async fn busy_while_live_and_free_afterwards(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        let cleo = cluster.phone(0, &unique("cleo")).await;
        ana.rings(&id, &bo).await;
        for accepted in [false, true] {
            if accepted {
                bo.accept(&id).await;
                ana.expect("call:accepted").await;
            }
            for user in [&ana.user, &bo.user] {
                let other = unique_call();
                assert_eq!(cleo.call(&other, user).await, json!({"success": false, "error": "User is busy", "busy": true}));
                assert_eq!(cleo.expect("call:busy").await, json!({"callId": other}));
                assert_eq!(cluster.state(&other).await, ("ended", Some("busy")), "recorded as ended");
            }
        }
        bo.end(&id).await;
        ana.expect("call:ended").await;
        let next = unique_call();
        cleo.rings(&next, &ana).await;
        cleo.cancel(&next).await;
        ana.expect("call:cancelled").await;
        ana.assert_nothing_more().await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// A caller's new call replaces his older one that still rings; its callee stops ringing.
    async fn a_newer_call_replaces_the_older(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        let cleo = cluster.phone(1, &unique("cleo")).await;
        ana.rings(&id, &bo).await;
        let next = unique_call();
        ana.rings(&next, &cleo).await;
        assert_eq!(bo.expect("call:cancelled").await["reason"], "Caller ended call");
        cluster.assert_free(&[&bo.user]).await;
        cleo.accept(&next).await;
        ana.expect("call:accepted").await;
        ana.end(&next).await;
        ana.assert_nothing_more().await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// Both call each other: the first to claim wins, the second is told which call rings him.
    async fn glare_names_the_call_that_rings(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        let ack = bo.call(&unique_call(), &ana.user).await;
        assert_eq!((&ack["busy"], &ack["ringingCallId"]), (&json!(true), &json!(id)));
        bo.expect("call:busy").await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// The disconnect of an old socket erased the user's new one: removal is by session.
    async fn an_old_sockets_end_harms_no_newer_one(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, old, id) = pair(&cluster).await;
        let bo = cluster.phone(0, &old.user).await;
        old.vanish();
        ana.rings(&id, &bo).await;
        bo.accept(&id).await;
        ana.expect("call:accepted").await;
        bo.end(&id).await;
        ana.expect("call:ended").await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// Any logged-in client could end, accept or reject a stranger's call.
    async fn a_stranger_is_no_participant(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        let eve = cluster.phone(1, &unique("eve")).await;
        ana.rings(&id, &bo).await;
        for event in ["call:accept", "call:reject", "call:cancel", "call:end", "call:ringing", "call:message"] {
            let ack = eve.ask(event, json!({"callId": id, "data": "x"})).await;
            assert_eq!(ack["code"], "not_a_participant", "{event}: {ack}");
        }
        // The id is her own too where nobody can say whose it is (ADR 15), and he is busy.
        assert_eq!(eve.ask("call:initiate", initiate(&id, &bo.user)).await["busy"], true);
        eve.expect("call:busy").await;
        assert_eq!(cluster.state(&id).await, ("ringing", None));
        bo.accept(&id).await;
        ana.expect("call:accepted").await;
        ana.end(&id).await;
        eve.assert_nothing_more().await;
        drop((ana, bo, eve));
        cluster.close().await;
    }

    /// Several devices ring; one answers, the others are told, and can't take the call away.
    async fn one_device_answers_for_all(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let ana = cluster.phone(0, &unique("ana")).await;
        let (bo, id) = (unique("bo"), unique_call());
        let phone = cluster.phone_with(0, Profile::of(&bo).device("phone")).await;
        let tablet = cluster.phone_with(1, Profile::of(&bo).device("tablet")).await;
        assert_eq!(ana.call(&id, &bo).await["success"], true);
        phone.expect("call:incoming").await;
        tablet.expect("call:incoming").await;
        tablet.accept(&id).await;
        assert_eq!(phone.expect("call:cancelled").await["reason"], "Answered elsewhere");
        assert_eq!(phone.accept(&id).await["code"], "invalid_state");
        assert_eq!(phone.reject(&id).await["code"], "invalid_state");
        assert_eq!(cluster.state(&id).await, ("active", None));
        ana.end(&id).await;
        tablet.expect("call:ended").await;
        phone.assert_nothing_more().await;
        drop((ana, phone, tablet));
        cluster.close().await;
    }

    /// A second of the same is answered like the first and changes nothing.
    async fn repeats_change_nothing(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        assert_eq!(ana.call(&id, &bo.user).await["success"], true);
        for _ in 0..3 {
            assert_eq!(bo.accept(&id).await["state"], "active");
        }
        ana.expect("call:accepted").await;
        for _ in 0..3 {
            assert_eq!(ana.end(&id).await["success"], true);
        }
        bo.expect("call:ended").await;
        assert_eq!(bo.end(&id).await["code"], "invalid_state");
        let again = ana.call(&id, &bo.user).await;
        assert_eq!((&again["code"], &again["state"]), (&json!("invalid_state"), &json!("ended")));
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        drop((ana, bo));
        cluster.close().await;
    }

    /// Laravel reports an accept of a call that was never initiated here.
    async fn an_accept_over_http_creates_its_call(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        let cleo = cluster.phone(0, &unique("cleo")).await;
        let older = unique_call();
        cleo.rings(&older, &bo).await;
        let body = json!({"callerId": ana.user, "callId": id, "receiverId": bo.user});
        let (_, answer) = cluster.post(1, "/api/emit/call-accepted", body).await;
        assert_eq!(answer["emitted"], true);
        ana.expect("call:accepted").await;
        cleo.expect("call:busy").await;
        bo.expect("call:cancelled").await;
        assert_eq!(ana.call(&id, &bo.user).await["success"], true, "the initiate that comes later");
        ana.end(&id).await;
        bo.expect("call:ended").await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// What participants say to each other is relayed, to nobody else.
    async fn messages_go_to_the_other_side(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo, id) = pair(&cluster).await;
        ana.rings(&id, &bo).await;
        ana.emit("call:message", json!({"callId": id, "data": {"typing": true}}));
        let message = bo.expect("call:message").await;
        assert_eq!((&message["senderId"], &message["data"]), (&json!(ana.user), &json!({"typing": true})));
        ana.cancel(&id).await;
        assert_eq!(ana.ask("call:message", json!({"callId": id, "data": 1})).await["code"], "invalid_state");
        drop((ana, bo));
        cluster.close().await;
    }
}

/// A phone rang 39 minutes late: a ring ends in every case within its window, and nothing is replayed after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_rings_after_its_window() {
    let cluster = Cluster::manual(2).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let (bo, id) = (unique("bo"), unique_call());
    assert_eq!(ana.call(&id, &bo).await["useFcmFallback"], true);
    cluster.advance(31);
    assert_eq!(ana.expect("call:timeout").await, json!({"callId": id, "reason": "No answer"}));
    cluster.advance(39 * 60);
    let bo = Phone::open(cluster.address(1), Profile::of(&bo)).await;
    assert!(bo.expect("session:ready").await.get("call").is_none());
    bo.assert_nothing_more().await;
    cluster.assert_free(&[&ana.user, &bo.user]).await;
    drop((ana, bo));
    cluster.close().await;
}

/// The deployed app changes screens when the accept comes in: it is told once more, while the call is active.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_is_repeated_to_the_deployed_app() {
    let cluster = Cluster::manual(2).await;
    let ana = cluster.phone_with(0, Profile::deployed(&unique("ana"))).await;
    let bo = cluster.phone_with(1, Profile::deployed(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    assert!(ana.expect("call:accepted").await.get("repeat").is_none());
    cluster.advance(2);
    assert_eq!(ana.expect("call:accepted").await["repeat"], true);
    // A cancel that meets an accept under 8 s old: its screen listens only then.
    ana.cancel(&id).await;
    bo.assert_nothing_more().await;
    cluster.advance(6);
    bo.expect("call:ended").await;
    drop((ana, bo));
    cluster.close().await;
}

/// Every active call has an upper bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_call_ends_at_the_maximum() {
    let cluster = Cluster::manual(2).await;
    let (ana, bo, id) = pair(&cluster).await;
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    cluster.advance(14_401);
    for phone in [&ana, &bo] {
        let ended = phone.expect("call:ended").await;
        assert_eq!(ended["reason"], "Maximum duration reached");
        assert!(ended.get("endedBy").is_none());
    }
    drop((ana, bo));
    cluster.close().await;
}
