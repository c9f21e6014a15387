//! `loadtest`: open-loop load for a signaling cluster.

#![expect(clippy::disallowed_methods, reason = "a program of its own: its tests use tasks, its reports the date")]

mod attack;
mod avalanche;
mod calls;
mod chaos;
mod child;
mod cluster;
mod compare;
mod connect;
mod cost;
mod crowd;
mod dial;
mod evening;
mod figures;
mod held;
mod http;
mod idle;
mod laravel;
mod max;
mod options;
mod packet;
mod phone;
mod pool;
mod presence;
mod procfs;
mod redis;
mod report;
mod schedule;
mod svg;
mod targets;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{Mode, Options};
use crate::report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    // One thread: phones wake no other core, and what this program costs is one figure.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let code = runtime.block_on(async {
        tokio::select! {
            report = run(&options) => match report {
                Ok(report) => hand_over(&report, json_path(&options)),
                Err(error) => fail(&error),
            },
            // What was started here is ended by being dropped.
            () = interrupted() => {
                eprintln!("loadtest: interrupted");
                ExitCode::from(130)
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn run(options: &Options) -> anyhow::Result<Report> {
    match &options.mode {
        Mode::Connect(connect) => connect::run(connect).await,
        Mode::Calls(calls) => calls::run(calls).await,
        Mode::Compare(options) => compare::run(options).await,
        Mode::Diff(diff) => compare::diff(&diff.before, &diff.after),
        Mode::Chaos(chaos) => chaos::run(chaos).await,
        Mode::Idle(idle) => idle::run(idle).await,
        Mode::Bystanders(bystanders) => idle::bystanders::run(bystanders).await,
        Mode::Max(max) => max::run(max).await,
        Mode::Presence(presence) => presence::run(presence).await,
        Mode::Avalanche(avalanche) => avalanche::run(avalanche).await,
        Mode::Evening(evening) => evening::run(evening).await,
        Mode::Attack(attack) => attack::run(attack).await,
        Mode::Attacker(attacker) => attack::attacker::run(attacker).await,
    }
}

fn json_path(options: &Options) -> Option<&Path> {
    let json = match &options.mode {
        Mode::Connect(connect) => &connect.target.json,
        Mode::Calls(calls) => &calls.target.json,
        Mode::Chaos(chaos) => &chaos.json,
        Mode::Idle(idle) => &idle.target.json,
        Mode::Max(max) => &max.target.json,
        Mode::Presence(presence) => &presence.target.json,
        Mode::Avalanche(avalanche) => &avalanche.target.json,
        Mode::Evening(evening) => &evening.json,
        Mode::Attack(attack) => &attack.json,
        Mode::Compare(compare) => &compare.json,
        Mode::Attacker(_) | Mode::Bystanders(_) | Mode::Diff(_) => &None,
    };
    json.as_deref()
}

fn hand_over(report: &Report, json: Option<&Path>) -> ExitCode {
    report.print();
    if let Some(Err(error)) = json.map(|path| report.write(path)) {
        return fail(&error);
    }
    if report.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("loadtest: {error:#}");
    ExitCode::FAILURE
}

/// Resolves on ctrl-c and SIGTERM.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
