//! The call inspector on the admin port: nodes, live calls, people, and why a phone did not ring.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use onlycare_signaling::call::CallId;
use onlycare_signaling::config::Drain;
use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get, get_with, post};
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster, Phone, Profile, until};
use crate::on_each_backend;

const SOON: Duration = Duration::from_secs(20);

async fn cluster(backend: Backend, nodes: usize) -> Cluster {
    Cluster::tuned(backend, nodes, |config| config.inspector = true).await
}

async fn ask(cluster: &Cluster, node: usize, path: &str) -> (u16, Value) {
    get(cluster.nodes[node].admin, &format!("/inspector/{path}")).await
}

/// The call once it has this cause: what phones did is written a moment later.
async fn with_cause(cluster: &Cluster, id: &str, cause: &str) -> Value {
    let mut seen = Value::Null;
    until(cause, SOON, async || {
        seen = ask(cluster, 0, &format!("calls/{id}")).await.1;
        seen["why"]["cause"] == cause
    })
    .await;
    seen
}

async fn ring(cluster: &Cluster, id: &str, caller: &str, callee: &str) -> Value {
    let body = json!({
        "callId": id, "callerId": caller, "receiverId": callee, "callType": "VIDEO", "channelName": "c",
        "agoraToken": "secret-agora-token",
    });
    cluster.post(0, "/api/calls", body).await.1
}

async fn ended(cluster: &Cluster, id: &str) {
    cluster.post(0, "/api/emit/call-ended", json!({"callId": id})).await;
}

on_each_backend! {
    async fn it_says_why_a_phone_did_not_ring(backend: Backend) {
        let cluster = cluster(backend, 2).await;
        let (ana, bo) = (unique("ana"), unique("bo"));

        let nobody = unique_call();
        ring(&cluster, &nobody, &ana, &bo).await;
        let call = with_cause(&cluster, &nobody, "no_phone").await;
        let sentence = call["why"]["sentence"].as_str().unwrap();
        assert!(sentence.starts_with(&format!("It did not ring: {bo} had no phone connected")), "{sentence}");
        ended(&cluster, &nobody).await;

        // It says that it acknowledges, and does not.
        let auth = json!({"token": "t", "userId": bo, "deviceId": "pixel-8", "acks": true});
        let silent = Phone::open_with(cluster.address(1), &bo, auth, false).await;
        silent.expect("session:ready").await;
        let unconfirmed = unique_call();
        ring(&cluster, &unconfirmed, &ana, &bo).await;
        let call = with_cause(&cluster, &unconfirmed, "unconfirmed").await;
        let told = format!("device pixel-8 of {bo} at node {} was told", cluster.nodes[1].id());
        assert!(call["why"]["sentence"].as_str().unwrap().contains(&told), "{call}");
        let delivered = call["course"].as_array().unwrap().iter().find(|step| step["text"] == "delivered").unwrap();
        assert_eq!((&delivered["way"], &delivered["party"]), (&json!("to_party"), &json!(format!("{bo} pixel-8"))));
        assert_eq!(delivered["node"], cluster.nodes[1].id().as_str());
        ended(&cluster, &unconfirmed).await;
        silent.expect("call:ended").await;
        drop(silent);
        cluster.has_left(&bo).await;
        let old = cluster.phone_with(1, Profile::deployed(&bo)).await;
        let cannot = unique_call();
        ring(&cluster, &cannot, &ana, &bo).await;
        with_cause(&cluster, &cannot, "cannot_confirm").await;
        ended(&cluster, &cannot).await;
        drop(old);
        cluster.has_left(&bo).await;
        let phone = cluster.phone_with(0, Profile::of(&bo).device("tablet")).await;
        let rang = unique_call();
        ring(&cluster, &rang, &ana, &bo).await;
        with_cause(&cluster, &rang, "rings").await;
        phone.reject(&rang).await;
        let call = with_cause(&cluster, &rang, "rejected").await;
        assert!(call["why"]["sentence"].as_str().unwrap().ends_with("on device tablet."), "{call}");
        assert!(!call.to_string().contains("secret-agora-token"), "{call}");

        assert_eq!(ask(&cluster, 1, "calls/CALL_17-never-was").await.0, 404);
        assert_eq!(ask(&cluster, 1, "calls/a%20b").await.0, 400);
        drop(phone);
        cluster.close().await;
    }

    async fn it_finds_people_and_what_makes_them_busy(backend: Backend) {
        let cluster = cluster(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
        let pixel = cluster.phone_with(1, Profile::of(&bo).device("pixel-8")).await;
        let tablet = cluster.phone_with(0, Profile::deployed(&bo).device("tablet")).await;
        let id = unique_call();
        ana.rings(&id, &pixel).await;
        pixel.accept(&id).await;
        let (status, person) = ask(&cluster, 0, &format!("users/{bo}")).await;
        assert_eq!(status, 200);
        let mut sessions: Vec<(String, String, bool)> = person["sessions"].as_array().unwrap().iter().map(|session| {
            let text = |name: &str| session[name].as_str().unwrap().to_owned();
            (text("device"), text("node"), session["acks"].as_bool().unwrap())
        }).collect();
        sessions.sort();
        let node = |node: usize| cluster.nodes[node].id().to_string();
        assert_eq!(sessions, [("pixel-8".into(), node(1), true), ("tablet".into(), node(0), false)]);
        assert_eq!((&person["call"]["callId"], &person["call"]["state"]), (&json!(id), &json!("active")));

        pixel.end(&id).await;
        ana.expect("call:ended").await;
        let person = ask(&cluster, 1, &format!("users/{bo}")).await.1;
        assert!(person["call"].is_null(), "{person}");
        assert_eq!((&person["ended"][0]["callId"], &person["ended"][0]["reason"]), (&json!(id), &json!("hung_up")));
        let nobody = ask(&cluster, 0, "users/USR_nobody").await;
        assert_eq!(nobody, (200, json!({"userId": "USR_nobody", "sessions": [], "unreadable": false, "ended": []})));
        assert_eq!(ask(&cluster, 0, "users/a%20b").await.0, 400);
        let (_, found) = ask(&cluster, 1, &format!("find/{bo}")).await;
        assert_eq!((&found["user"]["userId"], &found["call"]), (&json!(bo), &Value::Null));
        let (_, found) = ask(&cluster, 1, &format!("find/{id}")).await;
        assert_eq!((&found["call"]["why"]["cause"], &found["user"]), (&json!("answered"), &Value::Null));
        // A word of the backend's routes is no call's id.
        for nothing in ["USR_nobody", "accept"] {
            assert_eq!(ask(&cluster, 0, &format!("find/{nothing}")).await, (200, json!({"call": null, "user": null})));
        }
        assert_eq!(ask(&cluster, 0, "find/a%20b").await.0, 400);
        drop((ana, pixel, tablet));
        cluster.close().await;
    }

    /// However many calls live, a page is short, and the pages together are all of them.
    async fn live_calls_come_in_pages(backend: Backend) {
        let cluster = cluster(backend, 1).await;
        let ids: Vec<String> = (0..240).map(|_| unique_call()).collect();
        for id in &ids {
            ring(&cluster, id, &unique("ana"), &unique("bo")).await;
        }
        let (mut found, mut path, mut pages) = (Vec::new(), "calls".to_owned(), 0);
        loop {
            let (status, page) = ask(&cluster, 0, &path).await;
            assert_eq!((status, &page["total"]), (200, &json!(240)));
            let calls = page["calls"].as_array().unwrap();
            assert!(calls.len() <= 200, "{} calls on a page", calls.len());
            found.extend(calls.iter().map(|call| call["callId"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["nextCursor"].as_str() else { break };
            path = format!("calls?cursor={next}");
        }
        found.sort();
        found.dedup();
        match backend {
            Backend::Redis => assert_eq!((found.len(), pages > 2), (240, true)),
            // One node alone shows the first of them.
            Backend::Memory => assert_eq!((found.len(), pages), (200, 1)),
        }
        assert_eq!(ask(&cluster, 0, "calls?cursor=-1").await.0, 400);
        for id in &ids {
            ended(&cluster, id).await;
        }
        cluster.close().await;
    }

    async fn it_only_reads(backend: Backend) {
        let cluster = cluster(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let id = unique_call();
        ana.rings(&id, &bo).await;
        let stored = async || cluster.shared.calls.load(&CallId::parse(&id).unwrap()).await.unwrap().unwrap();
        let before = stored().await;
        let paths = [
            "", "/node", "/nodes", "/calls", &format!("/calls/{id}"), &format!("/text/{id}"), &format!("/users/{}", bo.user),
            &format!("/find/{id}"),
        ];
        for path in paths {
            let path = format!("/inspector{path}");
            assert_eq!(get(cluster.nodes[1].admin, &path).await.0, 200, "{path}");
            assert_eq!(post(cluster.nodes[1].admin, &path, None, json!({})).await.0, 405, "{path}");
            let public = get_with(cluster.address(0), &path, ("x-internal-secret", SECRET)).await;
            assert_eq!(public.0, 404, "{path} on the public port");
        }
        assert_eq!(stored().await, before);
        ana.assert_nothing_more().await;
        bo.assert_nothing_more().await;
        ana.cancel(&id).await;
        bo.expect("call:cancelled").await;
        drop((ana, bo));
        cluster.close().await;
    }
}

#[tokio::test]
async fn without_its_switch_there_is_none() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    for path in ["", "/node", "/nodes", "/calls", "/calls/1", "/text/1", "/users/1", "/inspector.js"] {
        assert_eq!(get(cluster.nodes[0].admin, &format!("/inspector{path}")).await.0, 404, "{path}");
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_how_each_node_stands() {
    let mut cluster = Cluster::tuned(Backend::Redis, 2, |config| {
        config.inspector = true;
        config.drain = Drain { delay: Duration::ZERO, window: Duration::ZERO };
    })
    .await;
    let ana = cluster.phone(1, &unique("ana")).await;
    let names = [0, 1].map(|node: usize| cluster.nodes[node].id().to_string());
    let mut seen = Value::Null;
    let mut says = async |node: usize, wanted: &str| {
        until(wanted, SOON, async || {
            seen = ask(&cluster, 0, "nodes").await.1;
            let shown = seen["nodes"].as_array().unwrap().iter().find(|shown| shown["node"] == *names[node]);
            let shown = shown.cloned().unwrap_or_default();
            match shown["lives"].as_bool() {
                Some(true) => shown["says"]["state"] == wanted,
                Some(false) | None => wanted == "gone",
            }
        })
        .await;
        seen.clone()
    };
    says(0, "ready").await;
    let both = says(1, "ready").await;
    let of = |name: &str| both["nodes"].as_array().unwrap().iter().find(|shown| shown["node"] == *name).unwrap();
    assert_eq!((&of(&names[0])["isSelf"], &of(&names[1])["isSelf"]), (&json!(true), &json!(false)));
    assert_eq!(of(&names[1])["says"]["sessions"], 1);
    for name in ["storeMs", "busMs"] {
        assert!(of(&names[1])["says"][name].as_u64().unwrap() < 60_000, "{both}");
    }
    cluster.nodes[1].drain().await;
    says(1, "stopping").await;
    drop(ana);
    cluster.nodes.pop().unwrap().stop().await;
    cluster.close().await;
}

/// Runs `onlycare-signaling call` and gives its exit code with what it said.
async fn call(arguments: &[&str], variables: &[(&str, String)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onlycare-signaling"));
    command.current_dir(std::env::temp_dir()).env_clear().arg("call").args(arguments);
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    let run = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
    let output = run.await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_shows_the_same() {
    let cluster = cluster(Backend::Memory, 2).await;
    let (ana, bo) = (unique("ana"), unique("bo"));
    // A name that would clear the screen and turn the line round.
    let device = "pix\u{1b}[2J\u{202e}el\r\n";
    let phone = cluster.phone_with(1, Profile::of(&bo).device(device)).await;
    let caller = cluster.phone_with(0, Profile::of(&ana).device("a1")).await;
    let id = unique_call();
    caller.emit("call:initiate", initiate(&id, &bo));
    phone.expect("call:incoming").await;
    with_cause(&cluster, &id, "rings").await;
    phone.reject(&id).await;
    // What the other node has to say comes a moment later.
    let mut shown = Value::Null;
    until("all steps", SOON, async || {
        shown = ask(&cluster, 0, &format!("calls/{id}")).await.1;
        shown["why"]["cause"] == "rejected" && shown["course"].as_array().unwrap().len() == 4
    })
    .await;

    let admin = format!("http://{}", cluster.nodes[0].admin);
    let (code, said) = call(&[&id, &admin], &[]).await;
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<&str> = said.trim_end().lines().collect();
    assert!(lines[0].starts_with(&format!("{id}: {ana} calls {bo}, AUDIO; ended, rejected; created ")), "{said}");
    assert_eq!(lines.last(), shown["why"]["sentence"].as_str().as_ref());
    assert_eq!(lines.len(), shown["course"].as_array().unwrap().len() + 4, "{said}");
    let delivered = lines.iter().find(|line| line.ends_with("  delivered")).expect("it is listed");
    assert!(delivered.contains(&format!("{bo} pix[2Jel  <--  {}", cluster.nodes[1].id())), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{said:?}");

    // Which node is asked follows from the configuration, as that node has it.
    let own = [("ADMIN_PORT", cluster.nodes[1].admin.port().to_string())];
    assert_eq!(call(&[&id], &own).await, (Some(0), said));

    let refused = async |arguments: &[&str], wanted: &str| {
        let (code, said) = call(arguments, &[]).await;
        assert!(code == Some(1) && said.contains(wanted), "{code:?} {said}");
    };
    refused(&["CALL_never-was", &admin], "no such call").await;
    refused(&["../nodes", &admin], "1 to 64 characters").await;
    refused(&[&id, "https://127.0.0.1:1"], "no address of an admin port").await;
    refused(&[&id, "not an address"], "no address of an admin port").await;
    let silent: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&[&id, &format!("http://{silent}")], "no node answers").await;
    let without = Cluster::start(Backend::Memory, 1).await;
    refused(&[&id, &format!("http://{}", without.nodes[0].admin)], "INSPECTOR=on").await;
    without.close().await;
    assert_eq!(call(&[], &[]).await.0, Some(2));
    drop((phone, caller));
    cluster.close().await;
}
