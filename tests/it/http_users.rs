//! Laravel asks who is online, speaks to users, sends them away.

use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get, get_with, post, post_bytes};
use crate::harness::laravel::Laravel;
use crate::harness::phone::unique;
use crate::harness::{Backend, Cluster, Phone, Profile};
use crate::on_each_backend;

on_each_backend! {
    async fn presence_of_many_is_one_question(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let doubled = format!("USR_{}", ana.user);
        let mut ids: Vec<String> = (0..997).map(|number| format!("USR_{number}")).collect();
        ids.extend([ana.user.clone(), bo.user.clone(), doubled.clone()]);
        for node in 0..2 {
            let (status, answer) = cluster.post(node, "/api/users/online", json!({ "userIds": ids })).await;
            let users = answer["users"].as_object().unwrap();
            assert_eq!((status, users.len()), (200, 1000));
            assert!(users.iter().all(|(id, online)| *online == json!([&ana.user, &bo.user, &doubled].contains(&id))));
        }
        assert_eq!(cluster.post(0, "/api/users/online", json!({"userIds": []})).await, (200, json!({"users": {}})));
        ids.push("USR_one_more".into());
        for ids in [json!(ids), json!("USR_1"), json!([5]), json!([""]), json!(null)] {
            let (status, answer) = cluster.post(0, "/api/users/online", json!({ "userIds": ids })).await;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")));
        }
        drop((ana, bo));
        cluster.close().await;
    }

    async fn connected_users_come_in_pages(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let mut phones = Vec::new();
        for number in 0..7 {
            phones.push(cluster.phone(number % 2, &unique("page")).await);
        }
        let mut expected: Vec<String> = phones.iter().map(|phone| phone.user.clone()).collect();
        expected.sort();
        for limit in [1, 3, 7, 1000] {
            let (mut listed, mut path) = (Vec::new(), format!("/api/connected-users?limit={limit}"));
            loop {
                let (status, page) = cluster.get(1, &path).await;
                assert_eq!((status, &page["count"]), (200, &json!(7)));
                let users: Vec<String> = serde_json::from_value(page["users"].clone()).unwrap();
                assert!(users.len() <= limit, "{page}");
                listed.extend(users);
                let Some(cursor) = page.get("nextCursor").and_then(Value::as_str) else { break };
                path = format!("/api/connected-users?limit={limit}&cursor={cursor}");
            }
            listed.sort();
            assert_eq!(listed, expected, "in pages of {limit}");
        }
        for query in ["limit=0", "limit=1001", "limit=many", "limit=-1", "cursor=nonsense", "cursor=300.USR_1"] {
            let (status, answer) = cluster.get(0, &format!("/api/connected-users?{query}")).await;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")), "{query}");
        }
        drop(phones);
        cluster.close().await;
    }

    async fn an_event_of_the_application_reaches_every_device(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let user = unique("ana");
        let (pixel, tablet) = (cluster.phone(0, &user).await, cluster.phone(1, &user).await);
        let path = format!("/api/users/{user}/emit");
        let gift = json!({"event": "app:gift", "data": {"coins": 10, "from": ["bo"]}});
        assert_eq!(cluster.post(1, &path, gift.clone()).await, (200, json!({"success": true, "emitted": true})));
        for phone in [&pixel, &tablet] {
            assert_eq!(phone.expect("app:gift").await, gift["data"]);
        }
        cluster.post(0, &path, json!({"event": "app:ping"})).await;
        assert_eq!(tablet.expect("app:ping").await, json!({}));
        assert_eq!(pixel.expect("app:ping").await, json!({}));
        let nobody = cluster.post(0, "/api/users/USR_nobody/emit", gift).await;
        assert_eq!(nobody, (200, json!({"success": true, "emitted": false, "reason": "User not connected"})));
        let large = json!({"text": "x".repeat(16 * 1024)});
        for (event, data) in [
            (json!("call:incoming"), json!({})), (json!("app:"), json!({})), (json!("app:a b"), json!({})),
            (json!(7), json!({})), (json!("app:gift"), json!([1])), (json!("app:gift"), json!("text")), (json!("app:gift"), large),
        ] {
            let (status, answer) = cluster.post(0, &path, json!({"event": event, "data": data})).await;
            assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")), "{event}");
        }
        pixel.assert_nothing_more().await;
        drop((pixel, tablet));
        cluster.close().await;
    }

    async fn a_user_is_sent_away_from_every_node(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (user, bo) = (unique("ana"), cluster.phone(0, &unique("bo")).await);
        let phones = [cluster.phone(0, &user).await, cluster.phone(0, &user).await, cluster.phone(1, &user).await];
        let path = format!("/api/users/{user}/disconnect");
        let gone = cluster.post(0, &path, json!({"reason": "Banned"})).await;
        assert_eq!(gone, (200, json!({"success": true, "disconnected": 3})));
        for phone in &phones {
            assert_eq!(phone.expect_fate().await, "disconnect");
        }
        let again = cluster.post(0, &path, json!({"reason": null})).await;
        assert_eq!(again, (200, json!({"success": true, "disconnected": 0})));
        let online = cluster.post(1, "/api/users/online", json!({"userIds": [user, bo.user]})).await.1;
        assert_eq!(online["users"][&bo.user], true);
        bo.assert_nothing_more().await;
        drop((phones, bo));
        cluster.close().await;
    }

    async fn who_was_sent_away_is_verified_anew(backend: Backend) {
        let laravel = Laravel::start().await;
        let url = format!("http://{}", laravel.address);
        let cluster = Cluster::tuned(backend, 2, |config| {
            config.auth = onlycare_signaling::config::Auth::Laravel { url: url.clone() };
        }).await;
        let user = unique("ana");
        // Both nodes have verified the token, and only one has a session left.
        drop(cluster.phone(1, &user).await);
        cluster.has_left(&user).await;
        let phone = cluster.phone(0, &user).await;
        laravel.revoke(&user);
        cluster.post(0, &format!("/api/users/{user}/disconnect"), json!({"reason": "Banned"})).await;
        phone.expect_fate().await;
        assert_eq!(cluster.get(0, &format!("/api/users/{user}/online")).await.1["isOnline"], false);
        for node in 0..2 {
            let refused = Phone::open(cluster.address(node), Profile::of(&user)).await;
            assert_eq!(refused.expect_fate().await, "connect_error: Invalid token", "node {node}");
        }
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_has_the_same_shape() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let address = cluster.address(0);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{address}{path}");
    let huge = "x".repeat(300 * 1024);
    let requests = [
        (client.get(url("/api/nothing")), 404, "not_found"),
        (client.get(url("/api/users/%ff/online")), 400, "invalid_payload"),
        (client.get(url("/api/connected-users?limit=%ff")), 400, "invalid_payload"),
        (client.post(url("/api/connected-users")), 405, "method_not_allowed"),
        (client.get(url("/api/calls")), 405, "method_not_allowed"),
        (client.delete(url("/health")), 405, "method_not_allowed"),
        (client.post(url("/api/calls")).body("{\"callId\":"), 400, "invalid_payload"),
        (client.post(url("/api/calls")).body("callId=1").header("content-type", "text/plain"), 400, "invalid_payload"),
        (client.post(url("/api/calls")).body(vec![0xff, 0xfe]), 400, "invalid_payload"),
        (client.post(url("/api/users/online")).body(huge.clone()), 413, "payload_too_large"),
        (client.post(url("/api/emit/call-ended")).body(huge), 413, "payload_too_large"),
        (client.post(url("/api/users/online")), 400, "invalid_payload"),
        (client.post(url("/api/users/a%20b/disconnect")).body("{}"), 400, "invalid_payload"),
    ];
    for (request, status, code) in requests {
        let (client, request) = request.header("x-internal-secret", SECRET).build_split();
        let (method, path) = {
            let request = request.as_ref().unwrap();
            (request.method().clone(), request.url().path().to_owned())
        };
        let response = client.execute(request.unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["code"], body["error"].is_string()), (&json!(code), true), "{method} {path}");
    }
    for path in ["/api/calls", "/api/users/online", "/api/users/USR_1/emit", "/api/users/USR_1/disconnect"] {
        assert_eq!(post(address, path, None, json!({})).await.1["code"], "unauthorized", "{path}");
        assert_eq!(post(address, path, Some("wrong"), json!({})).await.0, 401, "{path}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_has_a_second_name() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (status, health) = cluster.get(0, "/socket-health").await;
    assert_eq!((status, &health["status"], &health["connectedUsers"]), (200, &json!("OK"), &json!(0)));
    cluster.close().await;
}

/// Each route that is served is described, on the admin port, and in production on the public one for who has the secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |config| {
        config.auth = onlycare_signaling::config::Auth::Laravel { url: "http://127.0.0.1:9".into() };
    })
    .await;
    let admin = cluster.nodes[0].admin;
    let (status, api) = get(admin, "/openapi.json").await;
    assert_eq!((status, &api["openapi"]), (200, &json!("3.1.0")));
    let paths = api["paths"].as_object().unwrap();
    for path in [
        "/health",
        "/socket-health",
        "/live",
        "/ready",
        "/metrics",
        "/api/users/{userId}/online",
        "/api/connected-users",
        "/api/emit/call-accepted",
        "/api/emit/call-cancelled",
        "/api/emit/call-rejected",
        "/api/emit/call-ended",
        "/api/calls",
        "/api/calls/{callId}",
        "/api/users/online",
        "/api/users/{userId}/emit",
        "/api/users/{userId}/disconnect",
        "/outbox/dead",
        "/outbox/replay",
        "/outbox/on",
    ] {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    for file in ["/docs", "/docs/docs.js", "/docs/docs.css"] {
        assert_eq!(get(admin, file).await.0, 200, "{file}");
    }
    for path in ["/openapi.json", "/asyncapi.json", "/docs"] {
        assert_eq!(get(cluster.address(0), path).await.0, 401, "{path} is on the public port");
        assert_eq!(get_with(cluster.address(0), path, ("x-internal-secret", SECRET)).await.0, 200, "{path}");
    }
    cluster.close().await;
}

/// What other backends send: an empty list for an empty object, nothing at all, slashes too many, a form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_php_and_others_make_of_a_request_is_understood_or_explained() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |_| {}).await;
    let (node, ana) = (cluster.address(0), cluster.phone(0, &unique("ana")).await);
    let send = async |path: &str, body: &str| {
        let path = path.replace("ANA", &ana.user);
        post_bytes(node, &path, Some(SECRET), body.as_bytes().to_vec()).await
    };
    for path in ["/api/users/ANA/emit", "/api/users/ANA/emit/", "/api//users/ANA//emit"] {
        let (status, answer) = send(path, r#"{"event": "app:news", "data": []}"#).await;
        assert_eq!((status, &answer["emitted"]), (200, &json!(true)), "{path}: {answer}");
        assert_eq!(ana.expect("app:news").await, json!({}));
    }
    assert_eq!(get_with(node, "/api/connected-users/?limit=5", ("x-internal-secret", SECRET)).await.0, 200);
    assert_eq!(get(node, "/api/calls/CALL_1/").await.0, 401, "a slash opens nothing");
    assert_eq!(get_with(node, "/api/nothing/", ("x-internal-secret", SECRET)).await.0, 404);
    for (body, told) in [
        ("callId=CALL_1&receiverId=USR_1", "send JSON"),
        ("{\"callId\": \"CALL_1\"", "no JSON"),
        ("[1]", "must be a JSON object"),
        ("[]", "callId"),
        ("", "callId"),
    ] {
        let (status, answer) = send("/api/emit/call-ended", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_payload")), "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(told), "{body}: {answer}");
    }
    for body in ["", "[]", "{}"] {
        let (status, answer) = send(&format!("/api/users/{}/disconnect", unique("bo")), body).await;
        assert_eq!((status, &answer["success"]), (200, &json!(true)), "{body}: {answer}");
    }
    cluster.close().await;
}

/// The examples of the description are what a node understands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn examples_of_the_description_are_understood() {
    let cluster = Cluster::tuned(Backend::Memory, 1, |_| {}).await;
    let (admin, node) = (cluster.nodes[0].admin, cluster.address(0));
    let (_, api) = get(admin, "/openapi.json").await;
    let mut sent = 0;
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            if example.is_null() {
                continue;
            }
            let is_internal = operation["tags"][0] == "operations";
            let path = path.replace("{userId}", "USR_2002");
            let port = if is_internal { admin } else { node };
            let (status, answer) = post(port, &path, Some(SECRET), example.clone()).await;
            assert_eq!(status, 200, "{path}: {answer}");
            let listed = &operation["responses"]["200"]["content"]["application/json"]["example"];
            let wrong = answer.as_object().expect("an object").keys().find(|field| {
                !["reason", "useFcmFallback", "message", "state", "error"].contains(&field.as_str())
                    && listed[field.as_str()].is_null()
            });
            assert_eq!(wrong, None, "{path}: {answer}");
            sent += 1;
        }
    }
    assert_eq!(sent, 9, "requests with a body");
}
