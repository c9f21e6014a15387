//! `loadtest calls`: how fast each event comes, what goes wrong, and what a call costs.

mod board;
mod company;
mod faults;
mod judge;
#[cfg(test)]
mod judge_tests;
mod outcome;
mod story;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::dial::Transport;
use crate::options::Calls;
use crate::phone::Listener;
use crate::pool::Pool;
use crate::report::Report;
use crate::schedule::{self, Lasts, Poisson};
pub use board::{Board, Manner};
pub use company::Company;
pub use judge::PATIENCE;
use outcome::Outcome;
pub use words::Awaited;

/// Between the last connect and the first call.
const SETTLE: Duration = Duration::from_secs(1);
/// How long is listened on after the last call, for what comes late.
const LISTEN_ON: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_millis(100);

pub async fn run(options: &Calls) -> anyhow::Result<Report> {
    let cluster = Cluster::open(&options.target).await?;
    let run = rand::random_range(0..100_000_000);
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let nodes = cluster.addresses.clone();
    let crowd = Crowd { nodes, transport: Transport::Websocket, rate: options.connect_rate, run };
    crowd.make_room(options.phones, cluster.is_own())?;

    let users = (0..options.phones).map(|phone| crowd.user(phone)).collect();
    let (ring, talk) = (Lasts::Always(options.ring), Lasts::Always(options.talk));
    let manner = Manner { mix: options.mix, ring, talk, closed: options.pairs.is_some() };
    let pool = Pool::new(options.phones, crowd.nodes.len());
    let board = Arc::new(Board::new(manner, run, users, pool, StdRng::seed_from_u64(seed)));
    let listener: Arc<dyn Listener> = board.clone();
    let mut tasks = JoinSet::new();
    let came = crowd.come(0, options.phones, &listener, &mut tasks).await?;
    if let Some((failure, count)) = came.failures.first_key_value() {
        bail!("{count} of {} phones did not connect: {failure}", options.phones);
    }
    board.seat(came.phones.into_iter().collect::<Option<Vec<_>>>().context("a phone is missing")?);
    tokio::time::sleep(SETTLE).await;

    let before = cluster.usage().await?;
    let start = Instant::now() + Duration::from_millis(10);
    // Another stream of the same seed than that of pairs and plans.
    match options.pairs {
        None => play(&board, start, Poisson::new(options.rate, options.duration, !seed)).await?,
        Some(pairs) => saturate(&board, start + options.duration, pairs).await,
    }
    let after = cluster.usage().await?;
    tokio::time::sleep(LISTEN_ON).await;

    let state = board.state();
    let outcome = Outcome {
        judge: &state.judge,
        no_idle_pair: state.no_idle_pair,
        seconds: options.duration.as_secs_f64(),
        before: &before,
        after: &after,
    };
    Ok(Report {
        mode: "calls",
        text: outcome.text(),
        settings: json!({
            "rate": options.rate, "duration_s": options.duration.as_secs_f64(), "phones": options.phones,
            "mix": options.mix, "ring_s": options.ring.as_secs_f64(), "talk_s": options.talk.as_secs_f64(),
            "seed": seed, "pairs": options.pairs, "laravel": options.target.laravel, "node_env": options.target.node_env,
        }),
        cluster: cluster.describe(),
        died: cluster.dead().into_iter().map(str::to_owned).collect(),
        node_log: cluster.troubles(),
        figures: outcome.to_json(),
        clean: state.judge.faults.total() == 0 && cluster.dead().is_empty(),
    })
}

/// So many pairs call again as soon as they are idle, until the end; then until all calls are over.
async fn saturate(board: &Board, end: Instant, pairs: usize) {
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let now = Instant::now();
        while now < end && board.state().judge.open() < pairs as u64 && board.begin_if_idle(now) {}
        if now >= end && board.state().judge.open() == 0 {
            return;
        }
        let due = board.next_due().unwrap_or_else(|| now + SWEEP);
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => board.act(Instant::now()),
            () = board.sooner.notified() => {}
            _ = sweep.tick() => board.sweep(Instant::now()),
        }
    }
}

/// Until all calls that arrived are over.
pub async fn play(
    board: &Board,
    start: Instant,
    arrivals: impl Iterator<Item = Duration> + Send + 'static,
) -> anyhow::Result<()> {
    let mut arrivals = schedule::start(start, arrivals)?;
    let mut all_began = false;
    let mut sweep = tokio::time::interval(SWEEP);
    let mut told = 0;
    while !(all_began && board.state().judge.open() == 0) {
        let due = board.next_due().unwrap_or_else(|| Instant::now() + SWEEP);
        tokio::select! {
            arrival = arrivals.recv(), if !all_began => match arrival {
                Some(scheduled) => board.begin(scheduled),
                None => all_began = true,
            },
            () = tokio::time::sleep_until(due.into()) => board.act(Instant::now()),
            () = board.sooner.notified() => {}
            _ = sweep.tick() => {
                board.sweep(Instant::now());
                let second = start.elapsed().as_secs();
                if second > told {
                    told = second;
                    let state = board.state();
                    eprintln!("{}", outcome::progress(second, &state.judge, state.no_idle_pair));
                }
            }
        }
    }
    Ok(())
}
