//! What is loaded: nodes that are given, or nodes, Redis and Laravel's stand-in started here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::child::Child;
use crate::http::Connection;
use crate::laravel::Laravel;
use crate::options::Target;
use crate::redis::{Commands, Redis};
use crate::{procfs, targets};

/// What nodes started here and whoever speaks for Laravel share.
pub const SECRET: &str = "load";

pub struct Cluster {
    pub addresses: Vec<SocketAddr>,
    /// Of nodes started here.
    pub admins: Vec<SocketAddr>,
    nodes: Vec<Child>,
    /// CPU time of nodes that were killed here.
    spent: Duration,
    redis: Option<Redis>,
    laravel: Option<Laravel>,
    binary: Option<String>,
}

/// What processes have used up to one moment.
#[derive(Clone, Debug)]
pub struct Usage {
    pub at: Instant,
    pub own_cpu: Duration,
    /// Of all programs on this machine.
    pub machine_cpu: Duration,
    /// Only of nodes started here, while all of them live.
    pub nodes: Option<NodeUsage>,
    pub redis: Option<RedisUsage>,
}

/// All nodes together.
#[derive(Clone, Copy, Debug)]
pub struct NodeUsage {
    pub cpu: Duration,
    pub memory: u64,
}

#[derive(Clone, Debug)]
pub struct RedisUsage {
    pub cpu: Duration,
    pub memory: u64,
    pub commands: Commands,
}

impl Cluster {
    /// Takes the given nodes, or starts some.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        if !target.nodes.is_empty() {
            let addresses = targets::resolve(&target.nodes, target.i_own_these_nodes)?;
            return Ok(Self {
                addresses,
                admins: Vec::new(),
                nodes: Vec::new(),
                spent: Duration::ZERO,
                redis: None,
                laravel: None,
                binary: None,
            });
        }
        let binary = binary(target.binary.as_deref())?;
        let redis = if target.no_redis { None } else { Some(Redis::start().await?) };
        if target.no_redis && target.start_nodes > 1 {
            bail!("--no-redis: nodes on memory form no cluster, use --start-nodes 1");
        }
        let laravel = if target.laravel { Some(Laravel::start(target.waf).await?) } else { None };
        let environment = environment(target, redis.as_ref(), laravel.as_ref());
        let (mut nodes, mut addresses, mut admins) = (Vec::new(), Vec::new(), Vec::new());
        let binary = binary.to_string_lossy().into_owned();
        let limit = target.node_files.map(|files| format!("ulimit -n {files}; exec \"$0\""));
        let (program, arguments) = match &limit {
            Some(script) => ("/bin/sh", vec!["-c", script, &binary]),
            None => (binary.as_str(), Vec::new()),
        };
        for number in 1..=target.start_nodes {
            let mut child = Child::start(&format!("node {number}"), program, &arguments, &environment)?;
            let (address, admin) = child.find_line(|line| Some((listening(line)?, named(line, "admin")?)))?;
            admins.push(admin.parse().with_context(|| format!("node {number} has its admin port at {admin}"))?);
            addresses.push(address.parse().with_context(|| format!("node {number} listens on {address}"))?);
            child.forget_troubles();
            nodes.push(child);
        }
        Ok(Self { addresses, admins, nodes, spent: Duration::ZERO, redis, laravel, binary: Some(binary) })
    }

    /// Whether they were started here.
    pub fn is_own(&self) -> bool {
        !self.nodes.is_empty()
    }

    pub async fn usage(&self) -> anyhow::Result<Usage> {
        let redis = match &self.redis {
            None => None,
            Some(redis) => redis_usage(redis).await.ok(),
        };
        let nodes: Option<Vec<NodeUsage>> = self.nodes.iter().map(node_usage).collect();
        Ok(Usage {
            at: Instant::now(),
            own_cpu: procfs::own_cpu()?,
            machine_cpu: procfs::machine_cpu()?,
            nodes: nodes.filter(|_| self.is_own()).map(|nodes| NodeUsage {
                cpu: self.spent + nodes.iter().map(|node| node.cpu).sum::<Duration>(),
                memory: nodes.iter().map(|node| node.memory).sum(),
            }),
            redis,
        })
    }

    /// Servers started here that are no longer there.
    pub fn dead(&self) -> Vec<&str> {
        let redis = self.redis.as_ref().map(|redis| &redis.child);
        self.nodes.iter().chain(redis).filter(|child| !child.is_alive()).map(|child| child.name.as_str()).collect()
    }

    /// Ends the first node without a word.
    pub fn kill_first(&mut self) {
        if self.is_own() {
            let node = self.nodes.remove(0);
            self.spent += procfs::cpu(node.pid).unwrap_or_default();
        }
    }

    /// Ends Redis without a word, until [`Self::redis_again`].
    pub fn kill_redis(&mut self) {
        if let Some(redis) = &mut self.redis {
            redis.kill();
        }
    }

    /// Starts Redis where it was, empty.
    pub async fn redis_again(&mut self) -> anyhow::Result<()> {
        match &mut self.redis {
            Some(redis) => redis.begin_again().await,
            None => Ok(()),
        }
    }

    /// Token checks that Laravel's stand-in was asked for.
    pub fn laravel_asked(&self) -> usize {
        self.laravel.as_ref().map_or(0, |laravel| laravel.asked().values().sum())
    }

    /// Those for the user who was asked about most.
    pub fn laravel_most_asked(&self) -> usize {
        self.laravel.as_ref().map_or(0, |laravel| laravel.asked().into_values().max().unwrap_or(0))
    }

    /// Checks of tokens that are nobody's.
    pub fn laravel_asked_about_strangers(&self) -> u64 {
        self.laravel.as_ref().map_or(0, Laravel::asked_about_strangers)
    }

    /// Process ids of the nodes started here.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.pid).collect()
    }

    /// Users online, as a node counts them for the whole cluster.
    pub async fn online(&self, node: SocketAddr) -> anyhow::Result<u64> {
        let stream = TcpStream::connect(node).await?;
        let answer = Connection::new(stream, node.to_string()).ask("/health", None).await?;
        let health: Value = serde_json::from_str(&answer.body)?;
        health["connectedUsers"].as_u64().with_context(|| format!("/health says {}", answer.body))
    }

    /// Warnings and errors that the nodes logged since they listened.
    pub fn troubles(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (trouble, count) in self.nodes.iter().flat_map(Child::troubles) {
            *all.entry(trouble).or_default() += count;
        }
        all
    }

    /// What was measured, for whoever reads the figures later.
    pub fn describe(&self) -> Value {
        let version = self.binary.as_deref().map(|binary| said(binary, "--version"));
        json!({
            "nodes": self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "started_here": self.is_own(),
            "binary": self.binary,
            "node_version": version,
            "redis_version": self.redis.as_ref().map(|redis| redis.version.clone()),
        })
    }
}

impl Usage {
    /// CPU time of the nodes since `before`.
    pub fn nodes_cpu(&self, before: &Self) -> Option<Duration> {
        Some(self.nodes?.cpu.saturating_sub(before.nodes?.cpu))
    }

    pub fn redis_cpu(&self, before: &Self) -> Option<Duration> {
        Some(self.redis.as_ref()?.cpu.saturating_sub(before.redis.as_ref()?.cpu))
    }

    pub fn own(&self, before: &Self) -> Duration {
        self.own_cpu.saturating_sub(before.own_cpu)
    }

    /// CPU time of everything else on this machine: the kernel's own work, and whoever disturbs the measurement.
    pub fn others(&self, before: &Self) -> Duration {
        let known =
            self.own(before) + self.nodes_cpu(before).unwrap_or_default() + self.redis_cpu(before).unwrap_or_default();
        self.machine_cpu.saturating_sub(before.machine_cpu).saturating_sub(known)
    }

    pub fn commands(&self, before: &Self) -> Option<Commands> {
        Some(self.redis.as_ref()?.commands.since(&before.redis.as_ref()?.commands))
    }
}

fn node_usage(node: &Child) -> Option<NodeUsage> {
    if !node.is_alive() {
        return None;
    }
    Some(NodeUsage { cpu: procfs::cpu(node.pid).ok()?, memory: procfs::memory(node.pid).ok()? })
}

async fn redis_usage(redis: &Redis) -> anyhow::Result<RedisUsage> {
    let (cpu, memory) = (redis.cpu()?, procfs::memory(redis.child.pid)?);
    Ok(RedisUsage { cpu, memory, commands: redis.commands().await? })
}

/// What every node started here is given: free ports on loopback, a log that can be read, no limits.
pub fn common_environment() -> Vec<(String, String)> {
    let fixed = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("LARAVEL_API_SECRET", SECRET),
        ("LOG_FORMAT", "json"),
        // The line that names the address is of this level.
        ("LOG_LEVEL", "info"),
        ("EVENTS_PER_MINUTE", "0"),
        ("PRESENCE_IDS_PER_MINUTE", "0"),
        ("HANDSHAKES_PER_SECOND", "0"),
        ("HANDSHAKES_PER_ADDRESS_PER_SECOND", "0"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "0"),
        ("SESSION_REQUESTS_PER_ADDRESS_PER_SECOND", "0"),
        // As many as may be.
        ("AUTH_NEW_TOKENS_PER_SECOND", "10000"),
        ("RINGS_PER_CALLEE_PER_MINUTE", "0"),
        ("UNANSWERED_RINGS_PER_CALLEE", "0"),
        ("UNANSWERED_RINGS_PER_CALLER", "0"),
    ];
    fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn environment(target: &Target, redis: Option<&Redis>, laravel: Option<&Laravel>) -> Vec<(String, String)> {
    let mut variables = common_environment();
    if let Some(redis) = redis {
        variables.push(("REDIS_URL".into(), format!("redis://{}", redis.address)));
        variables.push(("REDIS_PREFIX".into(), format!("load{:08x}", rand::random::<u32>())));
    }
    variables.push(match laravel {
        Some(laravel) => ("LARAVEL_API_URL".into(), format!("http://{}", laravel.address)),
        None => ("AUTH".into(), "insecure".into()),
    });
    variables.extend(target.node_env.iter().cloned());
    variables
}

/// The public address, if a node's log line names it.
pub fn listening(line: &str) -> Option<String> {
    named(line, "public")
}

/// The address of this name in the line that says that a node listens.
fn named(line: &str, name: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line[name].as_str().map(str::to_owned))?
}

/// The node's binary: as told, or next to this program.
pub fn binary(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match told {
        Some(told) => told.to_owned(),
        None => std::env::current_exe()?.with_file_name("onlycare-signaling"),
    };
    path.canonicalize().with_context(|| {
        format!(
            "{} is not there: build it (cargo build --release --bin onlycare-signaling) or name it by --binary",
            path.display()
        )
    })
}

/// The first line that a program prints.
fn said(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
