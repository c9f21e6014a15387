//! One call, one id: however it is spelled, and whatever else is dialled under it.

use std::time::Duration;

use serde_json::json;

use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster};
use crate::on_each_backend;

on_each_backend! {
    /// A call whose id came back from the store as another one had no deadline, and its callee was busy for hours.
    async fn a_call_of_any_spelling_rings_out_and_frees_the_line(backend: Backend) {
        let cluster = Cluster::tuned(backend, 2, |config| config.policy.ring_timeout = Duration::from_secs(1)).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        for prefix in ["CALL_CALL_", "CALL_", "", "CALL_CALL_CALL_"] {
            let id = format!("{prefix}{:08x}", rand::random::<u32>());
            assert_eq!(ana.rings(&id, &bo).await["callId"], id.as_str());
            assert_eq!(ana.expect("call:timeout").await["callId"], id.as_str());
            assert_eq!(bo.expect("call:cancelled").await["callId"], id.as_str());
            cluster.assert_free(&[&ana.user, &bo.user]).await;
        }
        drop((ana, bo));
        cluster.close().await;
    }

    async fn all_spellings_name_one_call(backend: Backend) {
        let cluster = Cluster::start(backend, 1).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let bare = format!("{:08x}", rand::random::<u32>());
        ana.rings(&format!("CALL_CALL_{bare}"), &bo).await;
        assert_eq!(bo.accept(&format!("CALL_{bare}")).await["state"], "active");
        ana.expect("call:accepted").await;
        assert_eq!(ana.end(&bare).await["state"], "ended");
        bo.expect("call:ended").await;
        for prefix in ["CALL_", "CALL_CALL_"] {
            assert_eq!(ana.call(prefix, &bo.user).await["code"], "invalid_payload", "{prefix} names no call");
        }
        drop((ana, bo));
        cluster.close().await;
    }

    /// Acked as if it rang, and nobody rang.
    async fn an_id_in_use_rings_nobody_else(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let cleo = cluster.phone(1, &unique("cleo")).await;
        let id = unique_call();
        ana.rings(&id, &bo).await;
        let refused = |state: &str| {
            json!({"success": false, "error": format!("Call is {state}"), "code": "invalid_state", "state": state})
        };
        assert_eq!(ana.call(&id, &cleo.user).await, refused("ringing"));
        let mut video = initiate(&id, &bo.user);
        video["callType"] = "VIDEO".into();
        assert_eq!(ana.ask("call:initiate", video.clone()).await, refused("ringing"));
        video["callType"] = "audio".into();
        assert_eq!(ana.ask("call:initiate", video).await["success"], true, "the same, in other letters");
        bo.assert_nothing_more().await;
        cleo.assert_nothing_more().await;
        let mut by_laravel = initiate(&id, &cleo.user);
        by_laravel["callerId"] = ana.user.as_str().into();
        by_laravel["callerName"] = "Ana".into();
        assert_eq!(cluster.post(1, "/api/calls", by_laravel.clone()).await, (200, refused("ringing")));

        bo.accept(&id).await;
        ana.expect("call:accepted").await;
        assert_eq!(ana.call(&id, &cleo.user).await, refused("active"));
        assert_eq!(cluster.post(0, "/api/calls", by_laravel).await, (200, refused("active")));
        assert_eq!(ana.call(&id, &bo.user).await["success"], true, "the same once more");
        cleo.assert_nothing_more().await;
        ana.end(&id).await;
        bo.expect("call:ended").await;
        drop((ana, bo, cleo));
        cluster.close().await;
    }

    /// A busy answer is repeated for the same call only.
    async fn a_busy_answer_is_not_that_of_another_receiver(backend: Backend) {
        let cluster = Cluster::start(backend, 1).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
        let (cleo, first, second) = (unique("cleo"), unique_call(), unique_call());
        ana.rings(&first, &bo).await;
        let ring = |receiver: &str| {
            let mut body = initiate(&second, receiver);
            body["callerId"] = cleo.as_str().into();
            body["callerName"] = "Cleo".into();
            body
        };
        for _ in 0..2 {
            assert_eq!(cluster.post(0, "/api/calls", ring(&bo.user)).await.1["busy"], true);
        }
        let other = cluster.post(0, "/api/calls", ring(&unique("dan"))).await.1;
        assert_eq!((&other["code"], &other["state"]), (&json!("invalid_state"), &json!("ended")));
        ana.cancel(&first).await;
        bo.expect("call:cancelled").await;
        drop((ana, bo));
        cluster.close().await;
    }
}
