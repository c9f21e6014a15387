//! Many seeds, each in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::options::Chaos;
use crate::report::Report;

pub async fn run(options: &Chaos) -> anyhow::Result<Report> {
    let first = options.seed.unwrap_or(1);
    let folder = std::env::temp_dir().join(format!("chaos-seeds-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut waiting = (first..first + options.seeds).collect::<Vec<u64>>().into_iter();
    let mut running = JoinSet::new();
    let mut done: Vec<(u64, Value)> = Vec::new();
    loop {
        while running.len() < options.parallel
            && let Some(seed) = waiting.next()
        {
            running.spawn(one(seed, folder.join(format!("{seed}.json"))));
        }
        match running.join_next().await {
            Some(finished) => done.push(finished??),
            None => break,
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    done.sort_by_key(|(seed, _)| *seed);
    let mut lines = vec!["  seed   calls   faults   ringing met   active met   reconnects   violations".to_owned()];
    let mut totals = [0u64; 6];
    for (seed, figures) in &done {
        let met = |what: &str| {
            let kinds = figures["faults"].as_object().into_iter().flatten();
            kinds.map(|(_, struck)| struck[what].as_u64().unwrap_or(0)).sum::<u64>()
        };
        let row = [
            figures["calls"].as_u64().unwrap_or(0),
            met("times"),
            met("ringing"),
            met("active"),
            figures["reconnects"].as_u64().unwrap_or(0),
            figures["violations"].as_array().map_or(0, Vec::len) as u64,
        ];
        lines.push(shown(&seed.to_string(), row));
        totals.iter_mut().zip(row).for_each(|(total, value)| *total += value);
    }
    lines.push(shown("all", totals));
    Ok(Report {
        mode: "chaos",
        text: lines.join("\n"),
        settings: json!({"first_seed": first, "seeds": options.seeds, "duration_s": options.duration.as_secs_f64()}),
        cluster: json!({}),
        node_log: Default::default(),
        figures: json!(
            done.iter().map(|(seed, figures)| json!({"seed": seed, "figures": figures})).collect::<Vec<_>>()
        ),
        died: Vec::new(),
        clean: totals[5] == 0,
    })
}

fn shown(seed: &str, [calls, faults, ringing, active, reconnects, violations]: [u64; 6]) -> String {
    format!("{seed:>6}{calls:>8}{faults:>9}{ringing:>14}{active:>13}{reconnects:>13}{violations:>13}")
}

/// Runs this program again for one seed, with the same options otherwise. Its table goes to standard error.
async fn one(seed: u64, json: PathBuf) -> anyhow::Result<(u64, Value)> {
    let program = std::env::current_exe()?;
    let arguments = own_arguments(std::env::args().skip(1));
    let output = Command::new(program)
        .args(arguments)
        .args(["--seeds", "1", "--seed", &seed.to_string(), "--json"])
        .arg(&json)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    eprintln!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    Ok((seed, figures(&json, seed)?))
}

fn figures(json: &Path, seed: u64) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(json).with_context(|| format!("seed {seed} did not finish"))?;
    let report: Value = serde_json::from_str(&text)?;
    if report["figures"]["calls"].is_null() {
        bail!("seed {seed} left no figures");
    }
    Ok(report["figures"].clone())
}

/// The arguments without those that are given for each seed.
fn own_arguments(arguments: impl Iterator<Item = String>) -> Vec<String> {
    const REPLACED: [&str; 4] = ["--seed", "--seeds", "--parallel", "--json"];
    let mut kept = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let name = argument.split('=').next().unwrap_or_default();
        if !REPLACED.contains(&name) {
            kept.push(argument);
        } else if !argument.contains('=') {
            arguments.next();
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_runs_with_the_other_options() {
        let given = ["chaos", "--seeds", "20", "--rate=30", "--seed=4", "--json", "x", "--faults", "kill"];
        let kept = own_arguments(given.map(str::to_owned).into_iter());
        assert_eq!(kept, ["chaos", "--rate=30", "--faults", "kill"]);
    }
}
