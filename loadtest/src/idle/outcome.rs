//! The figures of sessions that are held.

use std::time::Duration;

use serde_json::{Value, json};

use crate::calls::Company;
use crate::cluster::Usage;
use crate::figures::{millis, round, shown};
use crate::held::Told;

pub struct Outcome {
    /// As many were to come.
    pub phones: usize,
    /// All that the nodes held, those of callers too.
    pub sessions: u64,
    pub told: Told,
    /// Answered in the hold.
    pub pings: u64,
    /// Calls before the crowd and beside it.
    pub talks: Option<[Talk; 2]>,
    /// Begin and end of the calls before; no crowd yet.
    pub before: [Usage; 2],
    /// Begin and end of the hold.
    pub hold: [Usage; 2],
    /// CPU time of the processes that held the phones.
    pub generator: Duration,
}

/// How the calls of one company went.
pub struct Talk {
    calls: u64,
    /// Calls that did not go as planned.
    lost: u64,
    phones_lost: u64,
    p50: f64,
    p99: f64,
}

/// CPU time of the nodes, or of Redis.
type Cpu = fn(&Usage, &Usage) -> Option<Duration>;
/// Their resident memory.
type Memory = fn(&Usage) -> Option<u64>;

const NODES: (Cpu, Memory) = (Usage::nodes_cpu, |usage| Some(usage.nodes?.memory));
const REDIS: (Cpu, Memory) = (Usage::redis_cpu, |usage| Some(usage.redis.as_ref()?.memory));

impl Talk {
    pub fn of(company: &Company) -> Self {
        let figures = company.figures();
        let of = |name: &str| figures.get(name).copied().unwrap_or_default();
        Self {
            calls: of("calls") as u64,
            lost: company.lost(),
            phones_lost: of("phones_lost") as u64,
            p50: of("call_p50_ms"),
            p99: of("call_p99_ms"),
        }
    }

    fn row(&self, name: &str) -> String {
        format!("{name:<24}{:>8}{:>8}{:>9.2}{:>9.2}", self.calls, self.lost, self.p50, self.p99)
    }

    fn to_json(&self) -> Value {
        json!({
            "calls": self.calls, "lost": self.lost, "phones_lost": self.phones_lost,
            "p50_ms": round(self.p50), "p99_ms": round(self.p99),
        })
    }
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        let calls = self.talks.iter().flatten().map(|talk| talk.lost).sum::<u64>();
        self.told.refused() == 0 && self.lost() == 0 && calls == 0
    }

    /// Sessions that ended, those of callers too.
    fn lost(&self) -> u64 {
        self.told.lost() + self.talks.iter().flatten().map(|talk| talk.phones_lost).sum::<u64>()
    }

    fn seconds(&self) -> f64 {
        (self.hold[1].at - self.hold[0].at).as_secs_f64()
    }

    /// Milliseconds a second for 1,000 sessions, from milliseconds of the hold.
    fn by_session(&self, ms: f64) -> f64 {
        ms / self.seconds() / (self.sessions.max(1) as f64 / 1000.0)
    }

    fn cpu(&self, of: Cpu) -> Option<f64> {
        Some(self.by_session(millis(of(&self.hold[1], &self.hold[0])?)))
    }

    /// Without the calls, of which each is taken to cost what one did before.
    fn cpu_without_calls(&self, of: Cpu) -> Option<f64> {
        let Some([alone, beside]) = &self.talks else { return self.cpu(of) };
        let each = millis(of(&self.before[1], &self.before[0])?) / alone.calls.max(1) as f64;
        let all = millis(of(&self.hold[1], &self.hold[0])?);
        Some(self.by_session((all - each * beside.calls as f64).max(0.0)))
    }

    /// KiB that each session added.
    fn memory(&self, of: Memory) -> Option<f64> {
        let grown = of(&self.hold[0])? as f64 - of(&self.before[1])? as f64;
        Some(grown / 1024.0 / self.told.connected.max(1) as f64)
    }

    fn commands(&self) -> Option<f64> {
        Some(self.hold[1].commands(&self.hold[0])?.total as f64 / self.seconds())
    }

    fn core_share(&self, cpu: Duration) -> f64 {
        100.0 * cpu.as_secs_f64() / self.seconds()
    }

    fn own(&self) -> Duration {
        self.hold[1].own(&self.hold[0]) + self.generator
    }

    fn others(&self) -> Duration {
        self.hold[1].others(&self.hold[0]).saturating_sub(self.generator)
    }

    /// p50 and p99 beside the crowd by those before it.
    fn ratios(&self) -> Option<[f64; 2]> {
        let [alone, beside] = self.talks.as_ref()?;
        Some([beside.p50 / alone.p50.max(0.001), beside.p99 / alone.p99.max(0.001)])
    }

    pub fn text(&self) -> String {
        let told = &self.told;
        let mut lines = vec![
            format!("connected                                    {} of {}", told.connected, self.phones),
            format!("sessions lost                                {}", self.lost()),
        ];
        lines.extend(told.lost.iter().map(|(why, count)| format!("  {count} {why}")));
        lines.push(format!("refused                                      {}", told.refused()));
        lines.extend(told.refused.iter().map(|(why, count)| format!("  {count} {why}")));
        lines.push(String::new());
        for (name, (cpu, memory)) in [("node", NODES), ("Redis", REDIS)] {
            let cpu_name = format!("{name} CPU per 1,000 sessions, ms/s");
            lines.push(format!("{cpu_name:<45}{}", shown(self.cpu(cpu))));
            if self.talks.is_some() {
                lines.push(format!("{:<45}{}", "  without the calls", shown(self.cpu_without_calls(cpu))));
            }
            lines.push(format!("{:<45}{}", format!("{name} memory per session, KiB"), shown(self.memory(memory))));
        }
        lines.extend([
            format!("Redis commands a second                      {}", shown(self.commands())),
            format!("pings answered while held                    {} ({} sessions)", self.pings, self.sessions),
            format!("load generator, % of a core                  {:.0}", self.core_share(self.own())),
            format!("rest of the machine, % of a core             {:.0}", self.core_share(self.others())),
        ]);
        if let (Some([alone, beside]), Some([p50, p99])) = (&self.talks, self.ratios()) {
            lines.push(String::new());
            lines.push(format!("{:<24}{:>8}{:>8}{:>9}{:>9}", "initiate→incoming, ms", "calls", "lost", "p50", "p99"));
            lines.push(alone.row("before the crowd"));
            lines.push(beside.row("beside it"));
            lines.push(format!("{:<40}{p50:>9.2}{p99:>9.2}", "ratio"));
        }
        lines.join("\n")
    }

    pub fn to_json(&self) -> Value {
        let calls = self.talks.as_ref().map(|[alone, beside]| {
            let [p50, p99] = self.ratios().unwrap_or_default().map(round);
            json!({"before": alone.to_json(), "beside": beside.to_json(), "p50_ratio": p50, "p99_ratio": p99})
        });
        let ((node_cpu, node_memory), (redis_cpu, redis_memory)) = (NODES, REDIS);
        json!({
            "connected": self.told.connected,
            "refused": self.told.refused,
            "lost": self.told.lost,
            "sessions": self.sessions,
            "node_cpu_ms_per_second_per_1000_sessions": self.cpu(node_cpu).map(round),
            "redis_cpu_ms_per_second_per_1000_sessions": self.cpu(redis_cpu).map(round),
            "idle_node_cpu_ms_per_second_per_1000_sessions": self.cpu_without_calls(node_cpu).map(round),
            "idle_redis_cpu_ms_per_second_per_1000_sessions": self.cpu_without_calls(redis_cpu).map(round),
            "redis_commands_per_second": self.commands().map(round),
            "node_memory_kib_per_session": self.memory(node_memory).map(round),
            "redis_memory_kib_per_session": self.memory(redis_memory).map(round),
            "pings_while_held": self.pings,
            "calls": calls,
            "generator_core_percent": round(self.core_share(self.own())),
            "others_core_percent": round(self.core_share(self.others())),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cluster::NodeUsage;

    fn usage(at: Instant, cpu_ms: u64, memory: u64) -> Usage {
        let nodes = Some(NodeUsage { cpu: Duration::from_millis(cpu_ms), memory });
        Usage { at, own_cpu: Duration::ZERO, machine_cpu: Duration::ZERO, nodes, redis: None }
    }

    fn outcome() -> Outcome {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let talk = |calls, p50| Talk { calls, lost: 0, phones_lost: 0, p50, p99: 2.0 * p50 };
        Outcome {
            phones: 2000,
            sessions: 2000,
            told: Told { connected: 2000, ..Told::default() },
            pings: 0,
            talks: Some([talk(100, 1.0), talk(200, 1.5)]),
            before: [usage(start, 0, 0), usage(at(10), 100, 1024)],
            hold: [usage(at(20), 1000, 1024 + 2000 * 8 * 1024), usage(at(30), 1600, 0)],
            generator: Duration::ZERO,
        }
    }

    #[test]
    fn what_calls_cost_is_not_the_sessions() {
        let figures = outcome().to_json();
        assert_eq!(figures["node_cpu_ms_per_second_per_1000_sessions"], 30.0);
        // 200 calls of 1 ms each.
        assert_eq!(figures["idle_node_cpu_ms_per_second_per_1000_sessions"], 20.0);
        assert_eq!(figures["node_memory_kib_per_session"], 8.0);
        assert_eq!(figures["calls"]["p50_ratio"], 1.5);
        assert!(figures["redis_memory_kib_per_session"].is_null());
    }

    #[test]
    fn a_lost_session_and_a_lost_call_are_faults() {
        assert!(outcome().is_clean());
        let mut lost = outcome();
        lost.told.lost.insert("close frame".into(), 1);
        assert!(!lost.is_clean() && lost.text().contains("1 close frame"));
        let mut calls = outcome();
        calls.talks.as_mut().expect("calls")[1].lost = 1;
        assert!(!calls.is_clean());
    }
}
