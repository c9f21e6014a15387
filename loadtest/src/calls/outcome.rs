//! The figures of a run of calls.

use serde_json::{Map, Value, json};

use super::judge::Judge;
use super::words::Awaited;
use crate::cluster::Usage;
use crate::cost::Cost;
use crate::figures::{HEAD, round};

pub struct Outcome<'a> {
    pub judge: &'a Judge,
    pub no_idle_pair: u64,
    /// How long calls arrived.
    pub seconds: f64,
    pub before: &'a Usage,
    pub after: &'a Usage,
}

/// A line for each second.
pub fn progress(second: u64, judge: &Judge, no_idle_pair: u64) -> String {
    let incoming = &judge.latencies[Awaited::Incoming as usize];
    format!(
        "{second:>4} s  {} calls, {} open, {no_idle_pair} without idle pair, {} faults, incoming p50 {:.2} p99 {:.2} ms",
        judge.started,
        judge.open(),
        judge.faults.total(),
        incoming.at(0.50),
        incoming.at(0.99),
    )
}

impl Outcome<'_> {
    fn cost(&self) -> Cost<'_> {
        Cost { before: self.before, after: self.after, what: "call", count: self.judge.started }
    }

    pub fn text(&self) -> String {
        let judge = self.judge;
        let mut lines = vec![
            format!("calls started       {} ({:.1} a second)", judge.started, judge.started as f64 / self.seconds),
            format!("no idle pair        {}", self.no_idle_pair),
            format!("completed           {}", judge.settled),
            format!("given up            {}", judge.abandoned),
            String::new(),
            HEAD.to_owned(),
        ];
        lines.extend(Awaited::ALL.map(|awaited| judge.latencies[awaited as usize].row(awaited.name())));
        lines.push(judge.own_delay.row("own delay"));
        lines.push(String::new());
        lines.push(format!("{:<14}{:>8}", "faults", judge.faults.total()));
        lines.extend(judge.faults.lines());
        lines.extend(judge.faults.examples.iter().map(|example| format!("  {example}")));
        lines.push(String::new());
        lines.extend(self.cost().lines());
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let judge = self.judge;
        let mut latency: Map<String, Value> = Awaited::ALL
            .map(|awaited| (awaited.name().to_owned(), judge.latencies[awaited as usize].to_json()))
            .into_iter()
            .collect();
        latency.insert("own delay".into(), judge.own_delay.to_json());
        let mut figures = json!({
            "calls": {
                "offered": judge.started + self.no_idle_pair, "started": judge.started,
                "no_idle_pair": self.no_idle_pair, "completed": judge.settled, "given_up": judge.abandoned,
                "per_second": round(judge.started as f64 / self.seconds),
                "completed_per_second": round(judge.settled as f64 / self.seconds),
            },
            "latency": latency,
            "faults": judge.faults.to_json(),
        });
        if let Some(figures) = figures.as_object_mut() {
            figures.extend(self.cost().to_json());
        }
        figures
    }
}
