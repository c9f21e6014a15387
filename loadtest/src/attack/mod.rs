//! `loadtest attack`: what one attacker costs a node, and what phones that call each other notice of it.

pub mod attacker;
mod fresh;
mod rows;
mod run;
mod watch;

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Map, Value, json};

use crate::figures::round;
use crate::options::Attack;
use crate::report::Report;
use rows::{ROWS, Row};
use run::Outcome;

pub async fn run(options: &Attack) -> anyhow::Result<Report> {
    let rows = chosen(&options.only)?;
    if options.list {
        return Ok(report(rows.iter().map(|row| format!("{:<20}{}", row.name, row.does)).collect(), Map::new(), true));
    }
    if options.together
        && let Some(row) = rows.iter().find(|row| row.is_alone())
    {
        bail!("{} needs nodes of its own", row.name);
    }
    let (mut lines, mut figures, mut clean) = (Vec::new(), Map::new(), true);
    let mut log = BTreeMap::new();
    let groups: Vec<&[&'static Row]> = if options.together { vec![&rows[..]] } else { rows.chunks(1).collect() };
    for group in groups {
        group.iter().for_each(|row| eprintln!("{}: {}", row.name, row.does));
        for (row, outcome) in group.iter().zip(run::run(group, options).await?) {
            lines.extend(outcome.lines(row, options));
            clean &= outcome.broken(row, options).is_empty();
            figures.insert(row.name.into(), to_json(row, &outcome, options));
            for (line, count) in outcome.node_log {
                *log.entry(line).or_default() += count;
            }
        }
    }
    let mut report = report(lines, figures, clean);
    report.node_log = log;
    report.settings = json!({
        "before_s": options.before.as_secs_f64(), "rate": options.rate, "no_p99": options.no_p99,
        "node_env": options.node_env,
    });
    Ok(report)
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        bail!("{unknown} is no attack, see --list");
    }
    Ok(ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect())
}

fn report(lines: Vec<String>, figures: Map<String, Value>, clean: bool) -> Report {
    Report {
        mode: "attack",
        text: lines.join("\n"),
        settings: Value::Null,
        cluster: Value::Null,
        node_log: BTreeMap::new(),
        figures: Value::Object(figures),
        died: Vec::new(),
        clean,
    }
}

fn to_json(row: &Row, outcome: &Outcome, options: &Attack) -> Value {
    let rounded: BTreeMap<&String, f64> = outcome.figures.iter().map(|(name, value)| (name, round(*value))).collect();
    json!({
        "does": row.does, "figures": rounded, "broken": outcome.broken(row, options), "examples": outcome.examples,
    })
}
