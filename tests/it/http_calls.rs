//! Laravel rings somebody, and asks why a phone did not ring.

use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get_with, post};
use crate::harness::phone::{unique, unique_call};
use crate::harness::{Backend, Cluster, Profile};
use crate::on_each_backend;

fn ring(id: &str, caller: &str, callee: &str) -> Value {
    json!({
        "callId": id, "callerId": caller, "callerName": "Ana", "receiverId": callee, "callType": "VIDEO",
        "channelName": "call_1", "agoraToken": "secret-agora-token", "balanceTime": "12:30", "ringTimeoutMs": 20_000,
    })
}

async fn history(cluster: &Cluster, node: usize, id: &str) -> (u16, Value) {
    get_with(cluster.address(node), &format!("/api/calls/{id}"), ("x-internal-secret", SECRET)).await
}

/// The history once it has this milestone: what other nodes add comes a moment later.
async fn history_with(cluster: &Cluster, node: usize, id: &str, what: &str) -> Value {
    for _ in 0..200 {
        let (status, call) = history(cluster, node, id).await;
        assert_eq!(status, 200, "{call}");
        if milestone(&call, what).is_some() {
            return call;
        }
    }
    panic!("{id} has no {what}");
}

fn milestone<'c>(call: &'c Value, what: &str) -> Option<&'c Value> {
    call["timeline"].as_array().unwrap().iter().find(|milestone| milestone["what"] == what)
}

fn names(call: &Value) -> Vec<&str> {
    call["timeline"].as_array().unwrap().iter().map(|milestone| milestone["what"].as_str().unwrap()).collect()
}

on_each_backend! {
    async fn laravel_rings_without_the_callers_socket(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let bo = cluster.phone(1, &unique("bo")).await;
        let (id, ana) = (unique_call(), unique("ana"));
        let ringing = (200, json!({"success": true, "callId": id, "message": "Call initiated successfully"}));
        assert_eq!(cluster.post(0, "/api/calls", ring(&id, &ana, &bo.user)).await, ringing);
        let incoming = bo.expect("call:incoming").await;
        assert_eq!((&incoming["callerId"], &incoming["callerName"]), (&json!(ana), &json!("Ana")));
        assert_eq!((&incoming["balanceTime"], &incoming["agoraToken"]), (&json!("12:30"), &json!("secret-agora-token")));
        assert!(incoming.get("ringTimeoutMs").is_none() && incoming["expiresInMs"].as_u64().unwrap() <= 20_000);

        assert_eq!(cluster.post(1, "/api/calls", ring(&id, &ana, &bo.user)).await, ringing, "once more");
        bo.assert_nothing_more().await;
        let busy = cluster.post(0, "/api/calls", ring(&unique_call(), &unique("cleo"), &bo.user)).await;
        assert_eq!(busy, (200, json!({"success": false, "error": "User is busy", "busy": true})));
        let stolen = cluster.post(0, "/api/calls", ring(&id, &unique("cleo"), &bo.user)).await;
        assert_eq!((stolen.0, &stolen.1["code"]), (200, &json!("not_a_participant")));

        bo.accept(&id).await;
        // The caller's phone connects only now, with the same call.
        let phone = cluster.phone(0, &ana).await;
        phone.expect("call:accepted").await;
        phone.end(&id).await;
        bo.expect("call:ended").await;
        let over = cluster.post(0, "/api/calls", ring(&id, &ana, &bo.user)).await;
        assert_eq!((over.0, &over.1["code"], &over.1["state"]), (200, &json!("invalid_state"), &json!("ended")));
        drop((bo, phone));
        cluster.close().await;
    }

    async fn a_busy_ring_of_laravels_is_answered_busy_again(backend: Backend) {
        let cluster = Cluster::start(backend, 1).await;
        let bo = cluster.phone(0, &unique("bo")).await;
        let (first, second, cleo) = (unique_call(), unique_call(), unique("cleo"));
        cluster.post(0, "/api/calls", ring(&first, &unique("ana"), &bo.user)).await;
        for _ in 0..2 {
            let busy = cluster.post(0, "/api/calls", ring(&second, &cleo, &bo.user)).await;
            assert_eq!(busy, (200, json!({"success": false, "error": "User is busy", "busy": true})));
        }
        bo.reject(&first).await;
        drop(bo);
        cluster.close().await;
    }

    async fn the_timeline_says_why_a_phone_did_not_ring(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (unique("ana"), unique("bo"));
        let id = unique_call();
        let offline = cluster.post(0, "/api/calls", ring(&id, &ana, &bo)).await.1;
        assert_eq!(offline["useFcmFallback"], true);
        let call = history_with(&cluster, 0, &id, "no_session").await;
        assert_eq!((&call["state"], names(&call)), (&json!("trying"), vec!["created", "no_session"]));
        assert!(call["expiresAt"].as_u64() > call["createdAt"].as_u64());

        let pixel = cluster.phone_with(1, Profile::of(&bo).device("pixel-8")).await;
        pixel.expect("call:incoming").await;
        pixel.emit("call:ringing", json!({"callId": id}));
        let tablet = cluster.phone_with(0, Profile::of(&bo).device("tablet")).await;
        tablet.expect("call:incoming").await;
        history_with(&cluster, 1, &id, "ringing").await;
        pixel.accept(&id).await;
        tablet.expect("call:cancelled").await;
        assert_eq!(tablet.accept(&id).await["code"], "invalid_state");
        let call = history_with(&cluster, 0, &id, "accept_refused").await;
        let refused = milestone(&call, "accept_refused").unwrap();
        assert_eq!((&refused["device"], &refused["reason"]), (&json!("tablet"), &json!("answered_elsewhere")));
        pixel.end(&id).await;

        let call = history_with(&cluster, 1, &id, "ended").await;
        let delivered = milestone(&call, "delivered").unwrap();
        assert_eq!((&delivered["userId"], &delivered["device"]), (&json!(bo), &json!("pixel-8")));
        assert!(delivered["node"].is_string());
        assert_eq!(milestone(&call, "accepted").unwrap()["device"], "pixel-8");
        assert_eq!(milestone(&call, "ended").unwrap()["reason"], "hung_up");
        for (name, value) in [("state", "ended"), ("reason", "hung_up"), ("callerId", &ana), ("endedBy", &bo)] {
            assert_eq!(call[name], value, "{name}");
        }
        for name in ["createdAt", "ringingAt", "acceptedAt", "endedAt", "durationMs", "seq"] {
            assert!(call[name].is_u64(), "{name} of {call}");
        }
        let times: Vec<u64> = call["timeline"].as_array().unwrap().iter().map(|one| one["at"].as_u64().unwrap()).collect();
        assert!(times.is_sorted(), "{call}");
        assert!(!call.to_string().contains("secret-agora-token") && !call.to_string().contains("token-of"), "{call}");
        let bare = history(&cluster, 0, id.trim_start_matches("CALL_")).await.1;
        assert_eq!(bare["callId"], id.as_str());
        drop((pixel, tablet));
        cluster.close().await;
    }

    async fn an_absence_is_in_the_timeline(backend: Backend) {
        let cluster = Cluster::start(backend, 1).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let id = unique_call();
        ana.rings(&id, &bo).await;
        let user = ana.user.clone();
        drop(ana);
        assert_eq!(milestone(&history_with(&cluster, 0, &id, "absent").await, "absent").unwrap()["userId"], user.as_str());
        let ana = cluster.phone(0, &user).await;
        history_with(&cluster, 0, &id, "returned").await;
        ana.cancel(&id).await;
        drop((ana, bo));
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_ring_is_refused() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.retention.rings_per_minute = 1).await;
    let whole = ring(&unique_call(), "USR_1", "USR_2");
    for name in ["callId", "callerId", "receiverId", "callType", "channelName", "agoraToken"] {
        for value in [Value::Null, json!(5), json!({})] {
            let mut body = whole.clone();
            body[name] = value;
            let (status, answer) = cluster.post(0, "/api/calls", body).await;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")), "{name}");
        }
    }
    for (name, value) in [("receiverId", json!("USR_1")), ("callType", json!("FAX")), ("callerName", json!([]))] {
        let mut body = whole.clone();
        body[name] = value;
        assert_eq!(cluster.post(0, "/api/calls", body).await.0, 400, "{name}");
    }
    for timeout in [json!(4999), json!(180_001), json!("30000"), json!(-1), json!(5000.5)] {
        let mut body = whole.clone();
        body["ringTimeoutMs"] = timeout;
        assert_eq!(cluster.post(0, "/api/calls", body).await.0, 400);
    }
    assert_eq!(post(cluster.address(0), "/api/calls", None, whole.clone()).await.0, 401);
    assert_eq!(
        history(&cluster, 0, "CALL_unknown").await,
        (404, json!({"error": "Call not found", "code": "call_not_found"}))
    );
    assert_eq!(history(&cluster, 0, "%ff").await.1["code"], "invalid_payload");
    assert_eq!(cluster.get(0, "/api/calls/1").await.0, 401);

    let bo = cluster.phone(0, "USR_2").await;
    let first = ring(&unique_call(), "USR_1", "USR_2");
    assert_eq!(cluster.post(0, "/api/calls", first.clone()).await.1["success"], true);
    bo.reject(first["callId"].as_str().unwrap()).await;
    let (status, limited) = cluster.post(0, "/api/calls", ring(&unique_call(), "USR_1", "USR_2")).await;
    assert_eq!((status, &limited["code"]), (200, &json!("rate_limited")));
    assert!(limited["retryAfterMs"].is_u64());
    drop(bo);
    cluster.close().await;
}
