//! Whatever a phone sends: an answer where one was asked for, and nobody else is disturbed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, post_bytes};
use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster};

const EVENTS: [&str; 14] = [
    "call:initiate",
    "call:accept",
    "call:reject",
    "call:cancel",
    "call:end",
    "call:ringing",
    "call:message",
    "call:upgrade",
    "call:upgrade:response",
    "call:downgrade",
    "presence:subscribe",
    "presence:unsubscribe",
    "no:such:event",
    "",
];

fn hostile() -> Vec<String> {
    let deep = format!("{}1{}", "[".repeat(3000), "]".repeat(3000));
    let mut payloads: Vec<String> = [
        json!(null),
        json!(true),
        json!(-1.5e300),
        json!("text"),
        json!([]),
        json!([1, [2]]),
        json!({}),
        json!({"callId": null}),
        json!({"callId": 5}),
        json!({"callId": {}}),
        json!({"callId": ""}),
        json!({"callId": "x".repeat(65)}),
        json!({"callId": "../../etc"}),
        json!({"callId": "CALL_0\u{0}"}),
        json!({"callId": "no-such-call", "reason": {"x": 1}}),
        json!({"callId": "no-such-call", "receiverId": []}),
        json!({"callId": "no-such-call", "blob": "x".repeat(1_000_000)}),
        // More than an event may be, and no more than a hang-up is read in.
        json!("x".repeat(17_000)),
        json!(vec!["x"; 6000]),
        json!(vec![json!({"callId": "x"}); 1500]),
        json!(vec![0; 100_000]),
        json!({"callId": "x".repeat(17_000)}),
        json!({"callId": vec![0; 9000]}),
    ]
    .iter()
    .map(Value::to_string)
    .collect();
    payloads.push(deep.clone());
    payloads.push(format!("{{\"callId\":{deep}}}"));
    for odd in odd_values() {
        payloads.push(odd.clone());
        payloads.push(format!(r#"{{"callId":{odd},"userIds":{odd}}}"#));
        let others = ["receiverId", "callType", "channelName", "agoraToken", "userIds", "data", "reason"];
        let others: Vec<String> = others.iter().map(|field| format!("{}:{odd}", json!(field))).collect();
        payloads.push(format!(r#"{{"callId":"no-such-call",{}}}"#, others.join(",")));
    }
    payloads
}

/// What a browser's `JSON.stringify` yields or its `JSON.parse` takes, and a strict reader does not.
fn odd_values() -> Vec<String> {
    let deep = |open: &str, close: &str| format!("{}0{}", open.repeat(2000), close.repeat(2000));
    [
        r#""x \ud83d""#,
        r#""\ude00 x""#,
        r#""\ud83d\ud83d\ude00 \"\\ud83d""#,
        r#"{"a\udfff":["\ud800"]}"#,
        "1e400",
        "-1e400",
        r#"{"n":[1E+999]}"#,
        "null",
        "true",
        "-0.5e-7",
        "\"\"",
        "[]",
        "{}",
        r#"["x"]"#,
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([deep("[", "]"), deep(r#"{"x":"#, "}"), "9".repeat(500), json!("x".repeat(3000)).to_string()])
    .collect()
}

/// What else comes with a command: the text between its call's id and the end of the object.
fn odd_fields() -> Vec<String> {
    let odd = odd_values();
    let named = |name: &'static str| odd.iter().map(move |odd| format!(",{}:{odd}", json!(name)));
    let long = json!("x".repeat(20_000));
    named("reason")
        .chain(named("unneeded"))
        .chain([
            r#","\ud83d":1,"unneeded":"\ud83d""#.to_owned(),
            format!(r#","unneeded":{long}"#),
            format!(r#","reason":{long},"unneeded":1e400"#),
            format!(r#","reason":"\ud83d","unneeded":{long}"#),
            format!(r#","unneeded":{}"#, json!("x".repeat(1_000_000))),
            format!(r#","reason":{}"#, json!(vec![0; 500_000])),
        ])
        .collect()
}

/// Whatever comes beside its call's id, a command is obeyed: a rejection that is refused lets the caller ring on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_that_is_not_needed_refuses_a_command() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    for event in ["call:reject", "call:cancel", "call:end", "call:accept"] {
        for fields in odd_fields() {
            let id = unique_call();
            ana.rings(&id, &bo).await;
            let by = if event == "call:cancel" { &ana } else { &bo };
            let ack = by.ask_raw(&format!(r#"["{event}",{{"callId":"{id}"{fields}}}]"#), event).await;
            let shown = &fields[..fields.len().min(60)];
            assert_eq!(ack["success"], true, "{event} {shown}: {ack}");
            match event {
                "call:reject" => {
                    let reason = ana.expect("call:rejected").await["reason"].clone();
                    assert!(!reason.as_str().unwrap().is_empty(), "{shown}: {reason}");
                    if fields.starts_with(r#","reason":"x \ud83d""#) {
                        assert_eq!(reason, "x \u{fffd}");
                    }
                }
                "call:cancel" => drop(bo.expect("call:cancelled").await),
                "call:end" => drop(ana.expect("call:ended").await),
                _ => {
                    ana.expect("call:accepted").await;
                    ana.end(&id).await;
                    bo.expect("call:ended").await;
                }
            }
        }
    }
    drop((ana, bo));
    cluster.close().await;
}

/// The same from Laravel; and its call rings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_that_is_not_needed_refuses_laravels_word() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let (caller, callee) = (&ana.user, &bo.user);
    for (path, name) in [
        ("call-rejected", "unneeded"),
        ("call-cancelled", "unneeded"),
        ("call-ended", "endedBy"),
        ("call-accepted", "deviceId"),
    ] {
        for fields in odd_fields().into_iter().filter(|fields| fields.len() < 200_000) {
            let (id, fields) = (unique_call(), fields.replace("unneeded", name));
            ana.rings(&id, &bo).await;
            let body = format!(r#"{{"callId":"{id}","callerId":"{caller}","receiverId":"{callee}"{fields}}}"#);
            let path = format!("/api/emit/{path}");
            let (status, answer) = post_bytes(cluster.address(0), &path, Some(SECRET), body.into_bytes()).await;
            let shown = &fields[..fields.len().min(60)];
            assert_eq!((status, &answer["success"]), (200, &json!(true)), "{path} {shown}: {answer}");
            assert_ne!(cluster.state(&id).await.0, "ringing", "{path} {shown}");
            ana.end(&id).await;
        }
    }
    drop((ana, bo));
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let mut body = initiate(&unique_call(), &bo.user);
    (body["callerId"], body["note"], body["name"]) = (json!(ana.user), json!("HALF"), json!("ANDRE"));
    let body = body.to_string().replace("HALF", r"\ud83d");
    let (begin, end) = body.split_once("ANDRE").unwrap();
    let latin = [begin.as_bytes(), b"Andr\xe9", end.as_bytes()].concat();
    let (status, answer) = post_bytes(cluster.address(0), "/api/calls", Some(SECRET), latin).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    let incoming = bo.expect("call:incoming").await;
    assert_eq!((&incoming["note"], &incoming["name"]), (&json!("\u{fffd}"), &json!("Andr\u{fffd}")));
    bo.reject(incoming["callId"].as_str().unwrap()).await;
    drop((ana, bo));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_survives_every_payload() {
    let cluster =
        Cluster::tuned(Backend::Memory, 1, |config| config.policy.ring_timeout = Duration::from_secs(180)).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    let eve = cluster.phone(0, &unique("eve")).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    for event in EVENTS {
        let name = json!(event);
        let mut arrays = vec![format!("[{name}]"), format!("[{name},{{\"callId\":\"{id}\"}}]")];
        arrays.extend(hostile().iter().map(|payload| format!("[{name},{payload}]")));
        for array in arrays {
            eve.send_raw(format!("42{array}"));
            let ack = eve.ask_raw(&array, event).await;
            let shown = &array[..array.len().min(120)];
            // A list of nobody, or of somebody unknown, is a list.
            let list = event.starts_with("presence:") && ack["users"].is_object();
            assert_eq!(ack["success"], list, "{shown}: {ack}");
            assert!(ack["code"].is_string() || event.starts_with("presence:"), "{shown}: {ack}");
        }
    }
    assert!(ana.keep_connected() && bo.keep_connected());
    bo.assert_nothing_more().await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;
    ana.end(&id).await;
    drop((ana, bo, eve));
    cluster.close().await;
}

/// Broken packets end the socket that sent them, if any, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_packets_hurt_their_sender_only() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    for packet in [
        "4",
        "42",
        "42[",
        "42[1]",
        "42{}",
        "429999999999999999999[\"call:end\"]",
        "43",
        "439[]",
        "44",
        "451-[]",
        "451-[\"call:end\",{\"_placeholder\":true,\"num\":0}]",
        "9",
        "b",
        "42[\"\u{e9}\",1",
        "40",
        "40{}",
        "41/x,",
        "42/other,[\"call:end\"]",
        "3probe",
        "5",
        "6",
    ] {
        let eve = cluster.phone(0, &unique("eve")).await;
        eve.send_raw(packet.to_owned());
        let _ = cluster.get(0, "/health").await;
    }
    let id = unique_call();
    ana.rings(&id, &bo).await;
    ana.cancel(&id).await;
    bo.expect("call:cancelled").await;
    assert_eq!(cluster.get(0, "/health").await.0, 200);
}

/// A ring screen gets all it needs or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_initiate_rings_nobody() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    for field in ["receiverId", "callId", "callType", "channelName", "agoraToken"] {
        for value in [None, Some(json!(null)), Some(json!(7))] {
            let mut payload = initiate(&unique_call(), &bo.user);
            match value {
                Some(value) => payload[field] = value,
                None => drop(payload.as_object_mut().unwrap().remove(field)),
            }
            let ack = ana.ask("call:initiate", payload).await;
            assert_eq!((&ack["success"], &ack["code"]), (&json!(false), &json!("invalid_payload")), "{field}");
            assert!(ack["error"].as_str().unwrap().contains(field), "the error names the field: {ack}");
        }
    }
    let mut oneself = initiate(&unique_call(), &ana.user);
    assert_eq!(ana.ask("call:initiate", oneself.clone()).await["code"], "invalid_payload");
    oneself["receiverId"] = bo.user.as_str().into();
    oneself["callType"] = "HOLOGRAM".into();
    assert_eq!(ana.ask("call:initiate", oneself.clone()).await["code"], "invalid_payload");
    oneself["callType"] = "video".into();
    oneself["extra"] = "x".repeat(5000).into();
    assert_eq!(ana.ask("call:initiate", oneself.clone()).await["code"], "invalid_payload");
    // What a payload claims of its sender is not believed.
    oneself["extra"] = json!({"n": [1, 2]});
    oneself["callerId"] = "USR_forged".into();
    oneself["callerName"] = "Forged".into();
    oneself["agoraToken"] = "".into();
    assert_eq!(ana.ask("call:initiate", oneself).await["success"], true);
    let incoming = bo.expect("call:incoming").await;
    assert_eq!((&incoming["callerId"], &incoming["callerName"]), (&json!(ana.user), &json!(ana.user)));
    assert_eq!((&incoming["callType"], &incoming["extra"]), (&json!("video"), &json!({"n": [1, 2]})));
    assert!(incoming.get("receiverId").is_none());
}

/// Events of one phone are handled in the order in which it sent them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_phones_events_keep_their_order() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(0, &unique("bo")).await);
    for _ in 0..30 {
        let id = unique_call();
        ana.emit("call:initiate", initiate(&id, &bo.user));
        ana.emit("call:cancel", json!({"callId": id}));
        assert_eq!(bo.expect("call:incoming").await["callId"], id.as_str());
        assert_eq!(bo.expect("call:cancelled").await["callId"], id.as_str());
    }
    bo.assert_nothing_more().await;
}
