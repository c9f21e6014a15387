//! The figures of a run of calls.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::judge::Judge;
use super::words::Awaited;
use crate::cluster::Usage;
use crate::figures::{HEAD, millis, round, shown};

/// Commands named in the table; the JSON has all.
const NAMED: usize = 12;

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
    fn calls(&self) -> f64 {
        self.judge.started.max(1) as f64
    }

    fn node_cpu(&self) -> Option<f64> {
        Some(millis(self.after.nodes_cpu(self.before)?) / self.calls())
    }

    fn redis_cpu(&self) -> Option<f64> {
        Some(millis(self.after.redis_cpu(self.before)?) / self.calls())
    }

    fn core_share(&self, cpu: Duration) -> f64 {
        100.0 * cpu.as_secs_f64() / (self.after.at - self.before.at).as_secs_f64()
    }

    /// Redis commands per call by name, most frequent first.
    fn commands(&self) -> Vec<(String, f64)> {
        let commands = self.after.commands(self.before).unwrap_or_default();
        let mut commands: Vec<(String, f64)> =
            commands.by_name.into_iter().map(|(name, count)| (name, count as f64 / self.calls())).collect();
        commands.sort_by(|one, other| other.1.total_cmp(&one.1));
        commands
    }

    fn commands_per_call(&self) -> Option<f64> {
        Some(self.after.commands(self.before)?.total as f64 / self.calls())
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
        lines.push(format!("node CPU per call, ms               {}", shown(self.node_cpu())));
        lines.push(format!("Redis CPU per call, ms              {}", shown(self.redis_cpu())));
        lines.push(format!("Redis commands per call             {}", shown(self.commands_per_call())));
        let named = self.commands().into_iter().take(NAMED).map(|(name, count)| format!("{name} {count:.2}"));
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            lines.push(format!("  {}", named.join(", ")));
        }
        let (own, others) = (self.after.own(self.before), self.after.others(self.before));
        lines.push(format!("load generator, % of a core         {:.0}", self.core_share(own)));
        lines.push(format!("rest of the machine, % of a core    {:.0}", self.core_share(others)));
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let judge = self.judge;
        let mut latency: Map<String, Value> = Awaited::ALL
            .map(|awaited| (awaited.name().to_owned(), judge.latencies[awaited as usize].to_json()))
            .into_iter()
            .collect();
        latency.insert("own delay".into(), judge.own_delay.to_json());
        let commands: Map<String, Value> =
            self.commands().into_iter().map(|(name, count)| (name, round(count).into())).collect();
        json!({
            "calls": {
                "offered": judge.started + self.no_idle_pair, "started": judge.started,
                "no_idle_pair": self.no_idle_pair, "completed": judge.settled, "given_up": judge.abandoned,
                "per_second": round(judge.started as f64 / self.seconds),
                "completed_per_second": round(judge.settled as f64 / self.seconds),
            },
            "latency": latency,
            "faults": judge.faults.to_json(),
            "node_cpu_ms_per_call": self.node_cpu().map(round),
            "redis_cpu_ms_per_call": self.redis_cpu().map(round),
            "redis_commands_per_call": self.commands_per_call().map(round),
            "redis_commands_per_call_by_name": commands,
            "generator_core_percent": round(self.core_share(self.after.own(self.before))),
            "others_core_percent": round(self.core_share(self.after.others(self.before))),
        })
    }
}
