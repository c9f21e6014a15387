//! `loadtest compare`: this project's nodes and the Node.js baseline in turn, on one machine, by one load generator, so
//! that the machine's mood concerns both. Only the ratios of one run are claims. `loadtest diff` compares two runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cluster;
use crate::figures::round;
use crate::options::Compare;
use crate::report::Report;
use crate::svg;

/// Others used more of the machine than this: its figures claim nothing.
const QUIET_PERCENT: f64 = 20.0;
const OURS: &str = "ours";
const BASELINE: &str = "baseline";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// Calls at each rate.
    Calls,
    /// Pairs that call without a pause.
    Saturation,
    /// Connects by websocket, and the sessions held.
    Websocket,
    /// Connects by polling with an upgrade, as the Android app does.
    Polling,
}

/// A figure that both sides have, where it is in the report of a run, and what it shall be at most (or at least) of the
/// baseline's.
struct Figure {
    name: &'static str,
    path: &'static str,
    goal: Option<f64>,
    more_is_better: bool,
}

const fn at_most(name: &'static str, path: &'static str, goal: f64) -> Figure {
    Figure { name, path, goal: Some(goal), more_is_better: false }
}

const CALLS: [Figure; 4] = [
    at_most("node CPU per call, ms", "/node_cpu_ms_per_call", 0.30),
    at_most("Redis CPU per call, ms", "/redis_cpu_ms_per_call", 0.7),
    at_most("initiate→incoming p50, ms", "/latency/initiate→incoming/p50_ms", 0.6),
    at_most("initiate→incoming p99, ms", "/latency/initiate→incoming/p99_ms", 0.3),
];
const SATURATION: [Figure; 1] = [Figure {
    name: "completed calls a second",
    path: "/calls/completed_per_second",
    goal: Some(3.0),
    more_is_better: true,
}];
const CONNECTS: [Figure; 3] = [
    at_most("node CPU per connect, ms", "/node_cpu_ms_per_connect", 0.25),
    Figure {
        name: "memory per session, KiB",
        path: "/node_memory_kib_per_further_session",
        goal: None,
        more_is_better: false,
    },
    at_most("idle CPU per 1,000 sessions, ms/s", "/idle_node_cpu_ms_per_second_per_1000_sessions", 0.25),
];

/// One run that both sides play.
struct Play {
    name: String,
    arguments: Vec<String>,
    figures: &'static [Figure],
}

fn plays(options: &Compare) -> Vec<Play> {
    let wants = |probe| options.only.is_empty() || options.only.contains(&probe);
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
    let seconds = options.duration.as_millis();
    let mut plays = Vec::new();
    for rate in options.rates.iter().filter(|_| wants(Probe::Calls)) {
        // Busy phones are rate × (ring + talk) × 2; twice as many find a pair at once.
        let phones = (rate * 5).max(400);
        let arguments = words(format!("calls --rate {rate} --duration {seconds}ms --phones {phones}"));
        plays.push(Play { name: format!("{rate} calls/s"), arguments, figures: &CALLS });
    }
    if wants(Probe::Saturation) {
        let (pairs, phones) = (options.pairs, options.pairs * 2);
        let arguments =
            words(format!("calls --pairs {pairs} --phones {phones} --duration {seconds}ms --ring 0s --talk 0s"));
        plays.push(Play { name: format!("saturation, {pairs} pairs"), arguments, figures: &SATURATION });
    }
    for (probe, transport) in [(Probe::Websocket, "websocket"), (Probe::Polling, "polling")] {
        if wants(probe) {
            let arguments =
                words(format!("connect --phones {} --rate 500 --transport {transport} --hold 15s", options.phones));
            plays.push(Play { name: format!("connects, {transport}"), arguments, figures: &CONNECTS });
        }
    }
    plays
}

/// The reports of one side, by the name of the play.
type Reports = BTreeMap<String, Vec<Value>>;

pub async fn run(options: &Compare) -> anyhow::Result<Report> {
    let ours = cluster::binary(options.binary.as_deref())?;
    let baseline = match &options.baseline {
        Some(told) => told.clone(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline-node/server.mjs"),
    };
    install(&baseline).await?;
    let plays = plays(options);
    let (mut of_ours, mut of_baseline) = (Reports::new(), Reports::new());
    for round in 0..options.rounds {
        for play in &plays {
            let mut sides = [(OURS, &ours, &mut of_ours), (BASELINE, &baseline, &mut of_baseline)];
            // Whoever comes second finds a warmer machine.
            if round % 2 == 1 {
                sides.reverse();
            }
            for (side, binary, reports) in sides {
                eprintln!("round {} of {}: {}, {side}", round + 1, options.rounds, play.name);
                let report = play_once(binary, &play.arguments).await?;
                reports.entry(play.name.clone()).or_default().push(report);
            }
        }
    }
    let rows: Vec<Row> = plays.iter().flat_map(|play| rows(play, &of_ours, &of_baseline)).collect();
    if let Some(folder) = &options.svg {
        draw(folder, &plays, &of_ours, &of_baseline)?;
    }
    let troubles = troubles(&of_ours);
    Ok(Report {
        mode: "compare",
        text: table(&rows, &troubles, options.rounds),
        settings: json!({
            "rounds": options.rounds, "rates": options.rates, "duration_s": options.duration.as_secs_f64(),
            "phones": options.phones, "pairs": options.pairs,
        }),
        cluster: json!({"ours": ours, "baseline": baseline}),
        node_log: BTreeMap::new(),
        figures: json!({
            "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "troubles": troubles,
            "runs": {OURS: of_ours, BASELINE: of_baseline},
        }),
        died: Vec::new(),
        clean: troubles.is_empty(),
    })
}

/// The baseline's modules, as its lock file pins them.
async fn install(baseline: &Path) -> anyhow::Result<()> {
    let folder = baseline.parent().unwrap_or(Path::new("."));
    if !folder.join("package-lock.json").is_file() || folder.join("node_modules").is_dir() {
        return Ok(());
    }
    eprintln!("installing the modules of {}", folder.display());
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder).stdout(Stdio::null());
    if !npm.status().await.context("npm can't be run")?.success() {
        bail!("npm ci failed in {}", folder.display());
    }
    Ok(())
}

/// A run in a process of its own: its CPU time is that of this run.
async fn play_once(binary: &Path, arguments: &[String]) -> anyhow::Result<Value> {
    let file = std::env::temp_dir().join(format!("loadtest-{:016x}.json", rand::random::<u64>()));
    let mut child = Command::new(std::env::current_exe()?);
    child.args(arguments).arg("--binary").arg(binary).arg("--json").arg(&file);
    child.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    child.status().await.context("a run can't be started")?;
    let text = std::fs::read_to_string(&file);
    let _ = std::fs::remove_file(&file);
    let text = text.with_context(|| format!("{} {} failed", binary.display(), arguments.join(" ")))?;
    Ok(serde_json::from_str(&text)?)
}

struct Row {
    play: String,
    figure: &'static Figure,
    ours: Vec<f64>,
    baseline: Vec<f64>,
}

fn rows(play: &Play, ours: &Reports, baseline: &Reports) -> Vec<Row> {
    let read = |reports: &Reports, figure: &Figure| -> Vec<f64> {
        let reports = reports.get(&play.name).map(Vec::as_slice).unwrap_or_default();
        reports.iter().filter_map(|report| report["figures"].pointer(figure.path)?.as_f64()).collect()
    };
    let row =
        |figure| Row { play: play.name.clone(), figure, ours: read(ours, figure), baseline: read(baseline, figure) };
    play.figures.iter().map(row).collect()
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(*value), most.max(*value)))
}

impl Row {
    /// The median of the ratios of each round: both sides of one have met the same machine.
    fn ratio(&self) -> Option<f64> {
        let ratios = self.ours.iter().zip(&self.baseline).map(|(ours, baseline)| ours / baseline);
        median(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>())
    }

    fn holds(&self) -> Option<bool> {
        let (goal, ratio) = (self.figure.goal?, self.ratio()?);
        Some(if self.figure.more_is_better { ratio >= goal } else { ratio <= goal })
    }

    fn to_json(&self) -> Value {
        let side = |values: &[f64]| {
            let (least, most) = spread(values);
            json!({"median": median(values).map(round), "min": least, "max": most, "values": values})
        };
        json!({
            "play": self.play, "figure": self.figure.name, "ours": side(&self.ours), "baseline": side(&self.baseline),
            "ratio": self.ratio().map(round), "goal": self.figure.goal, "holds": self.holds(),
        })
    }

    fn line(&self) -> String {
        let side = |values: &[f64]| match median(values) {
            None => "-".to_owned(),
            Some(middle) => {
                let (least, most) = spread(values);
                format!("{middle:.2} ({least:.2}–{most:.2})")
            }
        };
        let goal = match (self.figure.goal, self.figure.more_is_better) {
            (Some(goal), true) => format!("≥ {goal}"),
            (Some(goal), false) => format!("≤ {goal}"),
            (None, _) => String::new(),
        };
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let mark = if self.holds() == Some(false) { " !" } else { "" };
        format!(
            "| {} | {} | {} | {} | {ratio}{mark} | {goal} |",
            self.play,
            self.figure.name,
            side(&self.ours),
            side(&self.baseline)
        )
    }
}

/// What spoils figures: runs of ours with faults, and others on the machine.
fn troubles(ours: &Reports) -> Vec<String> {
    let mut troubles = Vec::new();
    for (play, reports) in ours {
        let faulty = reports.iter().filter(|report| report["clean"] != true).count();
        if faulty > 0 {
            troubles.push(format!("{play}: {faulty} of {} runs were not clean", reports.len()));
        }
        let others: Vec<f64> =
            reports.iter().filter_map(|report| report["figures"]["others_core_percent"].as_f64()).collect();
        if median(&others).is_some_and(|others| others > QUIET_PERCENT) {
            troubles.push(format!("{play}: the machine was not quiet, these figures are no claim"));
        }
    }
    troubles
}

fn table(rows: &[Row], troubles: &[String], rounds: usize) -> String {
    let mut lines = vec![
        format!("| median of {rounds} rounds (least–most) | | ours | baseline | ratio | goal |"),
        "| --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    lines.extend(rows.iter().map(Row::line));
    lines.push(String::new());
    lines.extend(troubles.iter().cloned());
    let judged: Vec<bool> = rows.iter().filter_map(Row::holds).collect();
    let held = judged.iter().filter(|held| **held).count();
    lines.push(format!("verdict: {held} of {} goals held", judged.len()));
    lines.join("\n")
}

fn draw(folder: &Path, plays: &[Play], ours: &Reports, baseline: &Reports) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let buckets = |reports: &Reports, play: &Play| {
        let mut sum: BTreeMap<u64, u64> = BTreeMap::new();
        for report in reports.get(&play.name).into_iter().flatten() {
            for bucket in
                report["figures"]["latency"]["initiate→incoming"]["histogram"].as_array().into_iter().flatten()
            {
                let bound = bucket[0].as_f64().unwrap_or_default() * 1000.0;
                *sum.entry(bound as u64).or_default() += bucket[1].as_u64().unwrap_or_default();
            }
        }
        sum.into_iter().map(|(micros, count)| (micros as f64 / 1000.0, count)).collect()
    };
    for (play, rate) in plays.iter().filter_map(|play| Some((play, play.name.strip_suffix(" calls/s")?))) {
        let sides = [
            svg::Side { name: OURS, colour: "#06c", buckets: buckets(ours, play) },
            svg::Side { name: BASELINE, colour: "#c60", buckets: buckets(baseline, play) },
        ];
        let title = format!("initiate→incoming across nodes at {rate} calls/s");
        std::fs::write(folder.join(format!("latency-{rate}.svg")), svg::histogram(&title, &sides))?;
    }
    Ok(())
}

/// Two files of `compare`: ours and the ratio, before and after. What lies outside the other's spread is marked.
pub fn diff(before: &Path, after: &Path) -> anyhow::Result<Report> {
    let read = |path: &Path| -> anyhow::Result<Value> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let document: Value = serde_json::from_str(&text)?;
        if document["mode"] != "compare" {
            bail!("{} was not written by loadtest compare", path.display());
        }
        Ok(document)
    };
    let (one, other) = (read(before)?, read(after)?);
    Ok(Report {
        mode: "diff",
        text: changes(&one["figures"]["rows"], &other["figures"]["rows"]),
        settings: json!({"before": before, "after": after}),
        cluster: Value::Null,
        node_log: BTreeMap::new(),
        figures: Value::Null,
        died: Vec::new(),
        clean: true,
    })
}

fn changes(before: &Value, after: &Value) -> String {
    let mut lines = vec![
        "| | | ours before | ours after | change | ratio before | ratio after |".to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for row in after.as_array().into_iter().flatten() {
        let same = |other: &&Value| other["play"] == row["play"] && other["figure"] == row["figure"];
        let Some(old) = before.as_array().into_iter().flatten().find(same) else { continue };
        let number = |value: &Value| value.as_f64();
        let (Some(was), Some(is)) = (number(&old["ours"]["median"]), number(&row["ours"]["median"])) else { continue };
        let apart = number(&old["ours"]["max"]) < number(&row["ours"]["min"])
            || number(&row["ours"]["max"]) < number(&old["ours"]["min"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines.push(format!(
            "| {} | {} | {was:.2} | {is:.2} | {:+.0} %{} | {} | {} |",
            text(&row["play"]),
            text(&row["figure"]),
            100.0 * (is - was) / was,
            if apart { " *" } else { "" },
            old["ratio"],
            row["ratio"],
        ));
    }
    lines.push("\n* outside the spread of the other".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_are_by_round() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let row =
            Row { play: "p".into(), figure: &CALLS[0], ours: vec![1.0, 2.0, 1.0], baseline: vec![4.0, 10.0, 5.0] };
        assert_eq!((row.ratio(), row.holds()), (Some(0.2), Some(true)));
        let row = Row { play: "p".into(), figure: &SATURATION[0], ours: vec![2.0], baseline: vec![1.0] };
        assert_eq!(row.holds(), Some(false), "more is better here");
        assert!(row.line().ends_with("| 2.00 ! | ≥ 3 |"), "{}", row.line());
    }

    #[test]
    fn a_diff_marks_what_is_outside_the_spread() {
        let rows = |median: f64, least: f64, most: f64| json!([{"play": "p", "figure": "f", "ours": {"median": median, "min": least, "max": most}, "ratio": 0.5}]);
        let text = changes(&rows(2.0, 1.9, 2.1), &rows(1.0, 0.9, 1.1));
        assert!(text.contains("| p | f | 2.00 | 1.00 | -50 % * | 0.5 | 0.5 |"), "{text}");
        assert!(!changes(&rows(2.0, 0.5, 2.5), &rows(1.0, 0.9, 1.1)).contains("% *"));
    }
}
