//! One attack: a cluster of its own, phones that call each other without and with it, and the verdict.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::process::Command;

use super::rows::{Bound, EVERY, Row};
use super::{fresh, watch};
use crate::calls::Company;
use crate::cluster::Cluster;
use crate::options::{Attack, Target};

/// After an attack, until what it held is counted.
const AFTER: Duration = Duration::from_secs(1);
/// Between the beginnings of attacks on one cluster.
const STAGGERED: Duration = Duration::from_millis(500);
/// Latency with an attack: twice that without, and this.
const ALLOWANCE_MS: f64 = 5.0;

pub struct Outcome {
    pub figures: BTreeMap<String, f64>,
    pub examples: Vec<String>,
    pub node_log: BTreeMap<String, u64>,
}

/// Runs attacks on one cluster, all at the same time.
pub async fn run(rows: &[&Row], options: &Attack) -> anyhow::Result<Vec<Outcome>> {
    let cluster = Cluster::open(&target(rows, options)).await?;
    let (node, admin, pid) = (cluster.addresses[0], cluster.admins[0], cluster.pids()[0]);
    let without = Company::meet(&cluster.addresses, options.phones).await?;
    let with = Company::meet(&cluster.addresses, options.phones).await?;

    let (called, (fresh_before, _)) =
        tokio::join!(without.call(options.rate, options.before), fresh::come(node, options.before));
    called?;
    let of = |row: &Row| options.seconds.unwrap_or(row.lasts);
    let begins = |place: usize| STAGGERED * u32::try_from(place).unwrap_or_default();
    let lasts = rows.iter().enumerate().map(|(place, row)| begins(place) + of(row)).max().unwrap_or_default();
    let (before, strangers) = (watch::held(pid), cluster.laravel_asked_about_strangers());
    let attackers = rows.iter().enumerate().map(|(place, row)| {
        let (row, cluster) = (*row, &cluster);
        async move {
            tokio::time::sleep(begins(place)).await;
            attacker(row, cluster, of(row)).await
        }
    });
    let (attacked, called, (fresh, failures), most, probes) = tokio::join!(
        join_all(attackers),
        with.call(options.rate, lasts),
        fresh::come(node, lasts),
        watch::most(pid, lasts),
        watch::admin(admin, lasts),
    );
    called?;
    let attacked = attacked.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let strangers = cluster.laravel_asked_about_strangers() - strangers;
    tokio::time::sleep(AFTER).await;
    let after = watch::held(pid);

    let grown = |bytes: u64| bytes.saturating_sub(before.memory) as f64;
    let mut of_all = BTreeMap::new();
    let mut add = |name: &str, value: f64| of_all.insert(name.to_owned(), value);
    add("grown_kib", grown(after.memory) / 1024.0);
    add("files_left", after.files.saturating_sub(before.files) as f64);
    add("nodes_died", cluster.dead().len() as f64);
    let calls = without.figures();
    add("call_p50_before_ms", calls["call_p50_ms"]);
    add("call_p99_before_ms", calls["call_p99_ms"]);
    add("fresh_ok_before_percent", fresh_before["fresh_ok_percent"]);
    add("fresh_p99_before_ms", fresh_before["fresh_p99_ms"]);
    of_all.extend(with.figures().into_iter().chain(fresh).chain(probes));
    let examples: Vec<String> = with.faults().into_iter().chain(failures).take(6).collect();
    let mut log = Some(cluster.troubles());
    let is_alone = rows.len() == 1;
    let outcome = |mut figures: BTreeMap<String, f64>| {
        if is_alone {
            let opened = figures.get("opened").copied().unwrap_or_default().max(1.0);
            let mut add = |name: &str, value: f64| figures.insert(name.to_owned(), value);
            add("files_per_connection", most.files.saturating_sub(before.files) as f64 / opened);
            add("kib_per_connection", grown(most.memory) / 1024.0 / opened);
            add("laravel_per_socket", strangers as f64 / opened);
            add("laravel_per_second", strangers as f64 / lasts.as_secs_f64());
            if let Some(requests) = figures.get("requests") {
                let bytes = grown(after.memory) / requests.max(1.0);
                figures.insert("bytes_per_request".into(), bytes);
            }
            if let Some(sent) = figures.get("sent_bytes") {
                let percent = 100.0 * grown(after.memory) / sent.max(1.0);
                figures.insert("grown_per_sent_percent".into(), percent);
            }
        }
        figures.extend(of_all.clone());
        Outcome { figures, examples: examples.clone(), node_log: log.take().unwrap_or_default() }
    };
    Ok(attacked.into_iter().map(outcome).collect())
}

fn target(rows: &[&Row], options: &Attack) -> Target {
    // Limits as delivered: an empty value counts as none.
    let limits = [
        "EVENTS_PER_MINUTE",
        "HANDSHAKES_PER_SECOND",
        "HANDSHAKES_PER_ADDRESS_PER_SECOND",
        "RINGS_PER_CALLEE_PER_MINUTE",
        "UNANSWERED_RINGS_PER_CALLEE",
        "UNANSWERED_RINGS_PER_CALLER",
        "PRESENCE_IDS_PER_MINUTE",
        "MAX_CONNECTIONS_PER_ADDRESS",
        "SESSION_REQUESTS_PER_ADDRESS_PER_SECOND",
        "AUTH_NEW_TOKENS_PER_SECOND",
    ];
    let delivered = limits.map(|name| (name.to_owned(), String::new()));
    let nodes = rows.iter().flat_map(|row| row.nodes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let node_env = delivered.into_iter().chain(nodes).chain(options.node_env.iter().cloned()).collect();
    Target {
        laravel: true,
        waf: rows.iter().any(|row| row.waf),
        node_files: rows.iter().find_map(|row| row.files),
        ..Target::started_here(2, options.binary.clone(), node_env)
    }
}

/// The attacker is another process, so that honest phones do not wait for it; it ends with its standard input.
async fn attacker(row: &Row, cluster: &Cluster, lasts: Duration) -> anyhow::Result<BTreeMap<String, f64>> {
    let nodes: Vec<String> = cluster.addresses.iter().map(ToString::to_string).collect();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["attacker", row.name, "--nodes", &nodes.join(","), "--seconds", &format!("{}ms", lasts.as_millis())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let _alive = child.stdin.take();
    let output = child.wait_with_output().await?;
    let said: Value = serde_json::from_slice(&output.stdout).context("the attacker said nothing")?;
    let figures = said.as_object().context("the attacker told no figures")?;
    Ok(figures.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect())
}

impl Outcome {
    /// The bounds that do not hold, with what was measured.
    pub fn broken(&self, row: &Row, options: &Attack) -> Vec<String> {
        let every = EVERY.iter().map(|bound| if options.no_p99 { bound.on_a_busy_machine() } else { *bound });
        let mut broken: Vec<String> =
            every.chain(row.bounds.iter().copied()).filter_map(|bound| self.check(bound)).collect();
        let [with, without] = ["call_p99_ms", "call_p99_before_ms"].map(|name| self.of(name).unwrap_or_default());
        let most = 2.0 * without + ALLOWANCE_MS;
        if !options.no_p99 && with > most {
            broken.push(format!("call_p99_ms is {with:.1}, at most {most:.1} wanted"));
        }
        broken
    }

    fn of(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    fn check(&self, bound: Bound) -> Option<String> {
        let (name, is_good, wanted) = match bound {
            Bound::AtMost(name, most) => (name, self.of(name).is_some_and(|value| value <= most), ("at most", most)),
            Bound::AtLeast(name, least) => {
                (name, self.of(name).is_some_and(|value| value >= least), ("at least", least))
            }
        };
        let measured = || self.of(name).map_or_else(|| "not measured".to_owned(), |value| format!("{value:.1}"));
        (!is_good).then(|| format!("{name} is {}, {} {} wanted", measured(), wanted.0, wanted.1))
    }

    pub fn lines(&self, row: &Row, options: &Attack) -> Vec<String> {
        let broken = self.broken(row, options);
        let verdict = if broken.is_empty() { "holds" } else { "FELL" };
        let mut lines = vec![format!("{:<18} {verdict}", row.name)];
        let figures: Vec<String> = self.figures.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
        lines.extend(figures.chunks(6).map(|chunk| format!("    {}", chunk.join(", "))));
        lines.extend(broken.iter().map(|broken| format!("  ! {broken}")));
        lines.extend(self.examples.iter().filter(|_| !broken.is_empty()).map(|example| format!("    {example}")));
        lines
    }
}
