//! A store that half works: it answers reads and refuses writes. No node drains, no phone is dropped, none is sent away
//! by a load balancer, no process ends, and a start waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use onlycare_signaling::app::{App, AppError};
use onlycare_signaling::config::Config;
use serde_json::json;

use crate::harness::cluster::{config, get};
use crate::harness::phone::{Profile, unique, unique_call};
use crate::harness::proxy::Proxy;
use crate::harness::redis::{Redis, free_port};
use crate::harness::{Cluster, Phone, until};
use crate::processes::{Node, prefix};

/// Longer than a node without a lease waits before it looks around twice.
const TROUBLE: Duration = Duration::from_secs(24);
const RECOVERY: Duration = Duration::from_secs(15);

async fn is_ready(node: &App) -> bool {
    get(node.admin, "/ready").await.0 == 200
}

async fn holds_lease(node: &App) -> bool {
    get(node.admin, "/lease").await.0 == 200
}

/// Three nodes and an accepted call while Redis is in this trouble. `leases`: whether renewals go through all the same.
async fn all_stay(redis: &Redis, leases: bool, begin: impl FnOnce(), mend: impl FnOnce()) {
    let cluster = Cluster::on(&[redis.url(), redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let cleo = cluster.phone(2, &unique("cleo")).await;
    let id = unique_call();
    ana.rings(&id, &bo).await;
    bo.accept(&id).await;
    ana.expect("call:accepted").await;

    begin();
    let in_trouble = async {
        let started = Instant::now();
        let refused = cleo.call(&unique_call(), &unique("nobody")).await;
        assert_eq!(refused["code"], "unavailable", "{refused}");
        while started.elapsed() < TROUBLE {
            for node in &cluster.nodes {
                assert!(is_ready(node).await, "not ready after {:?}, though nobody is better off", started.elapsed());
                assert_eq!(get(node.admin, "/live").await.0, 200);
            }
            tokio::time::sleep(Duration::from_millis(250)).await; // the trouble itself
        }
        for node in &cluster.nodes {
            assert_eq!(holds_lease(node).await, leases, "the fact is told as it is");
        }
        // Waits for the store, where that is needed.
        let ended = ana.end(&id).await;
        assert!(ended["success"] == true || ended["code"] == "unavailable", "{ended}");
    };
    let isolated = select_all(cluster.nodes.iter().map(|node| Box::pin(node.isolated())));
    let failed = select_all(cluster.nodes.iter().map(|node| Box::pin(node.failed())));
    tokio::select! {
        () = in_trouble => {}
        _ = isolated => panic!("a node lets its phones go, though nobody is better off"),
        _ = failed => panic!("a node stops"),
    }
    mend();
    until("all have their leases", RECOVERY, async || {
        join_all(cluster.nodes.iter().map(holds_lease)).await.into_iter().all(|holds| holds)
    })
    .await;
    bo.expect("call:ended").await;
    let online = cluster.shared.sessions.clone();
    until("all are online", RECOVERY, async || online.online_count().await.is_ok_and(|online| online == 3)).await;
    for phone in [&ana, &bo, &cleo] {
        assert!(phone.keep_connected(), "{} lost its connection: {:?}", phone.user, phone.fate());
    }
    let next = unique_call();
    cleo.rings(&next, &ana).await;
    assert_eq!(cleo.cancel(&next).await["success"], true);
    ana.expect("call:cancelled").await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_whose_only_replica_was_killed() {
    let redis = Redis::start_with(&["--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
    let mut replica = Redis::start_with(&["--replicaof", "127.0.0.1", &redis.port.to_string()]);
    let follows = async || redis.command(&["INFO", "replication"]).contains("state=online");
    until("the replica follows", Duration::from_secs(30), follows).await;
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let writes = async || redis.command(&["SET", "x", "1"]) == "OK";
    until("it takes writes", Duration::from_secs(30), writes).await;
    let mend = || assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    let begin = || {
        replica.stop();
        while redis.command(&["SET", "x", "1"]) == "OK" {}
    };
    all_stay(&redis, false, begin, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_pauses_writes() {
    let redis = Redis::start();
    let begin = || assert_eq!(redis.command(&["CLIENT", "PAUSE", "100000", "WRITE"]), "OK");
    let mend = || assert_eq!(redis.command(&["CLIENT", "UNPAUSE"]), "OK");
    all_stay(&redis, false, begin, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_user_that_may_not_write() {
    let redis = Redis::start();
    let begin = || assert_eq!(redis.command(&["ACL", "SETUSER", "default", "-@write"]), "OK");
    let mend = || assert_eq!(redis.command(&["ACL", "SETUSER", "default", "+@all"]), "OK");
    all_stay(&redis, false, begin, mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_became_a_replica() {
    let redis = Redis::start();
    let nowhere = free_port().to_string();
    let begin = || assert_eq!(redis.command(&["REPLICAOF", "127.0.0.1", &nowhere]), "OK");
    let mend = || assert_eq!(redis.command(&["REPLICAOF", "NO", "ONE"]), "OK");
    all_stay(&redis, false, begin, mend).await;
}

/// Renewals go on, so that what is out of memory is not out of nodes too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_out_of_memory_keeps_the_nodes() {
    let redis = Redis::start();
    let begin = || assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let mend = || assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    all_stay(&redis, true, begin, mend).await;
}

/// A node that alone has lost the store is not ready, and is ready once nobody has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ready_unless_another_is_better_off() {
    let redis = Redis::start();
    let (near, far) = (Proxy::before(redis.port).await, Proxy::before(redis.port).await);
    let url = |proxy: &Proxy| format!("redis://{}", proxy.address);
    let cluster = Cluster::on(&[url(&far), url(&near)]).await;
    let [well, cut] = &cluster.nodes[..] else { panic!("two nodes") };
    near.cut();
    until("it knows that it is cut off", Duration::from_secs(15), async || !is_ready(cut).await).await;
    assert!(is_ready(well).await && holds_lease(well).await && !holds_lease(cut).await);
    far.cut();
    until("nobody is better off", Duration::from_secs(15), async || is_ready(cut).await).await;
    until("the other lost it too", Duration::from_secs(15), async || !holds_lease(well).await).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(5) {
        assert!(is_ready(well).await && is_ready(cut).await, "both stay ready");
    }
    near.mend();
    far.mend();
    until("both have it", RECOVERY, async || holds_lease(well).await && holds_lease(cut).await).await;
    // The one that has it again a moment earlier is better off for that moment.
    until("both are ready", RECOVERY, async || is_ready(well).await && is_ready(cut).await).await;
    cluster.close().await;
}

/// The only other node drains: nobody is better off there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_drains_is_not_better_off() {
    let redis = Redis::start();
    let near = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[redis.url(), format!("redis://{}", near.address)]).await;
    let [leaving, cut] = &cluster.nodes[..] else { panic!("two nodes") };
    let drained = async {
        leaving.drain().await;
        std::future::pending::<()>().await;
    };
    let stays = async {
        until("it drains", Duration::from_secs(5), async || !is_ready(leaving).await).await;
        near.cut();
        let since = Instant::now();
        while since.elapsed() < TROUBLE {
            assert!(is_ready(cut).await, "not ready, though its only peer drains");
            tokio::time::sleep(Duration::from_millis(100)).await; // the trouble itself
        }
    };
    tokio::select! {
        () = drained => {}
        () = stays => {}
        () = cut.isolated() => panic!("the last node lets its phones go"),
    }
}

/// A start waits for a store that refuses, loads, or is away; answers probes meanwhile, and refuses phones.
async fn a_start_waits(redis: Redis, begin: &[&str], mend: &[&str]) {
    assert!(redis.command(begin).contains("OK"));
    let (port, admin) = (free_port(), free_port());
    let (prefix, url) = (prefix(), redis.url());
    let pairs = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_PREFIX", &prefix),
        ("PORT", &port.to_string()),
        ("ADMIN_PORT", &admin.to_string()),
    ];
    let configuration = config(&pairs);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let started = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&started);
    let starting = tokio::spawn(async move {
        let node = App::start(configuration).await;
        done.store(true, Ordering::Relaxed);
        node
    });
    let (public, admin) = (([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], admin).into());
    let open = async || tokio::net::TcpStream::connect(admin).await.is_ok();
    until("the admin port is open", Duration::from_secs(10), open).await;
    let since = Instant::now();
    // Before, it gave up after five attempts, a second apart or as long as a command may take.
    while since.elapsed() < Duration::from_secs(17) {
        assert!(!started.load(Ordering::Relaxed), "the start did not wait");
        assert_eq!(get(admin, "/live").await.0, 200);
        assert_eq!(get(admin, "/ready").await.0, 503);
        assert_eq!(get(admin, "/lease").await.0, 503);
        assert!(get(admin, "/metrics").await.1.as_str().is_some_and(|text| text.contains("signaling_store_healthy")));
        let phone = tokio::net::TcpStream::connect::<std::net::SocketAddr>(public).await;
        assert!(phone.is_err(), "a phone would hang where another node had taken it");
        tokio::time::sleep(Duration::from_millis(250)).await; // the trouble itself
    }
    assert!(redis.command(mend).contains("OK"));
    let node = tokio::time::timeout(RECOVERY, starting).await.expect("it goes on").expect("no panic");
    let node = node.expect("a node");
    assert!(is_ready(&node).await);
    drop(Phone::connect(node.public, Profile::of(&unique("ana"))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_replicas() {
    let (begin, mend) =
        (["CONFIG", "SET", "min-replicas-to-write", "1"], ["CONFIG", "SET", "min-replicas-to-write", "0"]);
    a_start_waits(Redis::start(), &begin, &mend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_paused_writes() {
    a_start_waits(Redis::start(), &["CLIENT", "PAUSE", "100000", "WRITE"], &["CLIENT", "UNPAUSE"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_the_right_to_write() {
    let (begin, mend) = (["ACL", "SETUSER", "default", "-@write"], ["ACL", "SETUSER", "default", "+@all"]);
    a_start_waits(Redis::start(), &begin, &mend).await;
}

/// Waiting would not mend it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_an_error_of_the_configuration() {
    let redis = Redis::start_with(&["--appendonly", "no", "--requirepass", "right"]);
    let url = format!("redis://default:wrong@127.0.0.1:{}", redis.port);
    let started = tokio::time::timeout(Duration::from_secs(30), App::start(config(&[("REDIS_URL", &url)]))).await;
    assert!(matches!(started, Ok(Err(AppError::Redis(_)))), "{:?}", started.map(|started| started.map(|_| ())));
}

/// All that it knows is old, and its store is well: it looks once more before it sends its phones away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_suspended_does_not_drain() {
    let prefix = prefix();
    let (first, second) = (Node::start(&prefix, &[]), Node::start(&prefix, &[]));
    let knows = async || get(second.admin, "/metrics").await.1.to_string().contains("signaling_cluster_nodes 2");
    until("both know each other", Duration::from_secs(10), knows).await;
    for _ in 0..2 {
        second.signal("STOP");
        tokio::time::sleep(Duration::from_secs(17)).await; // the trouble itself
        second.signal("CONT");
        let ready = async |node: &Node| get(node.admin, "/ready").await.0 == 200;
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(8) {
            assert!(ready(&first).await && ready(&second).await, "not ready {:?} after it went on", since.elapsed());
        }
    }
}

/// A store that is reached again and says nothing: whoever dials meanwhile is answered, however many there are. Each asked
/// which store this is, one after the other, and the last one waited for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_dials_to_a_silent_store_are_answered() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port).await;
    let cluster = Cluster::on(&[format!("redis://{}", proxy.address)]).await;
    let bo = cluster.phone(0, &unique("bo")).await;
    let dialers = join_all((0..12).map(|_| async { cluster.phone(0, &unique("ana")).await })).await;
    let connected = || {
        let info = redis.command(&["INFO", "clients"]);
        let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
        line.and_then(|count| count.trim().parse::<u32>().ok()).expect("a count")
    };
    let before = connected();
    assert_eq!(redis.command(&["CLIENT", "PAUSE", "100000", "WRITE"]), "OK");
    proxy.cut();
    until("the connections are broken", RECOVERY, async || connected() < before).await;
    proxy.mend();
    until("the node is connected again", RECOVERY, async || connected() >= before).await;
    let acks = join_all(dialers.iter().map(async |phone| phone.call(&unique_call(), &bo.user).await)).await;
    assert_eq!(redis.command(&["CLIENT", "UNPAUSE"]), "OK");
    for ack in acks {
        assert_eq!(ack["code"], "unavailable", "{ack}");
    }
}

/// What nobody can write is tried again now and then, not as fast as the store refuses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_cannot_be_judged_waits() {
    const RING: Duration = Duration::from_secs(3);
    let redis = Redis::start();
    let tune = |config: &mut Config| config.policy.ring_timeout = RING;
    let cluster = Cluster::on_tuned(&[redis.url(), redis.url()], tune).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    let reads = || {
        let info = redis.command(&["INFO", "commandstats"]);
        let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_hget:calls="));
        let calls = calls.and_then(|calls| calls.split(',').next());
        calls.and_then(|calls| calls.parse::<u32>().ok()).expect("a count")
    };
    ana.rings(&unique_call(), &bo).await;
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "OK");
    tokio::time::sleep(RING).await; // the deadline is the trouble
    let before = reads();
    tokio::time::sleep(Duration::from_secs(3)).await; // the trouble itself
    let read = reads() - before;
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    assert!(read < 200, "{read} reads in three seconds");
    ana.expect_within("call:timeout", RECOVERY).await;
    assert_eq!(bo.expect_within("call:cancelled", RECOVERY).await["reason"], "Timeout");
    cluster.close().await;
}

/// His `session:ready` can list nothing: when the store takes writes again he hears how each of his user's calls ended,
/// though another of its devices had the newest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_while_writes_are_refused_hears_how_every_call_ended() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let user = unique("bo");
    let device = async |name: &str| Phone::open(cluster.address(1), Profile::of(&user).device(name)).await;
    let ana = cluster.phone(0, &unique("ana")).await;
    let talks = async |bo: &Phone| {
        bo.expect("session:ready").await;
        let id = unique_call();
        ana.rings(&id, bo).await;
        bo.accept(&id).await;
        ana.expect("call:accepted").await;
        id
    };
    let phone = device("phone").await;
    let first = talks(&phone).await;
    phone.vanish();
    ana.end(&first).await;
    let tablet = device("tablet").await;
    let second = talks(&tablet).await;
    ana.end(&second).await;
    tablet.expect("call:ended").await;

    assert_eq!(redis.command(&["ACL", "SETUSER", "default", "-@write"]), "OK");
    let phone = device("phone").await;
    assert_eq!(phone.expect("session:ready").await["ended"], json!([]));
    assert_eq!(redis.command(&["ACL", "SETUSER", "default", "+@all"]), "OK");
    assert_eq!(phone.expect_within("call:ended", RECOVERY).await["callId"], *first);
    assert_eq!(phone.expect("call:cancelled").await["callId"], *second, "answered elsewhere");
    phone.assert_nothing_more().await;
    cluster.close().await;
}
