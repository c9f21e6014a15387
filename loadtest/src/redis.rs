//! A Redis of one's own, and what it says about itself.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::child::Child;
use crate::procfs;

const PATIENCE: Duration = Duration::from_secs(5);

/// A `redis-server` on loopback that keeps nothing.
pub struct Redis {
    pub child: Child,
    pub address: SocketAddr,
    pub version: String,
    /// CPU time of those that were killed here.
    spent: Duration,
}

/// Commands that Redis carried out since it started; those inside scripts count too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commands {
    pub total: u64,
    pub by_name: BTreeMap<String, u64>,
}

impl Redis {
    pub async fn start() -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut redis = Self { child: serve(address)?, address, version: String::new(), spent: Duration::ZERO };
        redis.version = redis.answers().await?;
        Ok(redis)
    }

    /// Ends it without a word, and what it had is gone.
    pub fn kill(&mut self) {
        self.spent += procfs::cpu(self.child.pid).unwrap_or_default();
        self.child.kill();
    }

    /// Starts it again where it was, empty.
    pub async fn begin_again(&mut self) -> anyhow::Result<()> {
        self.child = serve(self.address)?;
        self.answers().await.map(drop)
    }

    /// CPU time so far, that of those that were killed included.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(self.spent + procfs::cpu(self.child.pid)?)
    }

    /// Waits until it answers; returns its version.
    async fn answers(&self) -> anyhow::Result<String> {
        for _ in 0..200 {
            if let Ok(info) = self.info("server").await {
                return Ok(value(&info, "redis_version").unwrap_or_default().to_owned());
            }
            tokio::time::sleep(Duration::from_millis(25)).await; // another process has no event to wait for
        }
        bail!("redis-server does not answer; is it installed?")
    }

    pub async fn commands(&self) -> anyhow::Result<Commands> {
        let mut commands = parse_commands(&self.info("commandstats").await?);
        let stats = self.info("stats").await?;
        commands.total = value(&stats, "total_commands_processed").context("no count of commands")?.parse()?;
        Ok(commands)
    }

    async fn info(&self, section: &str) -> anyhow::Result<String> {
        // Who else has the port may say nothing.
        tokio::time::timeout(PATIENCE, self.ask_info(section)).await.context("no answer of redis")?
    }

    async fn ask_info(&self, section: &str) -> anyhow::Result<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await?);
        stream.write_all(format!("INFO {section}\r\n").as_bytes()).await?;
        let mut head = String::new();
        stream.read_line(&mut head).await?;
        // A bulk string: $<length>\r\n<text>\r\n
        let length = head.strip_prefix('$').with_context(|| format!("redis said {}", head.trim()))?;
        let mut text = vec![0; length.trim().parse()?];
        stream.read_exact(&mut text).await?;
        Ok(String::from_utf8(text)?)
    }
}

fn serve(address: SocketAddr) -> anyhow::Result<Child> {
    let port = address.port().to_string();
    // It saves nothing, so it needs no directory of its own.
    let arguments = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    Child::start("redis-server", "redis-server", &arguments, &[])
}

impl Commands {
    /// What was carried out since `before`, without the questions for these figures.
    pub fn since(&self, before: &Self) -> Self {
        let by_name: BTreeMap<String, u64> = self
            .by_name
            .iter()
            .filter(|(name, _)| *name != "info")
            .map(|(name, count)| (name.clone(), count - before.by_name.get(name).copied().unwrap_or(0).min(*count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let asked = |commands: &Self| commands.by_name.get("info").copied().unwrap_or(0);
        let questions = asked(self).saturating_sub(asked(before));
        Self { total: self.total.saturating_sub(before.total).saturating_sub(questions), by_name }
    }
}

/// A port that nobody had a moment ago, and none of those that the system gives to whoever binds or connects without a
/// choice: such a one would be taken before the server is up.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..1000 {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..30_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port from 10000 to 30000 is free")
}

fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn parse_commands(info: &str) -> Commands {
    let by_name = info.lines().filter_map(|line| {
        let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = stats.split(',').find_map(|stat| stat.strip_prefix("calls="))?;
        Some((name.to_owned(), calls.parse().ok()?))
    });
    Commands { total: 0, by_name: by_name.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_between_two_looks() {
        let info = |gets: u64, infos: u64| {
            format!("# Commandstats\r\ncmdstat_get:calls={gets},usec=9\r\ncmdstat_info:calls={infos},usec=1\r\n")
        };
        let before = Commands { total: 100, ..parse_commands(&info(40, 2)) };
        let after = Commands { total: 163, ..parse_commands(&info(100, 4)) };
        let since = after.since(&before);
        assert_eq!(since.total, 61);
        assert_eq!(since.by_name, BTreeMap::from([("get".to_owned(), 60)]));
    }

    #[test]
    fn values_of_info() {
        assert_eq!(value("a:1\r\nredis_version:7.0.15\r\n", "redis_version"), Some("7.0.15"));
        assert_eq!(value("redis_version_x:1", "redis_version"), None);
    }
}
