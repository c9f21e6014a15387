//! The figures of users who come and go.

use serde_json::{Value, json};

use super::ledger::Tally;
use crate::cost::Cost;
use crate::figures::{HEAD, round};

pub struct Outcome<'a> {
    pub tally: &'a Tally,
    /// How long changes arrived.
    pub seconds: f64,
    pub cost: Cost<'a>,
}

/// A line for each second.
pub fn progress(second: u64, tally: &Tally, open: usize) -> String {
    format!(
        "{second:>4} s  {} came, {} went, {open} not told yet, {} faults, online p50 {:.2} p99 {:.2} ms",
        tally.came,
        tally.went,
        tally.faults(),
        tally.online.at(0.50),
        tally.online.at(0.99),
    )
}

impl Tally {
    pub fn changes(&self) -> u64 {
        self.came + self.went
    }

    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// How often a watcher heard of a change.
    fn told(&self) -> u64 {
        self.online.count() + self.offline.count()
    }
}

impl Outcome<'_> {
    pub fn text(&self) -> String {
        let tally = self.tally;
        let per_second = tally.changes() as f64 / self.seconds;
        let each = tally.told() as f64 / tally.changes().max(1) as f64;
        let mut lines = vec![
            format!(
                "changes             {} ({per_second:.1} a second): {} came, {} went",
                tally.changes(),
                tally.came,
                tally.went
            ),
            format!("nobody at rest      {}", tally.nobody_at_rest),
            format!("watchers told       {} ({each:.1} a change)", tally.told()),
            String::new(),
            HEAD.to_owned(),
            tally.connect.row("come→ready"),
            tally.online.row("come→online"),
            tally.offline.row("go→offline"),
            tally.own_delay.row("own delay"),
            String::new(),
            format!("{:<14}{:>8}", "faults", tally.faults()),
        ];
        lines.extend(tally.faults.iter().map(|(what, count)| format!("  {count} {what}")));
        lines.push(String::new());
        lines.extend(self.cost.lines());
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let tally = self.tally;
        let mut figures = json!({
            "changes": {
                "made": tally.changes(), "came": tally.came, "went": tally.went,
                "nobody_at_rest": tally.nobody_at_rest,
                "per_second": round(tally.changes() as f64 / self.seconds),
            },
            "watchers_told": tally.told(),
            "latency": {
                "come→ready": tally.connect.to_json(), "come→online": tally.online.to_json(),
                "go→offline": tally.offline.to_json(), "own delay": tally.own_delay.to_json(),
            },
            "faults": tally.faults,
        });
        if let Some(figures) = figures.as_object_mut() {
            figures.extend(self.cost.to_json());
        }
        figures
    }
}
