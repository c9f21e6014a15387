//! What each call, or each change, cost the servers.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::cluster::Usage;
use crate::figures::{millis, round, shown};

/// Commands named in the table; the JSON has all.
const NAMED: usize = 12;

pub struct Cost<'a> {
    pub before: &'a Usage,
    pub after: &'a Usage,
    /// What is divided by, and how often it was.
    pub what: &'static str,
    pub count: u64,
}

impl Cost<'_> {
    fn each(&self, value: f64) -> f64 {
        value / self.count.max(1) as f64
    }

    fn node_cpu(&self) -> Option<f64> {
        Some(self.each(millis(self.after.nodes_cpu(self.before)?)))
    }

    fn redis_cpu(&self) -> Option<f64> {
        Some(self.each(millis(self.after.redis_cpu(self.before)?)))
    }

    fn core_share(&self, cpu: Duration) -> f64 {
        100.0 * cpu.as_secs_f64() / (self.after.at - self.before.at).as_secs_f64()
    }

    /// Redis commands by name, most frequent first.
    fn commands(&self) -> Vec<(String, f64)> {
        let commands = self.after.commands(self.before).unwrap_or_default();
        let mut commands: Vec<(String, f64)> =
            commands.by_name.into_iter().map(|(name, count)| (name, self.each(count as f64))).collect();
        commands.sort_by(|one, other| other.1.total_cmp(&one.1));
        commands
    }

    fn all_commands(&self) -> Option<f64> {
        Some(self.each(self.after.commands(self.before)?.total as f64))
    }

    pub fn lines(&self) -> Vec<String> {
        let what = self.what;
        let line = |name: String, value: String| format!("{name:<36}{value}");
        let mut lines = vec![
            line(format!("node CPU per {what}, ms"), shown(self.node_cpu())),
            line(format!("Redis CPU per {what}, ms"), shown(self.redis_cpu())),
            line(format!("Redis commands per {what}"), shown(self.all_commands())),
        ];
        let named = self.commands().into_iter().take(NAMED).map(|(name, count)| format!("{name} {count:.2}"));
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            lines.push(format!("  {}", named.join(", ")));
        }
        let (own, others) = (self.after.own(self.before), self.after.others(self.before));
        lines.push(line("load generator, % of a core".into(), format!("{:.0}", self.core_share(own))));
        lines.push(line("rest of the machine, % of a core".into(), format!("{:.0}", self.core_share(others))));
        lines
    }

    pub fn to_json(&self) -> Map<String, Value> {
        let what = self.what;
        let commands: Map<String, Value> =
            self.commands().into_iter().map(|(name, count)| (name, round(count).into())).collect();
        let share = |cpu: Option<Duration>| cpu.map(|cpu| round(self.core_share(cpu)));
        let (nodes, redis) = (self.after.nodes_cpu(self.before), self.after.redis_cpu(self.before));
        let figures: [(String, Value); 8] = [
            (format!("node_cpu_ms_per_{what}"), self.node_cpu().map(round).into()),
            (format!("redis_cpu_ms_per_{what}"), self.redis_cpu().map(round).into()),
            (format!("redis_commands_per_{what}"), self.all_commands().map(round).into()),
            (format!("redis_commands_per_{what}_by_name"), commands.into()),
            ("nodes_core_percent".into(), share(nodes).into()),
            ("redis_core_percent".into(), share(redis).into()),
            ("generator_core_percent".into(), share(Some(self.after.own(self.before))).into()),
            ("others_core_percent".into(), share(Some(self.after.others(self.before))).into()),
        ];
        figures.into_iter().collect()
    }
}
