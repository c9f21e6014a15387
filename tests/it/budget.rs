//! What one call costs, as counts: client commands, what scripts run inside them, what passes over the bus. Times depend
//! on the machine, these do not. The figures and what they were are in docs/adr/0016-one-command-for-each-change.md.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Cluster;
use crate::harness::phone::unique;
use crate::harness::redis::Redis;

const CALLS: usize = 20;

/// Everything a server runs, by `MONITOR`.
struct Monitor {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Monitor {
    fn start(redis: &Redis) -> Self {
        let port = redis.port.to_string();
        let mut command = Command::new("redis-cli");
        command.args(["-p", &port, "monitor"]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("redis-cli runs");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a first line");
        assert_eq!(first.trim(), "OK");
        Self { child, lines }
    }

    /// What ran until now.
    fn finish(mut self, redis: &Redis) -> Vec<String> {
        redis.command(&["echo", "that is all"]);
        let mut ran = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("a line") > 0, "the monitor ended");
            if line.contains("\"echo\" \"that is all\"") {
                break;
            }
            ran.push(line);
        }
        self.child.kill().expect("it ends");
        let _ = self.child.wait();
        ran
    }
}

/// What was about some calls: commands of clients, commands inside scripts, messages, and their size.
#[derive(Debug, Default)]
struct Spent {
    client: BTreeMap<String, usize>,
    inside: BTreeMap<String, usize>,
    messages: usize,
    message_bytes: usize,
    request_bytes: usize,
    /// Keys and arguments, each of which Redis reads and copies.
    request_words: usize,
    /// Those of batches of notes that no write carried: how many there are depends on the machine.
    batch_words: usize,
}

impl Spent {
    fn per_call(count: usize) -> f64 {
        count as f64 / CALLS as f64
    }

    fn read(ran: &[String], about: &[String]) -> Self {
        let mut spent = Self::default();
        let (mut counted, mut words) = (false, 0);
        for line in ran {
            let Some((head, command)) = line.split_once("] ") else { continue };
            let name = command.split('"').nth(1).unwrap_or_default().to_uppercase();
            let inside = head.ends_with(" lua");
            if !inside {
                counted = about.iter().any(|word| command.contains(word));
            }
            if !counted {
                continue;
            }
            if name == "PUBLISH" {
                spent.messages += 1;
                spent.message_bytes += command.len();
            }
            if name == "RPUSHX" {
                spent.batch_words += std::mem::take(&mut words);
            }
            if inside {
                *spent.inside.entry(name).or_default() += 1;
            } else {
                spent.request_bytes += command.len();
                words = command.matches("\" \"").count();
                spent.request_words += words;
                *spent.client.entry(name).or_default() += 1;
            }
        }
        spent
    }

    fn client(&self) -> f64 {
        Self::per_call(self.client.values().sum())
    }

    fn inside(&self) -> f64 {
        Self::per_call(self.inside.values().sum())
    }
}

/// Two phones on two nodes that promised `acks` call each other: ringing is confirmed, the call accepted and ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_costs_so_many_commands_and_messages() {
    let redis = Redis::start();
    let cluster = Cluster::on(&[redis.url(), redis.url()]).await;
    let (ana, bo) = (cluster.phone(0, &unique("ana")).await, cluster.phone(1, &unique("bo")).await);
    ana.completes_call(&bo).await; // scripts are loaded by now
    let monitor = Monitor::start(&redis);
    let mut about = vec![];
    for _ in 0..CALLS {
        about.push(ana.completes_call(&bo).await);
    }
    about.extend([ana.user.clone(), bo.user.clone()]);
    // What is gathered is written within a moment.
    let ends = Instant::now() + Duration::from_secs(1);
    tokio::time::sleep_until(ends.into()).await;
    let spent = Spent::read(&monitor.finish(&redis), &about);
    // One for each change. Notes that no write carried are gathered, and seldom.
    assert!(spent.client() <= 4.5, "{spent:?}");
    assert!(spent.inside() <= 48.0, "{spent:?}");
    // Six, one for each minute in which calls end, and one for each batch of notes that a slow machine gathers.
    assert!(Spent::per_call(spent.inside.get("PEXPIRE").copied().unwrap_or_default()) <= 6.5, "{spent:?}");
    assert_eq!(Spent::per_call(spent.messages), 4.0, "{spent:?}");
    assert!(Spent::per_call(spent.message_bytes) <= 5500.0, "{spent:?}");
    assert!(Spent::per_call(spent.request_bytes) <= 8_500.0, "{spent:?}");
    assert!(Spent::per_call(spent.request_words - spent.batch_words) <= 130.0, "{spent:?}");
    drop((ana, bo));
    cluster.close().await;
}
