//! `loadtest connect`: what it costs to come, and to stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Usage};
use crate::crowd::{Came, Crowd};
use crate::figures::{HEAD, millis, round, shown};
use crate::held::Held;
use crate::options::Connect;
use crate::phone::Listener;
use crate::report::Report;

/// What is still on its way when the last phone is ready.
const SETTLE: Duration = Duration::from_secs(1);

pub async fn run(options: &Connect) -> anyhow::Result<Report> {
    let cluster = Cluster::open(&options.target).await?;
    let (run, transport) = (rand::random_range(0..100_000_000), options.transport);
    let crowd = Crowd { nodes: cluster.addresses.clone(), transport, rate: options.rate, run };
    let warm = options.warm.unwrap_or((options.phones / 10).min(500));
    crowd.make_room(warm + options.phones, cluster.is_own())?;

    let phones = Arc::new(Held::default());
    let listener: Arc<dyn Listener> = phones.clone();
    let mut tasks = JoinSet::new();
    if warm > 0 {
        eprintln!("warming up with {warm} phones");
    }
    let warmed = crowd.come(0, warm, &listener, &mut tasks).await?;
    tokio::time::sleep(SETTLE).await;
    let before = cluster.usage().await?;
    let came = crowd.come(warm, options.phones, &listener, &mut tasks).await?;
    tokio::time::sleep(SETTLE).await;
    let after = cluster.usage().await?;

    eprintln!("holding {} sessions for {:?}", warmed.connected() + came.connected(), options.hold);
    let pings = phones.told().pings;
    tokio::time::sleep(options.hold).await;
    let held = cluster.usage().await?;
    let pings = phones.told().pings - pings;
    let lost = phones.told().lost;

    let figures = Figures { came: &came, before, after, held, sessions: warmed.connected() + came.connected(), pings };
    Ok(Report {
        mode: "connect",
        text: figures.text(&lost),
        settings: json!({
            "phones": options.phones, "warm": warm, "rate": options.rate, "hold_s": options.hold.as_secs_f64(),
            "transport": transport.name(), "laravel": options.target.laravel,
            "node_env": options.target.node_env,
        }),
        cluster: cluster.describe(),
        died: cluster.dead().into_iter().map(str::to_owned).collect(),
        node_log: cluster.troubles(),
        figures: figures.to_json(&lost),
        clean: came.failed() == 0 && warmed.failed() == 0 && lost.is_empty() && cluster.dead().is_empty(),
    })
}

struct Figures<'a> {
    came: &'a Came,
    before: Usage,
    after: Usage,
    held: Usage,
    sessions: u64,
    pings: u64,
}

impl Figures<'_> {
    fn cpu_per_connect(&self) -> Option<f64> {
        Some(millis(self.after.nodes_cpu(&self.before)?) / self.came.connected().max(1) as f64)
    }

    fn redis_per_connect(&self) -> Option<f64> {
        Some(millis(self.after.redis_cpu(&self.before)?) / self.came.connected().max(1) as f64)
    }

    /// KiB that each further session added to the nodes.
    fn memory_per_session(&self) -> Option<f64> {
        let grown = self.after.nodes?.memory as f64 - self.before.nodes?.memory as f64;
        Some(grown / 1024.0 / self.came.connected().max(1) as f64)
    }

    fn redis_memory_per_session(&self) -> Option<f64> {
        let memory = |usage: &Usage| usage.redis.as_ref().map(|redis| redis.memory as f64);
        Some((memory(&self.after)? - memory(&self.before)?) / 1024.0 / self.came.connected().max(1) as f64)
    }

    /// Milliseconds a second for 1,000 sessions.
    fn idle_cpu(&self) -> Option<f64> {
        let seconds = (self.held.at - self.after.at).as_secs_f64();
        Some(millis(self.held.nodes_cpu(&self.after)?) / seconds / (self.sessions.max(1) as f64 / 1000.0))
    }

    /// Shares of one core while phones connected.
    fn core_share(&self, cpu: Duration) -> f64 {
        100.0 * cpu.as_secs_f64() / (self.after.at - self.before.at).as_secs_f64()
    }

    fn text(&self, lost: &BTreeMap<String, u64>) -> String {
        let came = self.came;
        let mut lines = vec![
            format!("connected             {} of {}", came.connected(), came.phones.len()),
            format!("connects per second   {:.1}", came.per_second()),
            String::new(),
            HEAD.to_owned(),
            came.latency.row("connect→ready"),
            String::new(),
            format!("node CPU per connect, ms                     {}", shown(self.cpu_per_connect())),
            format!("Redis CPU per connect, ms                    {}", shown(self.redis_per_connect())),
            format!("node memory per further session, KiB         {}", shown(self.memory_per_session())),
            format!("Redis memory per further session, KiB        {}", shown(self.redis_memory_per_session())),
            format!("idle node CPU per 1,000 sessions, ms/s       {}", shown(self.idle_cpu())),
            format!("pings answered while held                    {} ({} sessions)", self.pings, self.sessions),
            format!(
                "load generator, % of a core                  {:.0}",
                self.core_share(self.after.own(&self.before))
            ),
            format!(
                "rest of the machine, % of a core             {:.0}",
                self.core_share(self.after.others(&self.before))
            ),
            String::new(),
            format!("failures              {}", came.failed()),
        ];
        lines.extend(came.failures.iter().map(|(failure, count)| format!("  {count} {failure}")));
        lines.push(format!("lost while held       {}", lost.values().sum::<u64>()));
        lines.extend(lost.iter().map(|(why, count)| format!("  {count} {why}")));
        lines.join("\n")
    }

    fn to_json(&self, lost: &BTreeMap<String, u64>) -> Value {
        let failures: BTreeMap<&str, u64> =
            self.came.failures.iter().map(|(failure, count)| (failure.0.as_str(), *count)).collect();
        json!({
            "connected": self.came.connected(),
            "connects_per_second": round(self.came.per_second()),
            "latency": {"connect→ready": self.came.latency.to_json()},
            "failures": failures,
            "lost_while_held": lost,
            "node_cpu_ms_per_connect": self.cpu_per_connect().map(round),
            "redis_cpu_ms_per_connect": self.redis_per_connect().map(round),
            "node_memory_kib_per_further_session": self.memory_per_session().map(round),
            "redis_memory_kib_per_further_session": self.redis_memory_per_session().map(round),
            "node_memory_mib": self.after.nodes.map(|nodes| round(nodes.memory as f64 / 1048576.0)),
            "idle_node_cpu_ms_per_second_per_1000_sessions": self.idle_cpu().map(round),
            "pings_while_held": self.pings,
            "generator_core_percent": round(self.core_share(self.after.own(&self.before))),
            "others_core_percent": round(self.core_share(self.after.others(&self.before))),
        })
    }
}
