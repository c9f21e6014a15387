//! What a node of another version left in the store: one foreign item of each kind is nobody else's trouble.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use onlycare_signaling::call::UserId;
use serde_json::json;

use crate::harness::phone::{unique, unique_call};
use crate::harness::redis::Redis;
use crate::harness::{Cluster, Phone};

const PHONES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);
const ODD: &str = r#"{"from_tomorrow":{"x":1}}"#;

/// A Redis of its own with one node on it, so that what is stored can be spoiled.
struct Stage {
    redis: Redis,
    cluster: Cluster,
    prefix: String,
    phones: Vec<Phone>,
}

impl Stage {
    async fn set() -> Self {
        let redis = Redis::start();
        let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
        let phones = (0..PHONES).map(|number| {
            let cluster = &cluster;
            async move { cluster.phone(number % 2, &unique("bo")).await }
        });
        let phones = join_all(phones).await;
        let keys = redis.command(&["--scan", "--pattern", "{*:c}:generation"]);
        let prefix = keys.trim_start_matches('{').split(':').next().expect("a prefix").to_owned();
        Self { redis, cluster, prefix, phones }
    }

    fn calls(&self, rest: &str) -> String {
        format!("{{{}:c}}:{rest}", self.prefix)
    }

    fn do_in_redis(&self, command: &[&str]) -> String {
        let answer = self.redis.command(command);
        assert!(!answer.starts_with("ERR") && !answer.starts_with("WRONG"), "{command:?}: {answer}");
        answer
    }

    /// A live call in a state that nobody here knows, on the line of `user`.
    fn foreign_call(&self, id: &str, user: &str) -> String {
        let record = json!({
            "id": id, "spelled": id, "version": {"counter": 9, "nonce": 9}, "created_at": 1, "ring_until": 2,
            "caller": {"user": "USR_tomorrow"}, "callee": {"user": user},
            "terms": {"caller_grace": 1, "call_grace": 1, "max": 1, "accept_hold": 1},
            "state": {"from_tomorrow": {"x": 1}},
        });
        let record = record.to_string();
        self.do_in_redis(&["HSET", &self.calls(&format!("call:{id}")), "v", "9:9", "live", "1", "d", &record]);
        self.do_in_redis(&["SET", &self.calls(&format!("line:{user}")), id]);
        self.do_in_redis(&["ZADD", &self.calls("due"), "0", id]);
        record
    }

    async fn is_registered(&self, phone: &Phone) -> bool {
        let user = UserId::parse(&phone.user).expect("a user id");
        self.cluster.shared.sessions.sessions(&user).await.is_ok_and(|sessions| !sessions.is_empty())
    }

    /// Takes all sessions out of the store; each node registers its own again when its connection was cut.
    fn forget_sessions(&self) {
        let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
        self.do_in_redis(&["EVAL", script, "0", &format!("{{{}:p*sessions:*", self.prefix)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_registered_again_and_can_be_called_beside_one_foreign_item_of_each_kind() {
    let stage = Stage::set().await;
    let phones = &stage.phones;
    let user = |number: usize| phones[number].user.as_str();
    stage.forget_sessions();

    stage.do_in_redis(&["LPUSH", &stage.calls(&format!("outcomes:{}", user(0))), ODD]);
    stage.do_in_redis(&["LPUSH", &stage.calls(&format!("outcomes:{}", user(1))), "nothing of ours"]);
    let (gone, live) = (unique_call(), unique_call());
    let (gone, live) = (gone.trim_start_matches("CALL_"), live.trim_start_matches("CALL_"));
    stage.foreign_call(gone, "USR_nobody");
    let outcome = json!({"call_id": gone, "spelled": gone, "reason": "odd", "ended_at": 1}).to_string();
    stage.do_in_redis(&["LPUSH", &stage.calls(&format!("outcomes:{}", user(2))), &outcome]);
    let record = stage.foreign_call(live, user(3));
    stage.do_in_redis(&["SET", &stage.calls(&format!("notice:{}", user(4))), "no id at all"]);
    for (number, session) in [(5, ODD.to_owned()), (6, "nothing of ours".to_owned())] {
        // Whichever shard is his.
        for shard in 0..64 {
            let key = format!("{{{}:p{shard}}}:sessions:{}", stage.prefix, user(number));
            stage.do_in_redis(&["HSET", &key, "n9|7|odd", &session]);
        }
    }
    stage.do_in_redis(&["HSET", &format!("{{{}:n}}:nodes", stage.prefix), "n9", ODD]);
    stage.do_in_redis(&["ZADD", &format!("{{{}:n}}:leases", stage.prefix), "9999999999999", "n9"]);
    stage.do_in_redis(&["CLIENT", "KILL", "TYPE", "normal"]);

    let started = Instant::now();
    loop {
        let registered = join_all(phones.iter().map(|phone| stage.is_registered(phone))).await;
        if registered.iter().all(|registered| *registered) {
            break;
        }
        let missing = registered.iter().filter(|registered| !**registered).count();
        assert!(started.elapsed() < PATIENCE, "{missing} of {PHONES} phones were not registered again");
        tokio::time::sleep(Duration::from_millis(100)).await; // the store tells nobody
    }

    // Everybody but the one on the foreign line can be called, from the other node.
    for number in [0, 1, 2, 4, 5, 6] {
        let (caller, callee) = (&phones[number + 11], &phones[number]);
        let call = unique_call();
        caller.rings(&call, callee).await;
        assert_eq!(callee.accept(&call).await["success"], true);
        caller.expect("call:accepted").await;
        assert_eq!(caller.end(&call).await["success"], true);
        callee.expect("call:ended").await;
    }
    // He is busy, and so is everybody for him: nobody here may end what holds his line.
    let busy = phones[20].call(&unique_call(), user(3)).await;
    assert_eq!((&busy["success"], &busy["busy"]), (&json!(false), &json!(true)), "{busy}");
    let busy = phones[3].call(&unique_call(), user(21)).await;
    assert_eq!(busy["success"], false, "{busy}");
    // His word about it is answered at once, and nothing is decided.
    let answer = phones[3].end(live).await;
    assert_eq!((&answer["success"], &answer["code"]), (&json!(false), &json!("unavailable")), "{answer}");
    // A foreign deadline among others: those of a ring without anybody are still judged.
    let call = unique_call();
    phones[22].call(&call, &unique("nobody")).await;
    assert_eq!(phones[22].cancel(&call).await["success"], true);

    let stored = stage.do_in_redis(&["HGET", &stage.calls(&format!("call:{live}")), "d"]);
    assert_eq!(stored, record, "nobody wrote over it");
    assert_eq!(stage.do_in_redis(&["GET", &stage.calls(&format!("line:{}", user(3)))]), live, "it keeps its line");
    for phone in phones {
        assert!(phone.keep_connected());
    }
}
