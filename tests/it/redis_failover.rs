//! Redis as it is run in earnest: Sentinel with a replica, and a cluster of three primaries.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::phone::{unique, unique_call};
use crate::harness::redis::{Redis, free_port};
use crate::harness::{Cluster, Phone};

/// Waits for something that another process does.
fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not happen within 30 s");
        std::thread::sleep(Duration::from_millis(50)); // it has no event to wait for
    }
}

/// A ringing and an accepted call over two nodes.
struct Calls {
    ana: Phone,
    bo: Phone,
    cleo: Phone,
    dan: Phone,
    ringing: String,
    active: String,
}

impl Calls {
    async fn begin(cluster: &Cluster) -> Self {
        let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
        let (cleo, dan) = (cluster.phone(0, &unique("cleo")).await, cluster.phone(1, &unique("dan")).await);
        let (ringing, active) = (unique_call(), unique_call());
        ana.rings(&ringing, &bo).await;
        cleo.rings(&active, &dan).await;
        dan.accept(&active).await;
        cleo.expect("call:accepted").await;
        Self { ana, bo, cleo, dan, ringing, active }
    }

    async fn finish(&self) {
        let Self { ana, bo, cleo, dan, ringing, active } = self;
        insistently(async || bo.accept(ringing).await).await;
        ana.expect("call:accepted").await;
        insistently(async || dan.end(active).await).await;
        cleo.expect("call:ended").await;
        insistently(async || ana.end(ringing).await).await;
        bo.expect("call:ended").await;
        for phone in [ana, bo, cleo, dan] {
            assert!(phone.keep_connected());
            phone.assert_nothing_more().await;
        }
    }
}

/// As a phone does: what is unavailable is asked again.
async fn insistently(ask: impl AsyncFn() -> serde_json::Value) {
    let started = Instant::now();
    loop {
        let answer = ask().await;
        if answer["success"] == true {
            return;
        }
        assert_eq!(answer["code"], "unavailable", "{answer}");
        assert!(started.elapsed() < Duration::from_secs(30), "unavailable for 30 s");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinel_loses_no_call() {
    let mut primary = Redis::start();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    until("replication", || replica.command(&["INFO", "replication"]).contains("master_link_status:up"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    let port = primary.port;
    let settings = format!(
        "sentinel monitor calls 127.0.0.1 {port} 1\nsentinel down-after-milliseconds calls 1000\n\
         sentinel failover-timeout calls 5000\n"
    );
    std::fs::write(file.path(), settings).expect("a configuration");
    let sentinel = Redis::sentinel(file.path());
    until("discovery", || sentinel.command(&["SENTINEL", "REPLICAS", "calls"]).contains(&replica.port.to_string()));

    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=calls", sentinel.port);
    let cluster = Cluster::on(&[url.clone(), url]).await;
    let calls = Calls::begin(&cluster).await;
    primary.stop();
    until("failover", || replica.command(&["INFO", "replication"]).contains("role:master"));
    calls.finish().await;
    // Calls begin again too.
    let next = unique_call();
    insistently(async || calls.dan.call(&next, &calls.ana.user).await).await;
    calls.ana.expect("call:incoming").await;
    insistently(async || calls.dan.cancel(&next).await).await;
    calls.ana.expect("call:cancelled").await;
}

fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output();
    let output = output.expect("redis-cli runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Three primaries, and a replica of each.
fn redis_cluster() -> Vec<Redis> {
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
    let servers: Vec<Redis> = (0..6).map(|_| Redis::start_on(low_port(), &options)).collect();
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let said = cli(servers[0].port, &create);
    assert!(said.contains("All 16384 slots covered"), "{said}");
    until("the cluster", || {
        servers.iter().all(|server| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
            && servers[3..].iter().all(|server| server.command(&["INFO", "replication"]).contains("link_status:up"))
    });
    servers
}

/// Nodes of a cluster find each other at a port 10,000 higher.
fn low_port() -> u16 {
    std::iter::repeat_with(free_port).find(|port| *port < 20_000).expect("it never ends")
}

/// Which primary holds the calls.
fn home_of_calls(servers: &[Redis]) -> usize {
    let holds = |server: &Redis| {
        let role = server.command(&["INFO", "replication"]);
        role.contains("role:master") && server.command(&["--scan", "--pattern", "*:c}:call:*"]).contains(":call:")
    };
    servers.iter().position(holds).expect("a primary that holds calls")
}

fn slot_of_calls(server: &Redis) -> String {
    let keys = server.command(&["--scan", "--pattern", "*:c}:call:*"]);
    server.command(&["CLUSTER", "KEYSLOT", keys.lines().next().expect("a call")])
}

/// How often the servers sent somebody to another.
fn redirections(servers: &[Redis]) -> u64 {
    let of = |server: &Redis| {
        let errors = server.command(&["INFO", "errorstats"]);
        let moved = errors.lines().find_map(|line| line.strip_prefix("errorstat_MOVED:count=")).unwrap_or("0");
        moved.trim().parse::<u64>().expect("a count")
    };
    servers.iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_moves_slots_and_fails_over_under_calls() {
    let mut servers = redis_cluster();
    let url = format!("redis-cluster://127.0.0.1:{}", servers[0].port);
    let cluster = Cluster::on(&[url.clone(), url]).await;

    // The slot of all calls moves to another primary under two calls.
    let calls = Calls::begin(&cluster).await;
    let home = home_of_calls(&servers);
    let slot = slot_of_calls(&servers[home]);
    let other = (0..3).find(|other| *other != home).expect("another primary");
    move_slot(&servers[home], &servers[other], &slot);
    calls.finish().await;

    // No node asks the wrong primary for long: a client that computed slots wrongly would be redirected all the time.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let before = redirections(&servers);
        let calls = Calls::begin(&cluster).await;
        calls.finish().await;
        if redirections(&servers) == before {
            break;
        }
        assert!(Instant::now() < deadline, "redirected {before} times, and still");
    }

    // And the primary it moved to dies.
    let calls = Calls::begin(&cluster).await;
    assert_eq!(home_of_calls(&servers), other);
    servers[other].stop();
    let alive = &servers[home];
    until("failover", || alive.command(&["CLUSTER", "INFO"]).contains("cluster_state:fail"));
    until("the cluster", || alive.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    calls.finish().await;
}

/// The steps of the cluster tutorial for one slot.
fn move_slot(from: &Redis, to: &Redis, slot: &str) {
    let (from_id, to_id) = (from.command(&["CLUSTER", "MYID"]), to.command(&["CLUSTER", "MYID"]));
    assert_eq!(to.command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]), "OK");
    assert_eq!(from.command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]), "OK");
    let port = to.port.to_string();
    until("the keys' move", || {
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
        for key in keys.lines() {
            from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
        }
        keys.is_empty()
    });
    for server in [to, from] {
        assert_eq!(server.command(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id]), "OK");
    }
}
