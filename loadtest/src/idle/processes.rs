//! Processes that hold phones for this one, and end with it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::bystanders::FAILED;
use crate::crowd::Crowd;
use crate::dial::BLOCK;
use crate::held::Told;
use crate::procfs;

/// A process that does not answer by then has too much to do for its figures to count.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Processes(Vec<Process>);

struct Process {
    /// Killed when it is dropped.
    _child: Child,
    pid: u32,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Processes {
    /// Lets `phones` of the crowd come, `each` to a process at most.
    pub fn start(crowd: &Crowd, phones: usize, each: usize) -> anyhow::Result<Self> {
        let shares = shares(phones, each);
        let rate = crowd.rate / shares.len() as f64;
        let processes = shares.into_iter().map(|(from, count)| Process::start(crowd, rate, from, count));
        Ok(Self(processes.collect::<anyhow::Result<_>>()?))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What all of them have.
    pub async fn ask(&mut self) -> anyhow::Result<Told> {
        let mut all = Told::default();
        for process in &mut self.0 {
            let told = tokio::time::timeout(PATIENCE, process.ask()).await;
            all.add(told.with_context(|| format!("a process of phones did not answer within {PATIENCE:?}"))??);
        }
        Ok(all)
    }

    /// CPU time that all of them have used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        self.0.iter().map(|process| procfs::cpu(process.pid)).sum()
    }
}

impl Process {
    fn start(crowd: &Crowd, rate: f64, from: usize, phones: usize) -> anyhow::Result<Self> {
        let nodes: Vec<String> = crowd.nodes.iter().map(ToString::to_string).collect();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["bystanders", "--nodes", &nodes.join(","), "--run", &crowd.run.to_string()])
            .args(["--from", &from.to_string(), "--phones", &phones.to_string(), "--rate", &rate.to_string()])
            .args(["--transport", crowd.transport.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Progress is told for all of them together.
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().context("a process of phones can't be started")?;
        let (questions, answers) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        let pid = child.id().context("a process of phones ended at once")?;
        Ok(Self { _child: child, pid, questions, answers: BufReader::new(answers).lines() })
    }

    async fn ask(&mut self) -> anyhow::Result<Told> {
        // One that failed has said so before it was asked.
        let _ = self.questions.write_all(b"\n").await;
        let line = self.answers.next_line().await?.context("a process of phones ended")?;
        let told: Value = serde_json::from_str(&line)?;
        if let Some(why) = told[FAILED].as_str() {
            bail!("a process of phones ended: {why}");
        }
        Ok(serde_json::from_value(told)?)
    }
}

/// First index and count of each process's phones: as many to each, and none with the addresses of another's.
fn shares(phones: usize, each: usize) -> Vec<(usize, usize)> {
    let processes = phones.div_ceil(each.clamp(1, BLOCK));
    let (share, more) = (phones / processes, phones % processes);
    (0..processes).map(|number| (number * BLOCK, share + usize::from(number < more))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_shared_evenly_and_none_is_in_two_shares() {
        assert_eq!(shares(5000, 19_900), [(0, 5000)]);
        assert_eq!(shares(50_000, 19_900), [(0, 16_667), (20_000, 16_667), (40_000, 16_666)]);
        assert_eq!(shares(3, 1), [(0, 1), (20_000, 1), (40_000, 1)]);
        assert_eq!(
            shares(25_000, usize::MAX),
            [(0, 12_500), (20_000, 12_500)],
            "a block of addresses is enough for 20,000"
        );
    }
}
