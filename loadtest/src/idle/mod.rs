//! `loadtest idle`: many sessions that only stay, and calls beside them.

pub mod bystanders;
mod outcome;
mod processes;

use std::time::Duration;

use serde_json::json;

use crate::calls::Company;
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::dial::BLOCK;
use crate::options::Idle;
use crate::report::Report;
use outcome::{Outcome, Talk};
use processes::Processes;

/// What is still on its way when the last phone is ready.
const SETTLE: Duration = Duration::from_secs(1);

pub async fn run(options: &Idle) -> anyhow::Result<Report> {
    let cluster = Cluster::open(&options.target).await?;
    let run = rand::random_range(0..100_000_000);
    let crowd = Crowd { nodes: cluster.addresses.clone(), transport: options.transport, rate: options.rate, run };
    let callers = callers(options.calls_rate);
    if cluster.is_own() {
        crowd.check_nodes(options.phones + 2 * callers)?;
    }
    // Each company has figures of its own: one calls before the crowd comes, one beside it.
    let companies = match callers {
        0 => None,
        callers => Some([Company::meet(&crowd.nodes, callers).await?, Company::meet(&crowd.nodes, callers).await?]),
    };
    let quiet = cluster.usage().await?;
    if let Some([alone, _]) = &companies {
        eprintln!("{} calls a second without the crowd, for {:?}", options.calls_rate, options.before);
        alone.call(options.calls_rate, options.before).await?;
    }
    let called = cluster.usage().await?;

    let mut processes = come(&crowd, options).await?;
    tokio::time::sleep(SETTLE).await;
    let (pings, generator) = (processes.ask().await?.pings, processes.cpu()?);
    let begin = cluster.usage().await?;
    eprintln!("holding the sessions for {:?}", options.hold);
    let beside = async {
        match &companies {
            Some([_, beside]) => beside.call(options.calls_rate, options.hold).await,
            None => Ok(()),
        }
    };
    let ((), beside) = tokio::join!(tokio::time::sleep(options.hold), beside);
    beside?;
    let end = cluster.usage().await?;
    let (told, generator) = (processes.ask().await?, processes.cpu()?.saturating_sub(generator));

    let outcome = Outcome {
        phones: options.phones,
        sessions: told.held() + 2 * callers as u64,
        pings: told.pings - pings,
        told,
        talks: companies.as_ref().map(|companies| companies.each_ref().map(Talk::of)),
        before: [quiet, called],
        hold: [begin, end],
        generator,
    };
    let dead: Vec<String> = cluster.dead().into_iter().map(str::to_owned).collect();
    Ok(Report {
        mode: "idle",
        text: outcome.text(),
        settings: json!({
            "phones": options.phones, "processes": processes.count(), "rate": options.rate,
            "hold_s": options.hold.as_secs_f64(), "calls_rate": options.calls_rate, "callers": callers,
            "before_s": options.before.as_secs_f64(), "transport": options.transport.name(),
            "laravel": options.target.laravel, "node_env": options.target.node_env,
        }),
        cluster: cluster.describe(),
        node_log: cluster.troubles(),
        figures: outcome.to_json(),
        clean: outcome.is_clean() && dead.is_empty(),
        died: dead,
    })
}

/// Phones of one company for so many calls a second: three times as many as are in a call.
fn callers(rate: f64) -> usize {
    if rate == 0.0 { 0 } else { ((rate * 4.0) as usize).max(20) }
}

/// Until all phones are connected or refused.
async fn come(crowd: &Crowd, options: &Idle) -> anyhow::Result<Processes> {
    let each = options.per_process.unwrap_or(BLOCK).min(crowd.most()?);
    let mut processes = Processes::start(crowd, options.phones, each)?;
    eprintln!("{} phones come from {} processes", options.phones, processes.count());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let told = processes.ask().await?;
        eprintln!("{} of {} connected, {} refused", told.connected, options.phones, told.refused());
        if told.connected + told.refused() >= options.phones as u64 {
            return Ok(processes);
        }
    }
}
