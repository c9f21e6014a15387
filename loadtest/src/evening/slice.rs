//! A slice of the evening: what went on, what it took, and what the arithmetic says of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::arithmetic::{Load, memory_mib};
use crate::cluster::Usage;
use crate::dial::Transport;
use crate::figures::{Latency, round, shown};

pub struct Slice {
    /// Since the evening began.
    pub from: Duration,
    pub begin: Usage,
    pub end: Usage,
    /// On average, and at the end.
    pub sessions: f64,
    pub sessions_at_end: usize,
    pub transport: Transport,
    /// Calls that the curve has for it, and those that were started.
    pub curve: f64,
    pub calls: u64,
    pub connects: u64,
    /// `initiate→incoming`.
    pub incoming: Latency,
    /// MiB that the nodes which live at its end take without a phone.
    pub empty_mib: f64,
    /// What was done to the cluster.
    pub faults: String,
}

/// What was measured, if it was, and what the arithmetic says.
struct Beside(Option<f64>, f64);

pub const HEAD: &str = concat!(
    "                   calls a second                incoming, ms        nodes, % of a core",
    "        Redis, % of a core                nodes, MiB\n",
    "  from  sessions  started   curve  connects/s     p50     p99  measured   arith.  ratio",
    "  measured   arith.  ratio  measured   arith.  ratio",
);

impl Beside {
    fn ratio(&self) -> Option<f64> {
        self.0.filter(|_| self.1 > 0.0).map(|measured| measured / self.1)
    }
}

impl Slice {
    fn seconds(&self) -> f64 {
        (self.end.at - self.begin.at).as_secs_f64()
    }

    fn load(&self) -> Load {
        let each_second = |count: u64| count as f64 / self.seconds();
        let (calls, connects) = (each_second(self.calls), each_second(self.connects));
        Load { sessions: self.sessions, calls, connects, transport: self.transport }
    }

    fn figures(&self) -> [(&'static str, Beside); 3] {
        let share = |cpu: Option<Duration>| Some(100.0 * cpu?.as_secs_f64() / self.seconds());
        let memory = self.end.nodes.map(|nodes| nodes.memory as f64 / 1_048_576.0);
        let (load, mib) = (self.load(), self.empty_mib + memory_mib(self.sessions_at_end));
        [
            ("nodes_core_percent", Beside(share(self.end.nodes_cpu(&self.begin)), load.nodes_percent())),
            ("redis_core_percent", Beside(share(self.end.redis_cpu(&self.begin)), load.redis_percent())),
            ("nodes_mib", Beside(memory, mib)),
        ]
    }

    /// A row under [`HEAD`].
    pub fn row(&self) -> String {
        let (load, incoming) = (self.load(), &self.incoming);
        let mut row = format!(
            "{:>4.0} s{:>10.0}{:>9.1}{:>8.1}{:>12.1}{:>8.2}{:>8.2}",
            self.from.as_secs_f64(),
            load.sessions,
            load.calls,
            self.curve / self.seconds(),
            load.connects,
            incoming.at(0.50),
            incoming.at(0.99),
        );
        for (_, beside) in self.figures() {
            row += &format!("{:>10}{:>9.2}{:>7}", shown(beside.0), beside.1, shown(beside.ratio()));
        }
        format!("{row}  {}", self.faults).trim_end().to_owned()
    }

    pub fn to_json(&self) -> Value {
        let load = self.load();
        let mut slice = json!({
            "from_s": round(self.from.as_secs_f64()), "seconds": round(self.seconds()),
            "sessions": round(load.sessions), "calls": self.calls, "calls_per_second": round(load.calls),
            "curve_per_second": round(self.curve / self.seconds()), "connects_per_second": round(load.connects),
            "initiate→incoming": self.incoming.to_json(), "faults": self.faults,
        });
        for (name, beside) in self.figures() {
            let (measured, ratio) = (beside.0.map(round), beside.ratio().map(round));
            slice[name] = json!({"measured": measured, "arithmetic": round(beside.1), "ratio": ratio});
        }
        slice
    }

    /// All slices as one: memory as it is at the end.
    pub fn whole(slices: &[Slice]) -> Option<Self> {
        let (first, last) = (slices.first()?, slices.last()?);
        let mut incoming = Latency::default();
        slices.iter().for_each(|slice| incoming.merge(&slice.incoming));
        let seconds: f64 = slices.iter().map(Slice::seconds).sum();
        Some(Self {
            from: first.from,
            begin: first.begin.clone(),
            end: last.end.clone(),
            sessions: slices.iter().map(|slice| slice.sessions * slice.seconds()).sum::<f64>() / seconds,
            sessions_at_end: last.sessions_at_end,
            transport: first.transport,
            curve: slices.iter().map(|slice| slice.curve).sum(),
            calls: slices.iter().map(|slice| slice.calls).sum(),
            connects: slices.iter().map(|slice| slice.connects).sum(),
            incoming,
            empty_mib: last.empty_mib,
            faults: "the whole evening".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cluster::NodeUsage;

    #[test]
    fn a_slice_stands_beside_its_arithmetic_and_slices_add_up() {
        let start = Instant::now();
        let usage = |seconds: u64, cpu_ms: u64| Usage {
            at: start + Duration::from_secs(seconds),
            own_cpu: Duration::ZERO,
            machine_cpu: Duration::ZERO,
            nodes: Some(NodeUsage { cpu: Duration::from_millis(cpu_ms), memory: 33 * 1_048_576 }),
            redis: None,
        };
        let slice = |from: u64, cpu_ms: [u64; 2]| Slice {
            from: Duration::from_secs(from),
            begin: usage(from, cpu_ms[0]),
            end: usage(from + 10, cpu_ms[1]),
            sessions: 1000.0,
            sessions_at_end: 1024,
            transport: Transport::Websocket,
            curve: 110.0,
            calls: 100,
            connects: 0,
            incoming: Latency::default(),
            empty_mib: 10.0,
            faults: String::new(),
        };
        let slices = [slice(0, [0, 190]), slice(10, [190, 570])];
        let figures = slices[0].to_json();
        // 8 ms for pings and 11 ms for calls a second.
        assert_eq!(figures["nodes_core_percent"], json!({"measured": 1.9, "arithmetic": 1.9, "ratio": 1.0}));
        assert_eq!(figures["redis_core_percent"], json!({"measured": null, "arithmetic": 0.5, "ratio": null}));
        assert_eq!(figures["nodes_mib"]["ratio"], 1.0);
        let whole = Slice::whole(&slices).expect("slices");
        assert_eq!((whole.calls, whole.curve, whole.sessions), (200, 220.0, 1000.0));
        assert_eq!(whole.to_json()["nodes_core_percent"]["ratio"], 1.5);
        let width = HEAD.lines().last().map_or(0, |line| line.chars().count());
        assert_eq!(slices[0].row().chars().count(), width);
    }
}
