//! What a run hands over: a table for people, JSON for machines.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::{Value, json};

pub struct Report {
    pub mode: &'static str,
    /// The table.
    pub text: String,
    pub settings: Value,
    pub cluster: Value,
    /// Warnings and errors that the nodes logged meanwhile.
    pub node_log: BTreeMap<String, u64>,
    pub figures: Value,
    /// Servers started here that ended in the middle of the run.
    pub died: Vec<String>,
    /// No fault was counted.
    pub clean: bool,
}

impl Report {
    pub fn print(&self) {
        println!("{}", self.text);
        for name in &self.died {
            println!("\n{name} died: what it used is not known");
        }
        if !self.node_log.is_empty() {
            println!("\nthe nodes logged");
        }
        for (message, count) in &self.node_log {
            println!("  {count} {message}");
        }
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let cpus = std::thread::available_parallelism().map(usize::from).unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let document = json!({
            "tool": concat!("loadtest ", env!("CARGO_PKG_VERSION")),
            "mode": self.mode,
            "date": date(seconds),
            "machine": {"cpus": cpus, "kernel": kernel.trim()},
            "cluster": self.cluster,
            "settings": self.settings,
            "figures": self.figures,
            "died": self.died,
            "node_log": self.node_log,
            "clean": self.clean,
        });
        let text = serde_json::to_string_pretty(&document)? + "\n";
        std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
    }
}

/// Seconds since 1970 as RFC 3339 in UTC.
fn date(seconds: u64) -> String {
    let (mut days, clock) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_798_761_599), "2026-12-31T23:59:59Z");
        assert_eq!(date(1_798_761_600), "2027-01-01T00:00:00Z");
    }
}
