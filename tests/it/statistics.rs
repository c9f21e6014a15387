//! What a call was like, in its webhook and over HTTP; what many were like.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cluster::{SECRET, get_with};
use crate::harness::phone::{unique, unique_call};
use crate::harness::receiver::Receiver;
use crate::harness::{Backend, Cluster, Profile, until};
use crate::on_each_backend;

async fn asked(cluster: &Cluster, node: usize, path: &str) -> (u16, Value) {
    get_with(cluster.address(node), path, ("x-internal-secret", SECRET)).await
}

on_each_backend! {
    /// Ring, confirmation, talk by type, who was away: the same in the webhook and in the record.
    async fn a_call_tells_what_it_was_like(backend: Backend) {
        let receiver = Receiver::start().await;
        let cluster = Cluster::tuned(backend, 2, |config| receiver.hears_of(config)).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, unique("bo"));
        let phone = cluster.phone_with(1, Profile::of(&bo)).await;
        let id = unique_call();
        ana.rings(&id, &phone).await;
        phone.accept(&id).await;
        ana.expect("call:accepted").await;
        phone.vanish();
        let away = async || {
            let call = cluster.shared.calls.load(&onlycare_signaling::call::CallId::parse(&id).unwrap()).await.unwrap().unwrap();
            call.callee.absent_since.is_some()
        };
        until("he is away", Duration::from_secs(15), away).await;
        let phone = cluster.phone_with(0, Profile::of(&bo)).await;
        until("he is back", Duration::from_secs(15), async || !away().await).await;
        ana.ask("call:upgrade", json!({"callId": id})).await;
        phone.expect("call:upgrade:request").await;
        phone.ask("call:upgrade:response", json!({"callId": id, "accepted": true})).await;
        tokio::time::sleep(Duration::from_millis(20)).await; // talks by video
        ana.end(&id).await;
        let data = receiver.expect(&id, "call.ended").await.data;
        let (_, record) = asked(&cluster, 1, &format!("/api/calls/{id}")).await;
        for name in ["ringMs", "confirmMs", "talkMs", "talkMsByType", "receiverReconnects", "receiverAwayMs", "endedBy", "reason"] {
            assert!(data.get(name).is_some(), "{name}: {data}");
            assert_eq!(data[name], record[name], "{name}");
        }
        let millis = |name: &str| data[name].as_u64().unwrap();
        assert_eq!(millis("receiverReconnects"), 1);
        assert_eq!(millis("ringMs"), data["acceptedAt"].as_u64().unwrap() - data["createdAt"].as_u64().unwrap());
        assert!(millis("confirmMs") <= millis("ringMs"));
        let by_type = data["talkMsByType"].as_object().unwrap();
        assert_eq!(by_type.values().map(|time| time.as_u64().unwrap()).sum::<u64>(), millis("talkMs"), "{data}");
        assert!(by_type["VIDEO"].as_u64().unwrap() >= 20, "{data}");
        for never in ["callerReconnects", "callerAwayMs"] {
            assert!(data.get(never).is_none() && record.get(never).is_none(), "{never}: {data}");
        }
        cluster.close().await;
    }

    /// By any node, at once, and by type; a question without a secret or of no time is refused.
    async fn what_many_calls_were_like(backend: Backend) {
        let cluster = Cluster::start(backend, 2).await;
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let empty = asked(&cluster, 0, "/api/stats").await;
        assert_eq!((empty.0, &empty.1["calls"], &empty.1["types"]), (200, &json!(0), &json!({})));
        assert!(empty.1.get("successRatio").is_none());
        for _ in 0..2 {
            ana.completes_call(&bo).await;
        }
        let id = unique_call();
        ana.rings(&id, &bo).await;
        bo.reject(&id).await;
        ana.expect("call:rejected").await;
        let (status, stats) = asked(&cluster, 1, "/api/stats").await;
        assert_eq!(status, 200, "{stats}");
        assert_eq!((&stats["calls"], &stats["answered"]), (&json!(3), &json!(2)));
        assert_eq!(stats["outcomes"], json!({"hung_up": 2, "rejected": 1}));
        assert!((stats["successRatio"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(stats["types"]["AUDIO"]["calls"], 3);
        assert!(stats["ringMs"]["median"].is_u64() && stats["talkMs"]["p95"].is_u64(), "{stats}");
        assert!(!stats.to_string().contains(&ana.user) && !stats.to_string().contains(&id), "no ids");
        let of_then = asked(&cluster, 0, "/api/stats?from=1000&to=2000").await;
        assert_eq!((of_then.0, &of_then.1["calls"]), (200, &json!(0)));
        for nonsense in ["from=x", "from=-1", "from=5&to=4", "from=0", "to=1e99"] {
            let (status, body) = asked(&cluster, 0, &format!("/api/stats?{nonsense}")).await;
            assert_eq!((status, &body["code"]), (400, &json!("invalid_payload")), "{nonsense}");
        }
        assert_eq!(cluster.get(0, "/api/stats").await.0, 401);
        cluster.close().await;
    }
}
