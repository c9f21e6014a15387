//! Whatever a phone sends: an answer where one was asked for, and nobody else is disturbed.

use serde_json::{Value, json};

use crate::harness::phone::{initiate, unique, unique_call};
use crate::harness::{Backend, Cluster};

const EVENTS: [&str; 13] = [
    "call:initiate",
    "call:accept",
    "call:reject",
    "call:cancel",
    "call:end",
    "call:ringing",
    "call:message",
    "call:upgrade",
    "call:upgrade:response",
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
    ]
    .iter()
    .map(Value::to_string)
    .collect();
    payloads.push(deep.clone());
    payloads.push(format!("{{\"callId\":{deep}}}"));
    payloads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_survives_every_payload() {
    let cluster = Cluster::start(Backend::Memory, 1).await;
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
            assert_eq!(ack["success"], false, "{shown}: {ack}");
            let supported = !event.starts_with("call:upgrade") && !event.starts_with("presence:");
            assert!(ack["code"].is_string() || !supported, "{shown}: {ack}");
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
