//! What a run of a script costs does not depend on how much lies in the store.
//!
//! `SCRIPT_TIMES=1 cargo test --lib script_times -- --nocapture` measures them at full size, for docs/scripts.md.

use std::collections::BTreeMap;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use futures_util::StreamExt;
use futures_util::stream;
use tokio_util::task::TaskTracker;

use super::script::ALL;
use super::{RedisCalls, RedisOutbox, RedisSessions, connect};
use crate::call::{Call, CallId, Command, EarlyCommandKind, NodeId, Role, Timestamp, UserId, What};
use crate::clock::{Clock, Shift};
use crate::store::contract::test_server::Redis;
use crate::store::contract::{UNLIMITED, apply, by, call, early_command, lease, milestone, session, user};
use crate::store::{
    CallStore, Claim, Counters, Created, Messages, NewMessage, Outbox, OutboxBounds, OutboxMessage, Queue,
    REPLAYED_AT_ONCE, Replayed, RestoreStage, SessionStore, Settled, StoreError, Vacates, Vouches, Which,
};

const LEASE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// What lies in the store.
#[derive(Clone, Copy)]
struct Sizes {
    /// As many wait as are dead.
    messages: usize,
    calls: usize,
    /// Online, each with a session on one of the five nodes.
    users: usize,
}

/// More of each than a script takes at once.
const SMALL: Sizes = Sizes { messages: 4_000, calls: 600, users: 6_000 };
const LARGE: Sizes = Sizes { messages: 24_000, calls: 2_400, users: 18_000 };
const FULL: Sizes = Sizes { messages: 1_000_000, calls: 50_000, users: 100_000 };

/// What is done to a store, one script or two each.
const DEEDS: [&str; 37] = [
    "create, swap",
    "create, vacate",
    "restore",
    "note",
    "line",
    "versions",
    "counts",
    "message",
    "kept",
    "claim",
    "verdict",
    "generation",
    "raise",
    "put back",
    "vouch",
    "unvouched",
    "epochs",
    "notice",
    "sessions",
    "register, unregister",
    "sweep",
    "renew",
    "retire",
    "shift",
    "watch",
    "unwatch",
    "append",
    "append beyond the bounds",
    "claim, settle",
    "claim, give up",
    "hurry",
    "replay by id",
    "replay by call",
    "replay by time",
    "dead",
    "backlog",
    "bury",
];

/// Fills the outbox as a node of this version would.
const FILL: &str = r"
local prefix, kind, from, to, json, time = unpack(ARGV)
local letters, stats = prefix .. 'letters', prefix .. 'stats'
for i = tonumber(from), tonumber(to) do
  local id, call, at = kind .. i, kind .. math.floor(i / 4), time + i
  local body = string.gsub(string.gsub(json, '@ID@', id), '@CALL@', call)
  local chain = kind == 'dead' and '' or call
  local stored = 'events|' .. chain .. '|3|' .. body
  redis.call('HSET', letters, id, stored)
  redis.call('HINCRBY', stats, 'bytes', #stored)
  if kind == 'dead' then
    redis.call('ZADD', prefix .. 'dead', at, id)
    redis.call('HSET', prefix .. 'errors', id, 'HTTP 500')
    redis.call('ZADD', prefix .. 'dead_of:' .. call, at, id)
    redis.call('HSET', stats, 'indexed', string.format('%.0f', at) .. '|' .. id)
  else
    redis.call('ZADD', prefix .. 'order', at, id)
    redis.call('RPUSH', prefix .. 'chain:' .. call, id)
    redis.call('ZADD', prefix .. 'due:events', 'NX', at, 'c:' .. call)
  end
end
return 1";

struct Stage {
    server: Redis,
    calls: RedisCalls,
    sessions: RedisSessions,
    outbox: RedisOutbox,
    /// With less room than there are outbox messages.
    narrow: RedisOutbox,
    ids: Vec<CallId>,
    users: Vec<UserId>,
    /// Outbox messages that were dead at first, a millisecond after each other.
    dead: usize,
    now: Timestamp,
}

fn message(call: &str, id: &str, at: Timestamp) -> OutboxMessage {
    OutboxMessage {
        id: id.into(),
        queue: Queue::Events,
        call: CallId::parse(call).ok(),
        at,
        due: at,
        until: None,
        body: "x".repeat(600),
    }
}

async fn fill_outbox(client: &Client, prefix: &str, kind: &'static str, count: usize, now: Timestamp) {
    let json = serde_json::to_string(&message("CALL0", "ID0", now)).unwrap();
    let json = json.replace("CALL0", "@CALL@").replace("ID0", "@ID@");
    let prefix = format!("{{{prefix}:c}}:outbox:");
    let began = now - HOUR;
    for from in (0..count).step_by(2000) {
        let to = (from + 2000).min(count) - 1;
        let mut arguments: Vec<Value> = vec![FILL.into(), 1.into(), format!("{prefix}letters").into()];
        arguments.extend([prefix.as_str().into(), kind.into(), from.to_string().into(), to.to_string().into()]);
        arguments.extend([json.as_str().into(), began.as_millis().to_string().into()]);
        let eval = CustomCommand::new_static("EVAL", ClusterHash::Random, false);
        client.custom::<(), Value>(eval, arguments).await.unwrap();
    }
}

impl Stage {
    async fn set(sizes: Sizes) -> Self {
        let server = Redis::start();
        let client = connect(&server.url(), &TaskTracker::new()).await.expect("redis answers");
        let now = Clock::system().now();
        let half = sizes.messages / 2;
        fill_outbox(&client, "s", "dead", half, now).await;
        fill_outbox(&client, "s", "wait", half, now).await;
        let bounds = OutboxBounds { messages: u64::MAX >> 12, bytes: u64::MAX >> 12 };
        let stage = Self {
            calls: RedisCalls::new(client.clone(), "s", UNLIMITED).bounded(bounds),
            sessions: RedisSessions::new(client.clone(), client.clone(), "s"),
            outbox: RedisOutbox::new(client.clone(), "s", bounds),
            narrow: RedisOutbox::new(client, "s", OutboxBounds { messages: 100, bytes: 1 << 30 }),
            ids: (0..sizes.calls).map(|n| CallId::parse(&format!("c{n}")).unwrap()).collect(),
            users: (0..sizes.users).map(|n| user(&format!("u{n}"))).collect(),
            dead: half,
            server,
            now,
        };
        let made = stream::iter(stage.ids.iter().enumerate()).map(|(n, id)| {
            let call = call(id.as_str(), &format!("a{n}"), &format!("b{n}"), now);
            stage.create(call, Vec::new())
        });
        made.buffer_unordered(64).for_each(|made| async { drop(made.unwrap()) }).await;
        let registered = stream::iter(stage.users.iter().enumerate()).map(|(n, user)| {
            let session = session(n as u128, user.as_str(), NODES[n % NODES.len()], 1);
            let sessions = &stage.sessions;
            async move { sessions.register(&session).await }
        });
        registered.buffer_unordered(64).for_each(|registered| async { drop(registered.unwrap()) }).await;
        for node in NODES {
            stage.sessions.renew(&lease(node, 1), HOUR, Some(now)).await.unwrap();
        }
        stage
    }

    async fn create(&self, call: Call, messages: Vec<OutboxMessage>) -> Result<Call, StoreError> {
        match self.calls.create(&call, &[], &messages, &[milestone(What::Created, 1)], self.now).await? {
            Created::Created(call) => Ok(*call),
            other => panic!("not created: {other:?}"),
        }
    }

    async fn claimed(&self, limit: usize) -> Vec<Claim> {
        self.outbox.claim(Queue::Events, self.now, LEASE, limit).await.unwrap()
    }

    /// Does one of [`DEEDS`], each time to something else.
    async fn does(&self, deed: &str, round: usize) {
        let (now, far, node) = (self.now, self.now + HOUR, NodeId::parse("n9").unwrap());
        let id = format!("new{round}");
        let messages = |id: &str| vec![message(id, &format!("{id}.1"), now), message(id, &format!("{id}.2"), now)];
        let some_users = &self.users[..self.users.len().min(500)];
        match deed {
            "create, swap" => {
                let created = self.create(call(&id, "ana", "bo", now), messages(&id)).await.unwrap();
                let ended = apply(&created, Command::Cancel { by: by("ana"), reason: None }, now);
                let last = message(&id, &format!("{id}.5"), now);
                self.calls.swap(&ended, created.version, &[last], &[milestone(What::Ended, 2)]).await.unwrap();
            }
            "create, vacate" => {
                let begun = call(&format!("taken{round}"), "eve", "bo", now);
                let ended = apply(&begun, Command::Displace { by: crate::call::Role::Callee }, now);
                let ended = self.create(ended, Vec::new()).await.unwrap();
                assert!(self.calls.vacate(&ended).await.unwrap());
            }
            "restore" => {
                let id = format!("back{round}");
                let lost = call(&id, &format!("{id}a"), &format!("{id}b"), now);
                self.calls.restore(&lost, &messages(&id)).await.unwrap();
            }
            "note" => {
                let notes: Vec<_> =
                    self.ids[..512].iter().map(|id| (id.clone(), milestone(What::Delivered, 3))).collect();
                self.calls.note(&notes).await.unwrap();
            }
            "line" => drop(self.calls.reconnect_snapshot(&user("a7")).await.unwrap()),
            "counts" => drop(self.calls.counts(0..=59).await.unwrap()),
            "message" => {
                let message = NewMessage { by: Role::Caller, id: Some("m"), keep: Some("{}") };
                self.calls.place(&self.ids[0], message, far).await.unwrap();
            }
            "kept" => drop(self.calls.kept(&self.ids[0], Role::Caller).await.unwrap()),
            "versions" => drop(self.calls.versions(&self.ids[..256]).await.unwrap()),
            "claim" => drop(self.calls.claim_due(far, far, Duration::from_secs(2), 128).await.unwrap()),
            "verdict" => {
                let early = early_command("vic", EarlyCommandKind::Reject, now + Duration::from_millis(round as u64));
                self.calls.keep_early(&CallId::parse(&id).unwrap(), &early, now).await.unwrap();
            }
            "generation" => drop(self.calls.generation().await.unwrap()),
            "raise" => drop(self.calls.raise_order(1).await.unwrap()),
            "put back" => {
                let life = self.calls.generation().await.unwrap();
                drop(self.calls.report_restored(&life, &node, RestoreStage::All).await.unwrap());
            }
            "vouch" => {
                let life = self.calls.generation().await.unwrap();
                self.calls.vouch(&life, &self.ids[..60], now).await.unwrap();
            }
            "unvouched" => {
                let life = self.calls.generation().await.unwrap();
                drop(self.calls.unvouched(&life, 0, 64).await.unwrap());
            }
            "epochs" => drop(self.sessions.begin(&node, 1).await.unwrap()),
            "notice" => {
                self.calls.leave_notice(&user("nora"), &self.ids[0], LEASE).await.unwrap();
                drop(self.calls.claim_notice(&user("nora"), 1, LEASE).await.unwrap());
            }
            "sessions" => drop(self.sessions.sessions_of(some_users).await.unwrap()),
            "register, unregister" => {
                let session = session(1 << 64 | round as u128, &id, "n2", 1);
                self.sessions.register(&session).await.unwrap();
                self.sessions.unregister(&session).await.unwrap();
            }
            "sweep" => {
                let dead = lease("n1", 1);
                let swept = self.sessions.sweep(&dead, now, LEASE, 512).await.unwrap();
                let users: Vec<UserId> = swept.sessions.into_iter().map(|session| session.user).collect();
                self.sessions.swept(&dead, &users).await.unwrap();
            }
            "renew" => drop(self.sessions.renew(&lease("n2", 1), HOUR, Some(now)).await.unwrap()),
            "shift" => drop(self.sessions.shift_clock(Shift { from: 1, to: 1, shifts: 1 }).await.unwrap()),
            "retire" => self.sessions.retire(&node).await.unwrap(),
            "watch" => self.sessions.subscribe(some_users, &node).await.unwrap(),
            "unwatch" => self.sessions.unsubscribe(some_users, &node).await.unwrap(),
            "append" => self.outbox.append(&messages(&format!("app{round}"))).await.unwrap(),
            "append beyond the bounds" => self.narrow.append(&messages(&format!("bound{round}"))).await.unwrap(),
            "claim, settle" => {
                for claim in self.claimed(32).await {
                    let done = Settled::Done { lease: LEASE };
                    let next = self.outbox.settle(&claim, &done, now).await.unwrap();
                    let later = Settled::Later { at: far, attempts: 1 };
                    if let Some(next) = next {
                        self.outbox.settle(&next, &later, now).await.unwrap();
                    }
                }
            }
            "claim, give up" => {
                for claim in self.claimed(32).await {
                    let dead = Settled::Dead { error: "HTTP 500".into(), attempts: 10 };
                    self.outbox.settle(&claim, &dead, now).await.unwrap();
                }
            }
            "hurry" => self.outbox.hurry(Queue::Events, now).await.unwrap(),
            "replay by id" => {
                let id = Which::Id(format!("dead{}", self.dead / 2 + round));
                assert_eq!(self.outbox.replay(&id, now).await.unwrap().messages, 1);
            }
            "replay by call" => {
                let call = CallId::parse(&format!("dead{}", self.dead / 6 + round)).unwrap();
                assert_eq!(self.outbox.replay(&Which::Call(call), now).await.unwrap().messages, 4);
            }
            "replay by time" => {
                let since = now - HOUR + Duration::from_millis((self.dead - 100 - 200 * round) as u64);
                assert!(self.outbox.replay(&Which::Since(since), now).await.unwrap().messages >= 100);
            }
            "bury" => drop(self.narrow.bury(now - HOUR + Duration::from_secs(1), now).await.unwrap()),
            "dead" => drop(self.outbox.dead_letters(200).await.unwrap()),
            "backlog" => drop(self.outbox.backlog().await.unwrap()),
            _ => unreachable!("{deed}"),
        }
    }

    /// Commands that Redis ran since the last look, by name; those inside scripts count too.
    fn commands(&self) -> BTreeMap<String, u64> {
        let info = self.server.command(&["INFO", "commandstats"]);
        self.server.command(&["CONFIG", "RESETSTAT"]);
        let lines = info.lines().filter_map(|line| {
            let (name, stats) = line.trim().strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = stats.split(',').find_map(|stat| stat.strip_prefix("calls="))?;
            Some((name.to_owned(), calls.parse().ok()?))
        });
        lines
            .filter(|(name, _): &(String, u64)| !["info", "config|resetstat", "script|load"].contains(&&**name))
            .collect()
    }

    /// Commands for each run of a script, by deed.
    async fn costs(&self) -> BTreeMap<&'static str, f64> {
        let mut costs = BTreeMap::new();
        for deed in DEEDS {
            // Loads the scripts.
            self.does(deed, 0).await;
            self.commands();
            self.does(deed, 1).await;
            let commands = self.commands();
            let runs = commands.get("evalsha").copied().unwrap_or(0);
            assert!(runs > 0, "{deed} ran no script: {commands:?}");
            let within: u64 = commands.iter().filter(|(name, _)| *name != "evalsha").map(|(_, count)| count).sum();
            costs.insert(deed, within as f64 / runs as f64);
        }
        costs
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_costs_as_many_commands_whatever_lies_in_the_store() {
    let (small, large) = (Stage::set(SMALL).await.costs().await, Stage::set(LARGE).await.costs().await);
    println!("{large:?}");
    for (deed, cost) in &large {
        assert!(
            *cost <= small[deed] * 1.25 + 1.0,
            "{deed}: {} commands a run, with more in the store {cost}",
            small[deed]
        );
        // A command takes a microsecond or some; calls wait behind each run.
        assert!(*cost <= 1_100.0, "{deed}: {cost} commands a run");
    }
}

/// An operator waits for no more than a bounded number of small bites, and is told that there is more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_bounded() {
    let stage = Stage::set(Sizes { calls: 0, users: 0, ..LARGE }).await;
    let all = Which::Since(Timestamp::from_millis(0));
    let first = stage.outbox.replay(&all, stage.now).await.unwrap();
    assert_eq!(first, Replayed { messages: REPLAYED_AT_ONCE, more: true });
    let second = stage.outbox.replay(&all, stage.now).await.unwrap();
    assert_eq!(second, Replayed { messages: stage.dead as u64 - REPLAYED_AT_ONCE, more: false });
}

/// Commands whose answer is as large as what they read, and why that is small: `file: command`.
const READ_WHOLE: [(&str, &str); 13] = [
    ("counts.lua: HGETALL", "words that call::counted has, of some minutes"),
    ("tell.lua: HGETALL", "sessions of a user"),
    ("register.lua: HVALS", "sessions of a user"),
    ("register.lua: SMEMBERS", "nodes that watch a user"),
    ("sessions.lua: HKEYS", "sessions of a user"),
    ("unregister.lua: HKEYS", "sessions of a user"),
    ("sweep.lua: HGETALL", "sessions of a user"),
    ("swept.lua: HKEYS", "sessions of a user"),
    ("verdict.lua: HGETALL", "EARLY_COMMANDS_PER_USER"),
    ("renew.lua: ZRANGE", "nodes"),
    ("put_back.lua: HGETALL", "nodes"),
    ("epochs.lua: SMEMBERS", "epochs of a node that were not swept"),
    ("restore.lua: LRANGE", "four times OUTCOMES_PER_USER"),
];

/// One command may be as slow as a thousand.
#[test]
fn no_script_reads_a_large_collection_as_a_whole() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/redis/lua");
    let (mut files, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        files += 1;
        let name = entry.file_name().into_string().unwrap();
        for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
            for part in line.split("redis.call('").skip(1) {
                let command = part.split('\'').next().unwrap();
                let whole = match command {
                    "SMEMBERS" | "HGETALL" | "HVALS" | "HKEYS" | "KEYS" | "SORT" => true,
                    "ZRANGEBYSCORE" | "ZREVRANGEBYSCORE" | "ZRANGEBYLEX" => !part.contains("'LIMIT'"),
                    "LRANGE" | "ZRANGE" | "ZREVRANGE" => !part.contains(", 0, 0") && !part.contains(" - 1"),
                    _ => false,
                };
                if whole && !READ_WHOLE.iter().any(|(known, _)| *known == format!("{name}: {command}")) {
                    wrong.push(format!("{name}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let libraries = ["count.lua", "order.lua", "outbox.lua", "outcomes.lua", "tell.lua", "timeline.lua"].len();
    assert_eq!(files, ALL.len() + libraries, "each script is in ALL");
}

/// Measured only when asked for; else the tables are small and nothing is printed that says anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_times() {
    #[expect(clippy::disallowed_methods, reason = "an option of this test")]
    let measured = std::env::var("SCRIPT_TIMES").is_ok();
    let stage = Stage::set(if measured { FULL } else { SMALL }).await;
    stage.server.command(&["CONFIG", "SET", "slowlog-max-len", "1000000"]);
    stage.server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    let mut times: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for deed in DEEDS {
        let rounds = match deed {
            _ if !measured => 2,
            // Each is many runs.
            "replay by time" | "hurry" | "bury" => 20,
            _ => 100,
        };
        stage.server.command(&["SLOWLOG", "RESET"]);
        for round in 0..rounds {
            stage.does(deed, round).await;
        }
        let log = stage.server.command(&["--json", "SLOWLOG", "GET", "-1"]);
        let log: Vec<(u64, u64, u64, Vec<String>, String, String)> = serde_json::from_str(&log).expect("a slow log");
        for (_, _, micros, command, _, _) in &log {
            if command[0] == "EVALSHA"
                && let Some(script) = ALL.iter().find(|script| script.sha() == command[1])
            {
                times.entry(script.name()).or_default().push(*micros);
            }
        }
    }
    println!("| script | runs | median | 99 % | longest |\n| --- | --- | --- | --- | --- |");
    for (name, times) in &mut times {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        println!("| `{name}` | {} | {:.2} ms | {:.2} ms | {:.2} ms |", times.len(), at(0.5), at(0.99), at(1.0));
    }
    let unmeasured: Vec<_> = ALL.iter().map(|script| script.name()).filter(|name| !times.contains_key(name)).collect();
    assert!(unmeasured.is_empty(), "not measured: {unmeasured:?}");
}
