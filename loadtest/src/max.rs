//! `loadtest max`: the closed loop of `calls --pairs` with more and more pairs, each against nodes of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::calls;
use crate::figures::shown;
use crate::options::{Calls, Max};
use crate::report::Report;

/// Of a core, or of all of them: who uses more has none left.
const FULL: f64 = 90.0;

/// What bounds the calls a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// Its one thread.
    Redis,
    /// All cores are taken, most by the nodes.
    Nodes,
    /// This program's one thread, or all cores, most of them by it: the nodes can do more.
    Generator,
    /// All cores are taken, most by others.
    Others,
    /// Nothing is full: each call waits for its turns, more pairs make more calls.
    Pairs,
}

/// Shares of a core, in per cent.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    nodes: f64,
    redis: f64,
    generator: f64,
    others: f64,
}

/// One run.
struct Step {
    pairs: usize,
    clean: bool,
    /// As `calls` reports them.
    figures: Value,
}

pub async fn run(options: &Max) -> anyhow::Result<Report> {
    let (mut steps, mut log, mut died, mut cluster) = (Vec::new(), BTreeMap::new(), Vec::new(), Value::Null);
    for &pairs in &options.pairs {
        eprintln!("{pairs} pairs for {:?}", options.duration);
        let report = calls::run(&closed_loop(options, pairs)).await?;
        for (line, count) in report.node_log {
            *log.entry(line).or_default() += count;
        }
        died.extend(report.died);
        cluster = report.cluster;
        let step = Step { pairs, clean: report.clean, figures: report.figures };
        eprintln!("{} calls a second, bound by {}", shown(step.per_second()), step.bound(cores()).name());
        steps.push(step);
    }
    let best = best(&steps);
    Ok(Report {
        mode: "max",
        text: table(&steps, best),
        settings: json!({
            "pairs": options.pairs, "duration_s": options.duration.as_secs_f64(), "mix": options.mix,
            "laravel": options.target.laravel, "node_env": options.target.node_env,
        }),
        cluster,
        node_log: log,
        figures: json!({
            "best": best.map(Step::to_json),
            "steps": steps.iter().map(Step::to_json).collect::<Vec<_>>(),
            "runs": steps.iter().map(|step| &step.figures).collect::<Vec<_>>(),
        }),
        died,
        clean: steps.iter().all(|step| step.clean),
    })
}

/// Calls without ring or talk time: only what the servers do takes time.
fn closed_loop(options: &Max, pairs: usize) -> Calls {
    Calls {
        rate: 0.0,
        duration: options.duration,
        phones: pairs * 2,
        mix: options.mix,
        ring: Duration::ZERO,
        talk: Duration::ZERO,
        pairs: Some(pairs),
        connect_rate: 500.0,
        seed: None,
        target: options.target.clone(),
    }
}

fn best(steps: &[Step]) -> Option<&Step> {
    steps.iter().max_by(|one, other| one.per_second().unwrap_or(0.0).total_cmp(&other.per_second().unwrap_or(0.0)))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Shares {
    /// What is full first, on so many cores.
    fn bound(self, cores: usize) -> Bound {
        let takers = [
            (self.nodes, Bound::Nodes),
            (self.redis, Bound::Redis),
            (self.generator, Bound::Generator),
            (self.others, Bound::Others),
        ];
        let all: f64 = takers.iter().map(|(share, _)| share).sum();
        if self.redis >= FULL {
            Bound::Redis
        } else if self.generator >= FULL {
            Bound::Generator
        } else if all >= FULL * cores as f64 {
            takers.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)).map_or(Bound::Pairs, |(_, bound)| bound)
        } else {
            Bound::Pairs
        }
    }
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Bound::Redis => "Redis core",
            Bound::Nodes => "node cores",
            Bound::Generator => "load generator",
            Bound::Others => "other programs",
            Bound::Pairs => "pairs",
        }
    }
}

impl Step {
    fn figure(&self, path: &str) -> Option<f64> {
        self.figures.pointer(path)?.as_f64()
    }

    fn per_second(&self) -> Option<f64> {
        self.figure("/calls/completed_per_second")
    }

    /// Of `initiate→incoming`, in milliseconds.
    fn latency(&self, quantile: &str) -> Option<f64> {
        self.figure(&format!("/latency/initiate→incoming/{quantile}_ms"))
    }

    fn faults(&self) -> u64 {
        let counts = self.figures["faults"].as_object().into_iter().flat_map(|kinds| kinds.values());
        counts.filter_map(|kind| kind["count"].as_u64()).sum()
    }

    fn shares(&self) -> Shares {
        let of = |name: &str| self.figures[name].as_f64().unwrap_or_default();
        Shares {
            nodes: of("nodes_core_percent"),
            redis: of("redis_core_percent"),
            generator: of("generator_core_percent"),
            others: of("others_core_percent"),
        }
    }

    fn bound(&self, cores: usize) -> Bound {
        self.shares().bound(cores)
    }

    fn row(&self, is_best: bool) -> String {
        let shares = self.shares();
        let mut row = format!("{:>6}", self.pairs);
        let figures = [
            self.per_second(),
            self.latency("p50"),
            self.latency("p99"),
            self.figure("/node_cpu_ms_per_call"),
            self.figure("/redis_cpu_ms_per_call"),
        ];
        figures.into_iter().for_each(|figure| row += &format!("{:>10}", shown(figure)));
        for share in [shares.nodes, shares.redis, shares.generator, shares.others] {
            row += &format!("{share:>8.0}");
        }
        let mark = if is_best { " *" } else { "" };
        row + &format!("{:>8}  {}{mark}", self.faults(), self.bound(cores()).name())
    }

    fn to_json(&self) -> Value {
        json!({
            "pairs": self.pairs, "calls_per_second": self.per_second(), "p50_ms": self.latency("p50"),
            "p99_ms": self.latency("p99"), "node_cpu_ms_per_call": self.figures["node_cpu_ms_per_call"],
            "redis_cpu_ms_per_call": self.figures["redis_cpu_ms_per_call"],
            "nodes_core_percent": self.figures["nodes_core_percent"],
            "redis_core_percent": self.figures["redis_core_percent"],
            "generator_core_percent": self.figures["generator_core_percent"],
            "others_core_percent": self.figures["others_core_percent"],
            "faults": self.faults(), "bound": self.bound(cores()).name(),
        })
    }
}

fn table(steps: &[Step], best: Option<&Step>) -> String {
    let mut lines = vec![
        format!("{:>36}{:>20}{:>32}", "initiate→incoming", "CPU per call, ms", "% of a core"),
        " pairs   calls/s    p50 ms    p99 ms     nodes     Redis   nodes   Redis    load  others  faults  bound by"
            .to_owned(),
    ];
    let is_best = |step: &Step| best.is_some_and(|best| std::ptr::eq(best, step));
    lines.extend(steps.iter().map(|step| step.row(is_best(step))));
    if let Some(best) = best {
        let bound = best.bound(cores()).name();
        lines.push(format!(
            "\nbest: {} calls a second with {} pairs, bound by {bound}",
            shown(best.per_second()),
            best.pairs
        ));
    }
    let examples = steps.iter().flat_map(|step| step.figures["faults"]["examples"].as_array().into_iter().flatten());
    lines.extend(examples.filter_map(Value::as_str).map(|example| format!("  {example}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(nodes: f64, redis: f64, generator: f64, others: f64) -> Bound {
        Shares { nodes, redis, generator, others }.bound(2)
    }

    #[test]
    fn what_is_full_is_the_bound() {
        assert_eq!(bound(40.0, 20.0, 20.0, 5.0), Bound::Pairs);
        assert_eq!(bound(100.0, 40.0, 40.0, 10.0), Bound::Nodes);
        assert_eq!(bound(80.0, 95.0, 15.0, 5.0), Bound::Redis, "one thread is full though nodes use more");
        assert_eq!(bound(60.0, 20.0, 98.0, 5.0), Bound::Generator);
        assert_eq!(bound(40.0, 20.0, 20.0, 110.0), Bound::Others);
    }

    #[test]
    fn the_best_has_the_most_calls_and_is_marked() {
        let step = |pairs, calls: f64| Step {
            pairs,
            clean: true,
            figures: json!({"calls": {"completed_per_second": calls}, "faults": {"lost": {"count": 0}, "examples": []}}),
        };
        let steps = [step(1, 300.0), step(16, 900.0), step(64, 850.0)];
        let best = best(&steps);
        assert_eq!(best.map(|step| step.pairs), Some(16));
        let text = table(&steps, best);
        let marked: Vec<&str> = text.lines().filter(|line| line.ends_with('*')).collect();
        assert!(marked.len() == 1 && marked[0].contains("900.00"), "{text}");
        assert!(text.contains("best: 900.00 calls a second with 16 pairs"), "{text}");
    }

    #[test]
    fn faults_of_all_kinds_are_counted() {
        let figures = json!({"faults": {"lost": {"count": 2}, "late": {"count": 1}, "examples": ["lost: x"]}});
        let step = Step { pairs: 1, clean: false, figures };
        assert_eq!(step.faults(), 3);
        assert!(table(&[step], None).contains("  lost: x"));
    }
}
