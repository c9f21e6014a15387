//! What can be asked for on the command line.

mod scenarios;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::chaos::Kind;
use crate::dial::Transport;
pub use scenarios::{Bystanders, Evening, Idle, Max, Presence};

/// Open-loop load for a signaling cluster.
///
/// Starts its own nodes, Redis and (when asked) Laravel stand-in on loopback, or loads the nodes given by --nodes.
/// Prints progress on standard error, figures on standard output. Exit code 0: no fault; 1: faults were counted or
/// the run failed; 2: wrong options.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 110)]
pub struct Options {
    #[command(subcommand)]
    pub mode: Mode,
}

#[derive(Subcommand, Debug)]
pub enum Mode {
    /// Connect phones at a fixed rate, then hold them: connects a second, latency, memory and CPU per session.
    Connect(Connect),
    /// Call at a fixed rate between random idle phones: latency of each event, faults, CPU and Redis per call.
    Calls(Calls),
    /// Call while nodes, Redis and connections break by a seeded schedule, and judge the history (docs/chaos.md).
    Chaos(Chaos),
    /// Alternate this project's nodes with the Node.js baseline (loadtest/baseline-node): medians, ratios, a verdict.
    Compare(Compare),
    /// What changed between two JSON files of `compare`.
    Diff(Diff),
    /// Hold many sessions from several processes: what they cost, and what calls beside them notice.
    Idle(Idle),
    /// The phones of `idle`, a process of its own.
    #[command(hide = true)]
    Bystanders(Bystanders),
    /// Call without a pause, with more and more pairs: the most calls a second, and what bounds them.
    Max(Max),
    /// Users come and go: how long until those who watch them hear it, and what a change costs.
    Presence(Presence),
    /// Kill a node with thousands of phones: how fast they come back elsewhere, and what Laravel is asked.
    #[command(visible_alias = "storm")]
    Avalanche(Avalanche),
    /// A busy evening in minutes, a node and Redis lost on the way: what it takes beside the arithmetic (docs/scale.md).
    Evening(Evening),
    /// Attack a cluster as strangers and as users do, and see what phones that call each other notice of it.
    Attack(Attack),
    /// The attacking side of `attack`, a process of its own.
    #[command(hide = true)]
    Attacker(Attacker),
}

#[derive(Args, Debug)]
pub struct Connect {
    /// Phones to connect in the measured part.
    #[arg(long, default_value_t = 1000, value_parser = count)]
    pub phones: usize,
    /// Connects a second; how fast the server is does not change when the next one starts.
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// `polling` opens by long polling and upgrades, as the Android app does.
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Transport,
    /// How long all sessions are held for the idle figures; a multiple of the ping interval (15s) is exact.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub hold: Duration,
    /// Phones connected before measuring, so that memory is that of further sessions [default: a tenth, 500 at most].
    #[arg(long)]
    pub warm: Option<usize>,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args, Debug)]
pub struct Calls {
    /// Calls a second, by Poisson arrivals.
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub rate: f64,
    /// How long calls arrive.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// Phones, spread evenly over the nodes; rate × (ring + talk) × 2 of them are in a call at a time.
    #[arg(long, default_value_t = 400, value_parser = phones)]
    pub phones: usize,
    /// Per cent of calls that are accepted, rejected, cancelled.
    #[arg(long, default_value = "70,20,10", value_parser = mix)]
    pub mix: [u32; 3],
    /// How long a call rings until it is accepted, rejected or cancelled.
    #[arg(long, default_value = "200ms", value_parser = duration)]
    pub ring: Duration,
    /// How long an accepted call lasts.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub talk: Duration,
    /// A closed loop instead of a rate: so many pairs call again as soon as their call is over. What is measured is how
    /// many calls are completed, not how long each takes.
    #[arg(long, value_parser = count)]
    pub pairs: Option<usize>,
    /// How fast the phones connect before the first call, per second.
    #[arg(long, default_value_t = 500.0, value_parser = rate)]
    pub connect_rate: f64,
    /// The same number gives the same arrivals and plans [default: random, printed].
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args, Debug)]
pub struct Compare {
    /// Alternating runs of each side.
    #[arg(long, default_value_t = 5, value_parser = count)]
    pub rounds: usize,
    /// What is played [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<crate::compare::Probe>,
    /// Calls a second.
    #[arg(long, value_delimiter = ',', default_value = "50,200,500")]
    pub rates: Vec<u32>,
    /// How long each run of calls lasts.
    #[arg(long, default_value = "20s", value_parser = duration)]
    pub duration: Duration,
    /// Phones that connect in a run of `websocket` and `polling`.
    #[arg(long, default_value_t = 5000, value_parser = count)]
    pub phones: usize,
    /// Pairs of phones that call each other without a pause, for saturation.
    #[arg(long, default_value_t = 256, value_parser = count)]
    pub pairs: usize,
    /// The node's binary [default: onlycare-signaling next to this program].
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// The other side, started as our node is [default: loadtest/baseline-node/server.mjs of this checkout].
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// A folder for histograms as SVG, one for each rate.
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// Write all figures of all runs to this file, for `loadtest diff`.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Diff {
    pub before: PathBuf,
    pub after: PathBuf,
}

#[derive(Args, Debug)]
pub struct Chaos {
    /// Decides which fault happens when [default: random, printed; 1 with --seeds].
    #[arg(long)]
    pub seed: Option<u64>,
    /// So many seeds from --seed on, each in a process of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,
    /// So many seeds at the same time.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub parallel: usize,
    /// How long calls arrive.
    #[arg(long, default_value = "120s", value_parser = duration)]
    pub duration: Duration,
    /// Calls a second, by Poisson arrivals.
    #[arg(long, default_value_t = 32.0, value_parser = rate)]
    pub rate: f64,
    #[arg(long, default_value_t = 300, value_parser = phones)]
    pub phones: usize,
    #[arg(long, default_value_t = 3, value_parser = count)]
    pub nodes: usize,
    /// Kinds of faults [default: all that the topology allows].
    #[arg(long, value_enum, value_delimiter = ',')]
    pub faults: Vec<Kind>,
    /// No faults at all: calls only.
    #[arg(long, conflicts_with = "faults")]
    pub no_faults: bool,
    /// A primary and a replica under a Sentinel [default: for every third seed].
    #[arg(long)]
    pub sentinel: Option<bool>,
    #[arg(long, default_value = "12s", value_parser = duration)]
    pub ring_timeout: Duration,
    /// How long to wait, after the last arrival, until every call is over and every phone is back.
    #[arg(long, default_value = "150s", value_parser = duration)]
    pub settle: Duration,
    /// The node's binary [default: onlycare-signaling next to this program].
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// A further variable for the nodes, as NAME=value; may be repeated.
    #[arg(long, value_parser = variable)]
    pub node_env: Vec<(String, String)>,
    /// Keep the history of each seed in this folder, as seed-N.jsonl.
    #[arg(long)]
    pub history: Option<PathBuf>,
    /// Judge a history that was kept; nothing is run.
    #[arg(long)]
    pub check: Option<PathBuf>,
    /// Write all figures, settings and violations to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Chaos {
    /// The kinds of faults that were asked for.
    pub fn kinds(&self) -> Vec<Kind> {
        if self.no_faults {
            Vec::new()
        } else if self.faults.is_empty() {
            Kind::value_variants().to_vec()
        } else {
            self.faults.clone()
        }
    }

    /// Whether the run of a seed has a Sentinel.
    pub fn sentinel(&self, seed: u64) -> bool {
        self.sentinel.unwrap_or(seed.is_multiple_of(3))
    }
}

#[derive(Args, Debug)]
pub struct Avalanche {
    /// Phones on the node that is killed; the others (--start-nodes) take them.
    #[arg(long, default_value_t = 5000, value_parser = count)]
    pub phones: usize,
    #[arg(long, value_enum, default_value = "polling")]
    pub transport: Transport,
    #[command(flatten)]
    pub target: Target,
}

#[derive(Args, Debug)]
pub struct Attack {
    /// Names of attacks, comma separated [default: all; --list prints them].
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print the attacks with what they do, and exit.
    #[arg(long)]
    pub list: bool,
    /// All of them at the same time on one cluster: for those that need nothing of their own.
    #[arg(long)]
    pub together: bool,
    /// How long each attack lasts [default: its own time, long enough to see its bound].
    #[arg(long, value_parser = duration)]
    pub seconds: Option<Duration>,
    /// How long phones call each other before the attack begins.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub before: Duration,
    /// Calls a second of the honest phones.
    #[arg(long, default_value_t = 15.0, value_parser = rate)]
    pub rate: f64,
    /// Phones that call each other without, and as many that do with the attack.
    #[arg(long, default_value_t = 60, value_parser = phones)]
    pub phones: usize,
    /// On a machine that others use: latencies are not judged, and what honest phones notice less strictly.
    #[arg(long)]
    pub no_p99: bool,
    /// The node's binary [default: onlycare-signaling next to this program].
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// A further variable for the nodes, as NAME=value; may be repeated.
    #[arg(long, value_parser = variable)]
    pub node_env: Vec<(String, String)>,
    /// Write all figures to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Attacker {
    pub name: String,
    /// Loopback addresses only.
    #[arg(long, value_delimiter = ',')]
    pub nodes: Vec<std::net::SocketAddr>,
    #[arg(long, value_parser = duration)]
    pub seconds: Duration,
}

#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Nodes that already run, as http://host:port, comma separated. Without it nodes are started here.
    #[arg(long, value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Allow --nodes that are neither loopback nor private. Only for servers that are yours.
    #[arg(long)]
    pub i_own_these_nodes: bool,
    /// Nodes to start when none are given.
    #[arg(long, default_value_t = 2, value_parser = count, conflicts_with = "nodes")]
    pub start_nodes: usize,
    /// The node's binary [default: onlycare-signaling next to this program].
    #[arg(long, conflicts_with = "nodes")]
    pub binary: Option<PathBuf>,
    /// Start one node on its memory, without Redis.
    #[arg(long, conflicts_with = "nodes")]
    pub no_redis: bool,
    /// Verify tokens with a stand-in for Laravel, instead of AUTH=insecure.
    #[arg(long, conflicts_with = "nodes")]
    pub laravel: bool,
    /// A further variable for the nodes started here, as NAME=value; may be repeated.
    #[arg(long, value_parser = variable, conflicts_with = "nodes")]
    pub node_env: Vec<(String, String)>,
    /// Write all figures, settings and versions to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// The stand-in answers tokens that are nobody's with 429 and a page, as a firewall before Laravel does.
    #[arg(skip)]
    pub waf: bool,
    /// Files that each node started here may have open.
    #[arg(skip)]
    pub node_files: Option<u64>,
}

impl Target {
    /// Nodes that a run starts for itself, with a Redis, that accept any token.
    pub fn started_here(start_nodes: usize, binary: Option<PathBuf>, node_env: Vec<(String, String)>) -> Self {
        Self {
            nodes: Vec::new(),
            i_own_these_nodes: false,
            start_nodes,
            binary,
            no_redis: false,
            laravel: false,
            node_env,
            json: None,
            waf: false,
            node_files: None,
        }
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "a whole number above 0, like 1000".into())
}

fn phones(text: &str) -> Result<usize, String> {
    count(text).ok().filter(|count| *count >= 2).ok_or_else(|| "a call takes two phones".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let allowed = 0.01..=100_000.0;
    text.parse().ok().filter(|rate| allowed.contains(rate)).ok_or_else(|| "a number a second, like 200".into())
}

fn rate_or_none(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(0.0) } else { rate(text) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time with its unit, like 500ms, 10s or 2m".into()),
    };
    let number: f64 = number.parse().map_err(|_| "a time, like 500ms, 10s or 2m")?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn mix(text: &str) -> Result<[u32; 3], String> {
    let parts: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    let parts = parts.and_then(|parts| <[u32; 3]>::try_from(parts).ok());
    parts
        .filter(|parts| parts.iter().try_fold(0u32, |sum, part| sum.checked_add(*part)) == Some(100))
        .ok_or_else(|| "three numbers that make 100: accepted,rejected,cancelled".into())
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_do_not_contradict_each_other() {
        Options::command().debug_assert();
    }

    #[test]
    fn times_and_mixes() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(["", "5", "s", "-1s", "5 s", "5d"].iter().all(|text| duration(text).is_err()));
        assert_eq!(mix("70,20,10"), Ok([70, 20, 10]));
        assert!(["70,20", "70,20,11", "a,b,c", "4294967295,1,100"].iter().all(|text| mix(text).is_err()));
    }
}
