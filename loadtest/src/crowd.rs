//! Many phones coming at a fixed rate, whatever becomes of those before them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::task::JoinSet;

use crate::dial::{self, Failure, Line, Transport};
use crate::figures::Latency;
use crate::packet::Who;
use crate::phone::{Listener, Phone};
use crate::{procfs, schedule};

/// Files that a process has open besides its phones.
const OTHER_FILES: u64 = 100;

/// Connections that a node takes where so many files may be open: it keeps a reserve for all else, and some for what it
/// passes on.
fn places(files: u64) -> u64 {
    let left = files - (files / 4).min(1024);
    left - (left / 4).min(512)
}

/// Who comes from where and how fast.
pub struct Crowd {
    pub nodes: Vec<SocketAddr>,
    pub transport: Transport,
    pub rate: f64,
    /// In every user's id, so that runs do not meet each other.
    pub run: u32,
}

/// What became of the phones that came.
#[derive(Default)]
pub struct Came {
    /// By index; none where the connect failed.
    pub phones: Vec<Option<Phone>>,
    /// From the planned start to `session:ready`.
    pub latency: Latency,
    pub failures: BTreeMap<Failure, u64>,
    /// From the first planned start to the last answer.
    pub took: Duration,
}

impl Came {
    pub fn connected(&self) -> u64 {
        self.latency.count()
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub fn per_second(&self) -> f64 {
        // The first starts at 0: so many starts take one gap less.
        let took = self.took.as_secs_f64().max(1e-3);
        self.connected() as f64 / took
    }
}

impl Crowd {
    pub fn user(&self, index: usize) -> String {
        format!("USR_{:08}{index:07}", self.run)
    }

    /// Refuses what the limit of open files does not allow, here and at nodes that inherit it; makes room for the rest.
    pub fn make_room(&self, phones: usize, own_nodes: bool) -> anyhow::Result<()> {
        let limit = procfs::file_limit()?;
        let needed = phones as u64 + self.passing() + OTHER_FILES;
        if needed > limit {
            bail!(
                "{phones} phones need about {needed} open files and this process may have {limit} (ulimit -n): \
                 take fewer phones, or hold them with `loadtest idle`, which has several processes"
            );
        }
        if own_nodes {
            self.check_nodes(phones)?;
        }
        procfs::make_room_for_files(needed - OTHER_FILES)
    }

    /// Refuses what nodes that inherit the limit of open files would not take.
    pub fn check_nodes(&self, phones: usize) -> anyhow::Result<()> {
        let (limit, at_node) = (procfs::file_limit()?, (phones as u64).div_ceil(self.nodes.len() as u64));
        let (needed, places) = (at_node + self.passing(), places(limit));
        if needed > places {
            bail!(
                "a node would need {needed} connections and takes {places} where {limit} files may be open \
                 (ulimit -n): start more nodes"
            );
        }
        Ok(())
    }

    /// How many phones this process can hold.
    pub fn most(&self) -> anyhow::Result<usize> {
        let left = procfs::file_limit()?.saturating_sub(self.passing() + OTHER_FILES);
        Ok(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Connections that a second of connects needs besides the one that stays.
    fn passing(&self) -> u64 {
        ((self.transport.connections() - 1) as f64 * self.rate) as u64
    }

    /// Connects phones `from..from + count`; they live in `tasks` and `listener` listens.
    pub async fn come(
        &self,
        from: usize,
        count: usize,
        listener: &Arc<dyn Listener>,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Came> {
        let mut came = Came::default();
        came.phones.resize_with(count, || None);
        let start = Instant::now();
        let mut arrivals = schedule::start(start, schedule::even(count, self.rate))?;
        let mut dials: JoinSet<(usize, Instant, Instant, Result<Line, Failure>)> = JoinSet::new();
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.tick().await;
        let mut next = from;
        let mut all_started = false;
        while !(all_started && dials.is_empty()) {
            tokio::select! {
                arrival = arrivals.recv(), if !all_started => match arrival {
                    Some(planned) => {
                        let (node, who) = (self.nodes[next % self.nodes.len()], Who::phone_of(&self.user(next)));
                        let (transport, index) = (self.transport, next);
                        let source = dial::source(node, index);
                        dials.spawn(async move {
                            let line = dial::dial(node, source, transport, &who).await;
                            (index, planned, Instant::now(), line)
                        });
                        next += 1;
                    }
                    None => all_started = true,
                },
                Some(dialed) = dials.join_next() => {
                    let (index, planned, at, line) = dialed?;
                    came.took = came.took.max(at - start);
                    match line {
                        Ok(line) => {
                            came.latency.add(at.saturating_duration_since(planned));
                            listener.connected(index);
                            came.phones[index - from] = Some(Phone::start(index, line, Arc::clone(listener), tasks));
                        }
                        Err(failure) => {
                            listener.refused(index, &failure);
                            *came.failures.entry(failure).or_default() += 1;
                        }
                    }
                }
                _ = second.tick() => eprintln!(
                    "{:>4.0} s  {} of {count} connected, {} on their way, {} failed, p99 {:.1} ms",
                    start.elapsed().as_secs_f64(), came.connected(), dials.len(), came.failed(), came.latency.at(0.99),
                ),
            }
        }
        Ok(came)
    }
}
