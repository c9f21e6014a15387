//! `loadtest avalanche`: a node with thousands of phones is killed, and all of them come back elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::chaos::{FIRST_PAUSE, LONGEST_PAUSE, TRIES};
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::dial::{self, Failure, Line};
use crate::figures::{HEAD, Latency};
use crate::options::Avalanche;
use crate::packet::{Packet, Who};
use crate::phone;
use crate::report::Report;

/// The client's own patience with one try.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Phones come at this pace before the node is killed; its own limit is 500 a second.
const COME_PER_SECOND: f64 = 400.0;

/// How one phone came back.
pub struct Return {
    tries: u32,
    pub took: Duration,
    node: Option<SocketAddr>,
    pub failures: Vec<Failure>,
}

pub async fn run(options: &Avalanche) -> anyhow::Result<Report> {
    let mut cluster = Cluster::open(&options.target).await?;
    let [first, others @ ..] = cluster.addresses.as_slice() else { anyhow::bail!("no node") };
    let (first, others) = (*first, Arc::new(others.to_vec()));
    if others.is_empty() {
        anyhow::bail!("phones need another node to come back to: --start-nodes 3");
    }
    let run = rand::random_range(0..100_000_000);
    let crowd = Crowd { nodes: vec![first], transport: options.transport, rate: COME_PER_SECOND, run };
    crowd.make_room(options.phones, true)?;
    eprintln!("{} phones connect to one of {} nodes", options.phones, others.len() + 1);
    let mut lines = connect(&crowd, options).await?;
    let asked = cluster.laravel_asked();
    // A node judges leases only after its own held for one: as in any cluster that runs.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let killed = Instant::now();
    cluster.kill_first();
    eprintln!("its node is killed");
    let mut coming = JoinSet::new();
    for (index, line) in lines.drain(..).enumerate() {
        let who = Who::phone_of(&crowd.user(index));
        let (others, transport) = (Arc::clone(&others), options.transport);
        coming.spawn(async move {
            until_closed(line).await;
            come_back(index, &who, transport, &others, killed).await
        });
    }
    let (mut returns, mut living) = (Vec::new(), JoinSet::new());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            back = coming.join_next() => match back {
                Some(back) => {
                    let (back, line) = back?;
                    returns.push(back);
                    line.into_iter().for_each(|line| drop(living.spawn(until_closed(line))));
                }
                None => break,
            },
            _ = second.tick() => {
                let back = returns.iter().filter(|back: &&Return| back.node.is_some()).count();
                eprintln!("{:>4.0} s  {back} back", killed.elapsed().as_secs_f64());
            }
        }
    }
    // The counts of `/health` may be a second old.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let online = cluster.online(others[0]).await?;
    Ok(report(options, &cluster, &returns, asked, online))
}

async fn connect(crowd: &Crowd, options: &Avalanche) -> anyhow::Result<Vec<Line>> {
    let node = crowd.nodes[0];
    let mut lines = Vec::new();
    let mut dials = JoinSet::new();
    let gap = Duration::from_secs_f64(1.0 / crowd.rate);
    let mut turn = tokio::time::interval(gap);
    for index in 0..options.phones {
        turn.tick().await;
        let (who, transport) = (Who::phone_of(&crowd.user(index)), options.transport);
        dials.spawn(async move { (index, dial::dial(node, dial::source(node, index), transport, &who).await) });
    }
    while let Some(dialed) = dials.join_next().await {
        let (index, line) = dialed?;
        lines.push((index, line.map_err(|failure| anyhow::anyhow!("phone {index} did not connect: {failure}"))?));
    }
    lines.sort_by_key(|(index, _)| *index);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// Answers pings until the connection breaks.
async fn until_closed(line: Line) {
    use futures_util::SinkExt;
    use tokio_tungstenite::tungstenite::Message;
    let Line { mut socket, mut ahead, .. } = line;
    while let Some(Ok(message)) = phone::next(&mut ahead, &mut socket).await {
        if let Message::Text(text) = message
            && Packet::parse(&text) == Packet::Ping
            && socket.send(Message::text(crate::packet::PONG)).await.is_err()
        {
            return;
        }
    }
}

/// Comes back as the app's client does, by a load balancer that takes turns.
pub async fn come_back(
    index: usize,
    who: &Who,
    transport: dial::Transport,
    nodes: &[SocketAddr],
    since: Instant,
) -> (Return, Option<Line>) {
    let (mut pause, mut failures) = (FIRST_PAUSE, Vec::new());
    for attempt in 1..=TRIES {
        let share = rand::rng().random_range(0.5..1.5);
        tokio::time::sleep(pause.mul_f64(share)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let node = nodes[(index + attempt as usize) % nodes.len()];
        match tokio::time::timeout(CONNECT_WITHIN, dial::dial(node, dial::source(node, index), transport, who)).await {
            Ok(Ok(line)) => {
                let back = Return { tries: attempt, took: since.elapsed(), node: Some(node), failures };
                return (back, Some(line));
            }
            Ok(Err(failure)) => failures.push(failure),
            Err(_) => failures.push(Failure("not connected in time".into())),
        }
    }
    (Return { tries: TRIES, took: since.elapsed(), node: None, failures }, None)
}

fn report(options: &Avalanche, cluster: &Cluster, returns: &[Return], asked_before: usize, online: u64) -> Report {
    let (mut took, mut tries, mut failures) = (Latency::default(), BTreeMap::<u32, u64>::new(), BTreeMap::new());
    for back in returns {
        if back.node.is_some() {
            took.add(back.took);
            *tries.entry(back.tries).or_default() += 1;
        }
        back.failures.iter().for_each(|failure| *failures.entry(failure.0.clone()).or_insert(0u64) += 1);
    }
    let lost = returns.iter().filter(|back| back.node.is_none()).count();
    let asked = cluster.laravel_asked();
    let most_asked = cluster.laravel_most_asked();
    let mut lines = vec![
        format!("phones back           {} of {}", took.count(), returns.len()),
        format!("used up five tries    {lost}"),
        format!("users online after    {online}"),
    ];
    lines.extend(tries.iter().map(|(tries, count)| format!("  in try {tries}            {count}")));
    lines.extend([String::new(), HEAD.to_owned(), took.row("kill→ready"), String::new()]);
    if options.target.laravel {
        lines.push(format!("Laravel asked         {asked_before} times before, {} after", asked - asked_before));
        lines.push(format!("most often for a user {most_asked}"));
    }
    lines.push(format!("failed tries          {}", failures.values().sum::<u64>()));
    lines.extend(failures.iter().map(|(failure, count)| format!("  {count} {failure}")));
    let tries: BTreeMap<String, u64> = tries.into_iter().map(|(tries, count)| (tries.to_string(), count)).collect();
    Report {
        mode: "avalanche",
        text: lines.join("\n"),
        settings: json!({
            "phones": options.phones, "transport": options.transport.name(),
            "laravel": options.target.laravel, "node_env": options.target.node_env,
        }),
        cluster: cluster.describe(),
        node_log: cluster.troubles(),
        figures: json!({
            "back": took.count(), "lost": lost, "tries": tries, "kill_to_ready": took.to_json(), "online": online,
            "laravel": {"before": asked_before, "after": asked - asked_before, "most_for_a_user": most_asked},
            "failures": Value::from_iter(failures),
        }),
        died: Vec::new(),
        clean: lost == 0 && most_asked <= 1 && online == returns.len() as u64,
    }
}
