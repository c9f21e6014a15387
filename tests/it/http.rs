//! What Laravel and operators get over HTTP.

use std::time::Duration;

use onlycare_signaling::app::App;
use onlycare_signaling::config::{Auth, Config};
use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get, get_with, post};
use crate::harness::phone::{unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

const EMITS: [&str; 4] = ["call-accepted", "call-cancelled", "call-rejected", "call-ended"];

on_each_backend! {
    async fn presence_of_the_whole_cluster(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let twice = cluster.phone(1, &ana.user).await;
        for node in 0..2 {
            let (status, online) = cluster.get(node, &format!("/api/users/{}/online", ana.user)).await;
            assert_eq!((status, &online["isOnline"], &online["userId"]), (200, &json!(true), &json!(ana.user)));
            assert!(online["socketId"].is_string());
            let nobody = cluster.get(node, "/api/users/USR_nobody/online").await;
            assert_eq!(nobody, (200, json!({"userId": "USR_nobody", "isOnline": false, "socketId": null})));
            let (_, users) = cluster.get(node, "/api/connected-users").await;
            let mut expected = vec![json!(ana.user), json!(bo.user)];
            expected.sort_by_key(Value::to_string);
            assert_eq!(users, json!({"count": 2, "users": expected}));
        }
        drop((ana, bo, twice));
        cluster.close().await;
    }

    async fn emits_are_transitions(backend: Backend) {
        let cluster = Cluster::start(backend, 3).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let both = json!({"callerId": ana.user, "receiverId": bo.user});
        let body = |id: &str, more: Value| {
            let mut body = both.clone();
            body["callId"] = id.into();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let emitted = json!({"success": true, "emitted": true});

        let id = unique_call();
        ana.rings(&id, &bo).await;
        let cancelled = cluster.post(2, "/api/emit/call-cancelled", body(&id, json!({"reason": null}))).await;
        assert_eq!(cancelled, (200, emitted.clone()));
        assert_eq!(bo.expect("call:cancelled").await["reason"], "Caller ended call");

        let id = unique_call();
        ana.rings(&id, &bo).await;
        let rejected = cluster.post(2, "/api/emit/call-rejected", body(&id, json!({"reason": "Busy now"}))).await;
        assert_eq!(rejected, (200, emitted.clone()));
        assert_eq!(ana.expect("call:rejected").await["reason"], "Busy now");

        let id = unique_call();
        ana.rings(&id, &bo).await;
        assert_eq!(cluster.post(2, "/api/emit/call-accepted", body(&id, json!({}))).await.1, emitted);
        ana.expect("call:accepted").await;
        let ended = json!({"callId": id, "endedBy": bo.user});
        assert_eq!(cluster.post(2, "/api/emit/call-ended", ended).await.1, emitted);
        assert_eq!(ana.expect("call:ended").await["endedBy"], bo.user.as_str());
        let late = cluster.post(2, "/api/emit/call-cancelled", body(&id, json!({}))).await;
        let refused = json!({"success": true, "emitted": false, "reason": "Call ended", "state": "ended"});
        assert_eq!(late, (200, refused));

        let id = unique_call();
        ana.rings(&id, &bo).await;
        bo.accept(&id).await;
        ana.expect("call:accepted").await;
        assert_eq!(cluster.post(2, "/api/emit/call-ended", json!({"callId": id, "reason": "Low balance"})).await.1, emitted);
        for phone in [&ana, &bo] {
            let ended = phone.expect("call:ended").await;
            assert_eq!(ended["reason"], "Low balance");
            assert!(ended.get("endedBy").is_none());
            phone.assert_nothing_more().await;
        }
        drop((ana, bo));
        cluster.close().await;
    }

    async fn words_about_unknown_calls_are_passed_on_and_kept(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let beside_ana = cluster.phone(0, &bo.user).await;
        let id = unique_call();
        let cancelled = json!({"receiverId": bo.user, "callId": id});
        assert_eq!(cluster.post(0, "/api/emit/call-cancelled", cancelled.clone()).await.1["emitted"], true);
        for phone in [&bo, &beside_ana] {
            assert_eq!(phone.expect("call:cancelled").await["callId"], id.as_str());
        }
        assert_eq!(cluster.post(0, "/api/emit/call-cancelled", cancelled).await.1["emitted"], true);
        beside_ana.assert_nothing_more().await;
        assert_eq!(ana.call(&id, &bo.user).await["success"], true);
        // What follows her answer is told before she is answered once more.
        ana.hears_all_said().await;
        for phone in [&bo, &beside_ana] {
            phone.assert_nothing_more().await;
        }
        assert_eq!(cluster.state(&id).await, ("ended", Some("cancelled")));

        let id = unique_call();
        let rejected = json!({"callerId": ana.user, "receiverId": bo.user, "callId": id});
        assert_eq!(cluster.post(1, "/api/emit/call-rejected", rejected).await.1["emitted"], true);
        assert_eq!(ana.expect("call:rejected").await["callId"], id.as_str());
        assert_eq!(ana.call(&id, &bo.user).await["code"], "invalid_state");
        let absent = json!({"receiverId": unique("nobody"), "callId": unique_call()});
        let answer = cluster.post(0, "/api/emit/call-cancelled", absent).await.1;
        assert_eq!(answer, json!({"success": true, "emitted": false, "reason": "User not connected"}));
        drop((ana, bo, beside_ana));
        cluster.close().await;
    }

    /// Fails before (the caller is told that it was accepted or rejected, and an accept hangs up what both talk in by then):
    /// after a loss nobody knew the call, and words of Laravel's that waited at two nodes were obeyed in the wrong order.
    async fn what_was_told_of_an_unknown_call_is_how_it_ended(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let cleo = cluster.phone(0, &unique("cleo")).await;
        for word in ["call-accepted", "call-rejected"] {
            let (id, newer) = (unique_call(), unique_call());
            let both = json!({"callId": id, "callerId": ana.user, "receiverId": bo.user});
            assert_eq!(cluster.post(0, "/api/emit/call-cancelled", both.clone()).await.1["emitted"], true);
            assert_eq!(bo.expect("call:cancelled").await["callId"], id.as_str());
            cleo.rings(&newer, &bo).await;
            assert_eq!(bo.accept(&newer).await["success"], true);
            cleo.expect("call:accepted").await;

            let late = cluster.post(1, &format!("/api/emit/{word}"), both).await;
            let refused = json!({"success": true, "emitted": false, "reason": "Call ended", "state": "ended"});
            assert_eq!(late, (200, refused), "{word}");
            if word == "call-accepted" {
                // Whoever accepted over REST shows a call that does not exist.
                let ended = bo.expect("call:ended").await;
                assert_eq!((&ended["callId"], &ended["reason"]), (&json!(id), &json!("Call ended")));
            }
            assert_eq!(cluster.state(&id).await, ("ended", Some("cancelled")));
            assert_eq!(cluster.state(&newer).await, ("active", None), "{word}");
            for phone in [&ana, &bo, &cleo] {
                phone.assert_nothing_more().await;
            }
            cleo.end(&newer).await;
            assert_eq!(bo.expect("call:ended").await["callId"], newer.as_str());
        }
        drop((ana, bo, cleo));
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_needs_its_secret() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let address = cluster.address(0);
    let unauthorized = "Unauthorized";
    for emit in EMITS {
        let path = format!("/api/emit/{emit}");
        for secret in [None, Some(""), Some("wrong"), Some("between-laravel-and-us ")] {
            let secret = secret.filter(|secret| !secret.ends_with(' '));
            let (status, answer) = post(address, &path, secret, json!({"callId": "1"})).await;
            assert_eq!((status, &answer["error"]), (401, &json!(unauthorized)), "{emit}");
        }
        for body in [json!({}), json!([]), json!({"callId": 5})] {
            let (status, answer) = cluster.post(0, &path, body).await;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")), "{emit}");
        }
    }
    // The two queries are open to private peers, but not through a proxy.
    assert_eq!(get(address, "/api/connected-users").await.0, 200);
    assert_eq!(get_with(address, "/api/connected-users", ("x-forwarded-for", "10.0.0.1")).await.0, 401);
    let with_secret = ("x-internal-secret", crate::harness::cluster::SECRET);
    assert_eq!(get_with(address, "/api/users/USR_1/online", with_secret).await.0, 200);
    assert_eq!(get(address, "/no/such/path").await, (404, json!({"error": "Not found", "code": "not_found"})));
}

/// Not every load balancer names its client: one that is configured, or leaves a mark of its own, makes nobody private.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_nobody_is_private() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let address = cluster.address(0);
    for path in ["/api/connected-users", "/api/users/USR_1/online"] {
        assert_eq!(get(address, path).await.0, 200);
        for mark in ["forwarded", "via", "x-real-ip", "x-forwarded-proto", "x-amzn-trace-id", "cf-ray", "x-envoy-peer"]
        {
            assert_eq!(get_with(address, path, (mark, "1.1 google")).await.0, 401, "{mark}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_the_api_is_off() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.api_secrets.clear()).await;
    for emit in EMITS {
        let answer = post(cluster.address(0), &format!("/api/emit/{emit}"), Some(""), json!({"callId": "1"})).await;
        assert_eq!(answer.0, 401, "{emit}");
    }
    assert_eq!(get(cluster.address(0), "/api/connected-users").await.0, 401);
    assert_eq!(get(cluster.address(0), "/health").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_metrics_are_on_the_admin_port() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let admin = cluster.nodes[0].admin;
    assert_eq!(get(admin, "/live").await.0, 200);
    assert_eq!(get(admin, "/ready").await.0, 200);
    let (_, text) = get(admin, "/metrics").await;
    assert!(text.as_str().unwrap().contains("signaling_sessions"), "{text}");
    assert_eq!(get(cluster.address(0), "/metrics").await.0, 404);
}

/// Cloud load balancers ask the port that they send phones to, and `/` unless they are told otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_port_says_whether_it_wants_phones() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        config.auth = Auth::Laravel { url: "http://127.0.0.1:1".into() };
        config.limits.api_per_second = 1;
        // Held, so that the node drains until this test has looked.
        config.drain.delay = Duration::from_secs(3600);
    })
    .await;
    let (node, address) = (&cluster.nodes[0], cluster.address(0));
    let (status, name) = get(address, "/").await;
    let name = name.as_str().unwrap();
    assert!(status == 200 && name == "onlycare-signaling\n", "{name}");
    for _ in 0..5 {
        assert_eq!(get(address, "/ready").await, (200, json!("ready\n")), "no limit of an address holds");
    }
    let looked = async {
        while get(address, "/ready").await.0 == 200 {
            tokio::task::yield_now().await;
        }
        (get(address, "/ready").await, get(address, "/").await.0, get(address, "/health").await.0)
    };
    let (ready, root, health) = tokio::select! {
        () = node.drain() => unreachable!("the delay is an hour"),
        looked = looked => looked,
    };
    assert_eq!(ready, (503, json!({"error": "Not ready", "code": "unavailable"})), "no detail");
    assert_eq!((root, health), (200, 200));
    assert_eq!(post(address, "/ready", None, json!({})).await.0, 405);
    cluster.close().await;
}

/// `cargo run` with nothing configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_development_mode() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let variables = [("PORT", "0"), ("ADMIN_PORT", "0")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let node = App::start(Config::from_variables(variables.into()).unwrap()).await.unwrap();
    let (status, page) = get(node.public, "/").await;
    assert!(status == 200 && page.as_str().unwrap().contains("<html"), "{page}");
    for file in ["app.js", "socket.js", "style.css"] {
        assert_eq!(get(node.public, &format!("/web/{file}")).await.0, 200, "{file}");
    }
    let ana = Phone::connect(node.public, Profile::of(&unique("ana"))).await;
    let bo = Phone::connect(node.public, Profile::of(&unique("bo"))).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    assert_eq!(post(node.public, "/api/emit/call-ended", None, json!({"callId": id})).await.0, 200);
    for path in ["/", "/health", "/api/connected-users", "/socket.io/?EIO=4&transport=polling"] {
        for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            assert_eq!(get_with(node.public, path, (header, "1.2.3.4")).await.0, 403, "{path}");
        }
    }
}

/// A load balancer that publishes a port as a whole shows nothing of what is Laravel's, where that has a port of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_has_a_port_of_its_own() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| config.api_port = Some(0)).await;
    let (public, api, secret) = (cluster.nodes[0].public, cluster.nodes[0].api, ("x-internal-secret", SECRET));
    let (status, description) = get_with(api, "/openapi.json", secret).await;
    assert_eq!(status, 200);
    let paths = description["paths"].as_object().unwrap().keys().filter(|path| path.starts_with("/api/"));
    let paths: Vec<String> = paths.map(|path| path.replace(['{', '}'], "")).collect();
    assert!(paths.len() >= 10, "{paths:?}");
    let nothing = (404, json!({"error": "Not found", "code": "not_found"}));
    let further = ["/openapi.json", "/asyncapi.json", "/docs"].map(String::from);
    for path in paths.iter().chain(&further) {
        for path in [path.clone(), format!("{path}/"), format!("/{path}")] {
            assert_eq!(get_with(public, &path, secret).await, nothing, "{path}");
        }
        assert_eq!(post(public, path, Some(SECRET), json!({})).await, nothing, "{path}");
        assert_ne!(get_with(api, path, secret).await, nothing, "{path}");
    }
    assert_eq!(get(api, "/api/stats").await.0, 401, "it asks for the secret as ever");
    assert_eq!(get(api, "/socket.io/?EIO=4&transport=polling").await, nothing, "phones have theirs");
    for path in ["/health", "/socket-health", "/ready", "/"] {
        assert_eq!((get(public, path).await.0, get(api, path).await.0), (200, 200), "{path}");
    }
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let id = unique_call();
    ana.rings(&id, &bo).await;
    assert_eq!(post(api, "/api/emit/call-ended", Some(SECRET), json!({"callId": id})).await.0, 200);
    bo.expect("call:cancelled").await;
    drop((ana, bo));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_are_any_or_listed() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let listed =
        Cluster::tuned(Backend::Memory, 1, |config| config.allowed_origins = vec!["https://app.test".into()]).await;
    for path in ["/health", "/socket.io/?EIO=4&transport=polling"] {
        for (cluster, origin, expected) in [
            (&cluster, "https://any.test", Some("*")),
            (&listed, "https://app.test", Some("https://app.test")),
            (&listed, "https://any.test", None),
        ] {
            let url = format!("http://{}{path}", cluster.address(0));
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let response = client.get(url).header("origin", origin).send().await.unwrap();
            let allowed = response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
            assert_eq!(allowed, expected, "{path} for {origin}");
        }
    }
}

/// A page may send the headers it asked for, as the official server lets it; another page learns nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflights_allow_what_is_asked_for_to_allowed_origins() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let listed =
        Cluster::tuned(Backend::Memory, 1, |config| config.allowed_origins = vec!["https://app.test".into()]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/api/calls", "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=4&transport=polling&sid=x"] {
        for (cluster, origin, allowed) in [
            (&cluster, "https://any.test", Some("*")),
            (&listed, "https://app.test", Some("https://app.test")),
            (&listed, "https://any.test", None),
            (&listed, "null", None),
        ] {
            let url = format!("http://{}{path}", cluster.address(0));
            let preflight = client
                .request(reqwest::Method::OPTIONS, url)
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,x-app-version,x-trace");
            let response = preflight.send().await.unwrap();
            assert!(response.status().is_success(), "{path} for {origin}: {}", response.status());
            let told = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_lowercase());
            assert_eq!(told("access-control-allow-origin").as_deref(), allowed, "{path} for {origin}");
            let headers = told("access-control-allow-headers");
            let methods = told("access-control-allow-methods");
            assert_eq!(
                headers.as_deref(),
                allowed.and(Some("authorization,x-app-version,x-trace")),
                "{path}, {origin}"
            );
            assert_eq!(methods.is_some_and(|methods| methods.contains("post")), allowed.is_some(), "{path}, {origin}");
        }
    }
}
