//! `loadtest chaos`: calls while everything breaks, and whether the rules held (docs/chaos.md).

mod backend;
mod check;
mod clients;
mod clock;
mod faults;
mod fleet;
mod flood;
mod handset;
mod history;
mod inject;
mod link;
mod manner;
mod seeds;
mod store;
mod table;
mod wire;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use crate::cluster::{SECRET, binary, common_environment};
use crate::dial::Transport;
use crate::http::Connection;
use crate::options::Chaos;
use crate::packet::Who;
use crate::report::Report;
use crate::schedule::{self, Poisson};
use backend::Backend;
use faults::Fault;
pub use faults::Kind;
use fleet::Fleet;
use handset::Handset;
pub use handset::{FIRST_PAUSE, LONGEST_PAUSE, TRIES};
use history::{History, Terms, What};
use inject::Injector;
use link::Link;
use manner::STAY;
use store::Store;
use world::{Seat, World};

const PING_INTERVAL: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const CALLER_GRACE: Duration = Duration::from_secs(5);
const CALL_GRACE: Duration = Duration::from_secs(20);
/// Short enough for two minutes to see it run out. It is over before the ten seconds after which nobody waits for who is
/// away.
const VIDEO_ANSWER: Duration = Duration::from_secs(4);
const LEASE: Duration = Duration::from_secs(10);
/// From then on nobody may be busy.
const DUST: Duration = Duration::from_secs(5);
/// One user in so many has a second phone; one in so many has an app as deployed, without `acks`; one in so many
/// opens by polling.
const SECOND_PHONE: usize = 4;
const DEPLOYED: usize = 5;
const POLLS: usize = 3;
/// One in so many of all phones never gets to upgrade.
const STAYS_POLLING: usize = 2 * POLLS;
/// What users are called who come for a fault and leave with it.
const VISITOR: &str = "FLOOD";

pub async fn run(options: &Chaos) -> anyhow::Result<Report> {
    if let Some(path) = &options.check {
        let entries = history::read(path)?;
        return Ok(table::report(options, &entries, &[], json!({}), Default::default()));
    }
    if options.seeds > 1 {
        return seeds::run(options).await;
    }
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let with_sentinel = options.sentinel(seed);
    let kinds: Vec<Kind> = options.kinds().into_iter().filter(|kind| kind.is_possible(with_sentinel)).collect();
    let faults = faults::draw(seed, &kinds, options.nodes, options.duration);
    let store = Store::start(with_sentinel).await?;
    let file = history_file(options, seed)?;
    let history = Arc::new(History::begin(file.as_deref())?);
    let terms = terms(options);
    history.add(What::Run { seed, terms });
    let fleet = open_fleet(options, &store, &history).await?;
    eprintln!("seed {seed}: {} faults, {}", faults.len(), store.url());

    let mut random = StdRng::seed_from_u64(seed);
    let mut tasks = JoinSet::new();
    let world = seat(options, &fleet, &history, &mut random, &mut tasks);
    wait_for(&world, Duration::from_secs(30), |calls, away| calls == 0 && away == 0).await;
    let begin = Instant::now();
    let shown: Vec<Value> = faults.iter().map(|fault| fault.to_json()).collect();
    let injector =
        Injector { fleet: Arc::clone(&fleet), store, world: Arc::clone(&world), history: Arc::clone(&history), seed };
    let work = async {
        let store = load(options, &world, injector, faults, begin, random.random()).await?;
        settle(&world, &history, options.settle).await?;
        read_types(&world, &fleet, &history).await?;
        probe(&world, &fleet, &history).await?;
        anyhow::Ok(store)
    };
    let store = tokio::select! {
        store = work => store?,
        failed = Arc::clone(&fleet).supervise() => return failed.and_then(|()| bail!("nobody watches the nodes")),
    };
    tasks.shutdown().await;
    let entries = history.close()?;
    drop(store);
    let told = json!({"binary": binary(options.binary.as_deref())?.display().to_string(), "sentinel": with_sentinel});
    Ok(table::report(options, &entries, &shown, told, fleet.troubles()))
}

fn terms(options: &Chaos) -> Terms {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Terms {
        ring: millis(options.ring_timeout),
        caller_grace: millis(CALLER_GRACE),
        call_grace: millis(CALL_GRACE),
        lease: millis(LEASE),
        asked: millis(VIDEO_ANSWER),
    }
}

fn history_file(options: &Chaos, seed: u64) -> anyhow::Result<Option<PathBuf>> {
    let Some(folder) = &options.history else { return Ok(None) };
    std::fs::create_dir_all(folder)?;
    Ok(Some(folder.join(format!("seed-{seed}.jsonl"))))
}

async fn open_fleet(options: &Chaos, store: &Store, history: &Arc<History>) -> anyhow::Result<Arc<Fleet>> {
    let mut environment = common_environment();
    let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
    set("AUTH", "insecure".into());
    set("REDIS_PREFIX", format!("chaos{:08x}", rand::random::<u32>()));
    set("RING_TIMEOUT_SECS", options.ring_timeout.as_secs().to_string());
    set("CALLER_GRACE_SECS", CALLER_GRACE.as_secs().to_string());
    set("CALL_GRACE_SECS", CALL_GRACE.as_secs().to_string());
    set("VIDEO_ANSWER_SECS", VIDEO_ANSWER.as_secs().to_string());
    set("PING_INTERVAL_MS", PING_INTERVAL.as_millis().to_string());
    set("PING_TIMEOUT_MS", PING_TIMEOUT.as_millis().to_string());
    set("DRAIN_DELAY_SECS", "1".into());
    set("DRAIN_SECS", "4".into());
    let mut links = Vec::new();
    match store.only() {
        Some(redis) => {
            for _ in 0..options.nodes {
                links.push(Link::before(redis).await?);
            }
        }
        None => set("REDIS_URL", store.url()),
    }
    environment.extend(options.node_env.iter().cloned());
    let binary = binary(options.binary.as_deref())?;
    let fleet = Arc::new(Fleet::new(binary, environment, links, options.nodes, Arc::clone(history)));
    for place in 0..options.nodes {
        fleet.start(place).await?;
    }
    Ok(fleet)
}

/// Gives every user his phones and lets them connect.
fn seat(
    options: &Chaos,
    fleet: &Arc<Fleet>,
    history: &Arc<History>,
    random: &mut StdRng,
    tasks: &mut JoinSet<()>,
) -> Arc<World> {
    let run: u32 = random.random_range(0..100_000);
    let (mut users, mut owners) = (Vec::new(), Vec::new());
    while owners.len() < options.phones {
        let (user, number) = (format!("USR_{run:05}{:04}", users.len()), users.len());
        if number % SECOND_PHONE == 1 {
            owners.push((number, Who { user: user.clone(), device: Some("a".into()), acks: true }));
            owners.push((number, Who { user: user.clone(), device: Some("b".into()), acks: true }));
        } else {
            owners.push((number, Who { user: user.clone(), device: None, acks: number % DEPLOYED != 0 }));
        }
        users.push(user);
    }
    let mut ends = Vec::new();
    let seats = owners.iter().map(|(user, _)| {
        let (sayings, to_say) = unbounded_channel();
        let (harms, to_suffer) = unbounded_channel();
        ends.push((to_say, to_suffer));
        Seat { user: *user, sayings, harms }
    });
    let seats = seats.collect();
    let (backend, requests) = unbounded_channel();
    let world = World::new(users, seats, options.ring_timeout, StdRng::seed_from_u64(random.random()), backend);
    let backend =
        Backend { fleet: Arc::clone(fleet), world: Arc::clone(&world), history: Arc::clone(history), requests };
    tasks.spawn(backend.serve());
    for (index, ((_, who), (sayings, harms))) in owners.into_iter().zip(ends).enumerate() {
        let transport = if index % POLLS == 0 { Transport::Polling } else { Transport::Websocket };
        let handset = Handset {
            index,
            who,
            transport,
            stays_polling: index.is_multiple_of(STAYS_POLLING),
            silence: PING_INTERVAL + PING_TIMEOUT,
            fleet: Arc::clone(fleet),
            world: Arc::clone(&world),
            history: Arc::clone(history),
            sayings,
            harms,
        };
        tasks.spawn(handset.live());
    }
    world
}

/// Calls arrive and faults happen. Returns what the injector had of the store.
async fn load(
    options: &Chaos,
    world: &Arc<World>,
    injector: Injector,
    faults: Vec<Fault>,
    begin: Instant,
    seed: u64,
) -> anyhow::Result<Injector> {
    let mut arrivals = schedule::start(begin, Poisson::new(options.rate, options.duration, seed))?;
    let calls = async {
        let mut without_pair = 0u64;
        while arrivals.recv().await.is_some() {
            let may_stay = begin.elapsed() + STAY < options.duration;
            without_pair += u64::from(!world.call_somebody(may_stay));
        }
        if without_pair > 0 {
            eprintln!("  {without_pair} arrivals found nobody idle: take more --phones or a lower --rate");
        }
    };
    let (injected, ()) = tokio::join!(injector.run(faults, begin), calls);
    injected
}

/// Waits until every call is over and every phone is back, and for the dust after that.
async fn settle(world: &Arc<World>, history: &History, within: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    wait_for(world, within, |calls, away| calls == 0 && away == 0).await;
    let waited = begun.elapsed();
    tokio::time::sleep(DUST).await;
    let (open_calls, away) = world.unrest();
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    eprintln!("  settled after {waited_ms} ms, {open_calls} calls are open, {away} phones away");
    history.add(What::Settled { waited_ms, open_calls, away });
    Ok(())
}

/// Asks of which type calls are recorded whose phones spoke of it.
async fn read_types(world: &World, fleet: &Fleet, history: &History) -> anyhow::Result<()> {
    /// A node answers one address 500 times a second.
    const PAUSE: Duration = Duration::from_millis(3);
    let Some((node, address)) = fleet.pick() else { bail!("no node is up") };
    let stream = tokio::net::TcpStream::connect(address).await?;
    let mut connection = Connection::new(stream, address.to_string());
    for call in world.video_calls() {
        let answer = connection.get(&format!("/api/calls/{call}"), &format!("X-Internal-Secret: {SECRET}\r\n")).await?;
        let body: Value = serde_json::from_str(&answer.body)?;
        let call_type = body["callType"].as_str().map(str::to_owned);
        history.add(What::Record { node: node.clone(), call, call_type });
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Lets every user be rung once, by another who is idle, and asks the nodes what they count.
async fn probe(world: &Arc<World>, fleet: &Fleet, history: &History) -> anyhow::Result<()> {
    const AT_ONCE: usize = 60;
    let users = world.users();
    for parity in 0..2 {
        let callers: Vec<usize> = (0..users).filter(|user| user % 2 == parity).collect();
        for callers in callers.chunks(AT_ONCE) {
            callers.iter().for_each(|caller| drop(world.probe(*caller, (*caller + 1) % users)));
            tokio::time::sleep(Duration::from_millis(200)).await; // the probes' own time to ring
            wait_for(world, Duration::from_secs(5), |calls, _| calls == 0).await;
        }
    }
    // The counts of `/health` may be a second old.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for (node, address) in fleet.names() {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let answer = Connection::new(stream, address.to_string()).ask("/health", None).await?;
        let health: Value = serde_json::from_str(&answer.body)?;
        let (Some(active_calls), Some(users)) = (health["activeCalls"].as_u64(), health["connectedUsers"].as_u64())
        else {
            bail!("{node} says {}", answer.body)
        };
        if users != world.users() as u64 {
            eprintln!("  {node} counts {users} users, of the visitors {:?}", visitors_online(address).await?);
        }
        history.add(What::Audit { node, active_calls, users });
    }
    Ok(())
}

/// The visitors of whom a node says that they are online, though all have left.
async fn visitors_online(node: SocketAddr) -> anyhow::Result<Vec<String>> {
    let stream = tokio::net::TcpStream::connect(node).await?;
    let secret = format!("X-Internal-Secret: {SECRET}\r\n");
    let answer = Connection::new(stream, node.to_string()).get("/api/connected-users", &secret).await?;
    let online: Value = serde_json::from_str(&answer.body)?;
    let names = online["users"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(names.filter(|name| name.starts_with(VISITOR)).map(str::to_owned).collect())
}

async fn wait_for(world: &World, within: Duration, is_reached: impl Fn(usize, usize) -> bool) {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        let (calls, away) = world.unrest();
        if is_reached(calls, away) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // many tasks, no single event
    }
}
