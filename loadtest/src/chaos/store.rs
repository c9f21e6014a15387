//! The Redis of a run: one server that keeps its data on disk, or a primary and two replicas under a Sentinel.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::clock::StoreClock;
use crate::child::Child;
use crate::redis::free_address;

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(25);
const SERVICE: &str = "chaos";
const SNAPSHOT: &str = "snapshot";

pub struct Store {
    folder: PathBuf,
    servers: Vec<Server>,
    sentinel: Option<Server>,
    is_replicated: bool,
    clock: StoreClock,
}

/// What a store does with writes that it refuses.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// They wait without an answer, as those of a server under `CLIENT PAUSE … WRITE`.
    Wait,
    /// They are answered `NOREPLICAS`.
    NoReplicas,
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Option<Child>,
}

impl Store {
    /// Starts the servers and waits until they answer.
    pub async fn start(with_sentinel: bool) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("chaos-{}-{:08x}", std::process::id(), rand::random::<u32>()));
        let names: &[&'static str] = if with_sentinel { &["redis 1", "redis 2", "redis 3"] } else { &["redis"] };
        let mut servers = Vec::new();
        for name in names {
            servers.push(Server { name, address: free_address()?, child: None });
        }
        let clock = StoreClock::build(&folder.join("clock"))?;
        let mut store = Self { folder, servers, sentinel: None, is_replicated: with_sentinel, clock };
        store.begin(0).await?;
        if with_sentinel {
            store.begin(1).await?;
            store.begin(2).await?;
            store.watch_over().await?;
        }
        Ok(store)
    }

    /// The server, where there is one and no Sentinel.
    pub fn only(&self) -> Option<SocketAddr> {
        if self.sentinel.is_some() { None } else { self.servers.first().map(|server| server.address) }
    }

    /// What nodes are told, unless a link stands between.
    pub fn url(&self) -> String {
        match &self.sentinel {
            Some(sentinel) => format!("redis-sentinel://{}?sentinelServiceName={SERVICE}", sentinel.address),
            None => format!("redis://{}", self.servers[0].address),
        }
    }

    /// The process that has the truth now.
    pub async fn primary(&self) -> anyhow::Result<u32> {
        let place = self.place_of_primary().await?;
        self.servers[place].child.as_ref().map(|child| child.pid).context("the primary is down")
    }

    /// Ends the primary without a word.
    pub async fn kill(&mut self) -> anyhow::Result<usize> {
        let place = self.place_of_primary().await?;
        self.servers[place].child = None;
        Ok(place)
    }

    /// Starts a server that was ended, with the data it has on disk.
    pub async fn begin(&mut self, place: usize) -> anyhow::Result<()> {
        let leader = if self.sentinel.is_some() { self.place_of_primary().await? } else { 0 };
        let primary = self.servers[leader].address;
        let server = &mut self.servers[place];
        let folder = self.folder.join(server.name.replace(' ', "-"));
        std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let (port, folder) = (server.address.port().to_string(), folder.display().to_string());
        let mut arguments = vec![
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &folder,
            "--repl-diskless-sync-delay",
            "0",
        ];
        arguments.extend(["--appendonly", "yes", "--appendfsync", "always"]);
        if self.is_replicated {
            // A primary that the others left takes no writes: what it took would be lost when it comes back.
            arguments.extend(["--min-replicas-to-write", "1", "--min-replicas-max-lag", "2"]);
        }
        let (host, primary_port) = (primary.ip().to_string(), primary.port().to_string());
        // A Sentinel would make a former primary follow only after some 20 s.
        if place != leader {
            arguments.extend(["--replicaof", &host, &primary_port]);
        }
        let [library, file] = self.clock.variables();
        let arguments = [&[library.as_str(), file.as_str(), "redis-server"], &arguments[..]].concat();
        server.child = Some(Child::start(server.name, "env", &arguments, &[])?);
        let address = server.address;
        answers(address, "PING", |reply| reply.starts_with("+PONG")).await
    }

    /// Removes what a server that was ended has on disk.
    pub fn forget(&self, place: usize) -> anyhow::Result<()> {
        let folder = self.folder.join(self.servers[place].name.replace(' ', "-"));
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} can't be removed", folder.display()))
    }

    /// Keeps what the only server has on disk now.
    pub fn remember(&self) -> anyhow::Result<()> {
        let kept = self.folder.join(SNAPSHOT);
        if kept.exists() {
            std::fs::remove_dir_all(&kept)?;
        }
        copy_folder(&self.folder.join(self.servers[0].name), &kept)
    }

    /// Puts back what was kept, under a server that was ended.
    pub fn restore(&self, place: usize) -> anyhow::Result<()> {
        self.forget(place)?;
        copy_folder(&self.folder.join(SNAPSHOT), &self.folder.join(self.servers[place].name))
    }

    /// Lets the store's clock step.
    pub fn step_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.clock.step(seconds)
    }

    /// Lets the primary answer reads only, for so long.
    pub async fn refuse_writes(&self, how: Refusal, lasts: Duration) -> anyhow::Result<()> {
        let primary = self.servers[self.place_of_primary().await?].address;
        let replicas = usize::from(self.is_replicated);
        let (begin, end) = match how {
            Refusal::Wait => (format!("CLIENT PAUSE {} WRITE", lasts.as_millis()), "CLIENT UNPAUSE".to_owned()),
            Refusal::NoReplicas => {
                let set = |count| format!("CONFIG SET min-replicas-to-write {count}");
                (set(9), set(replicas))
            }
        };
        answers(primary, &begin, |reply| reply.starts_with("+OK")).await?;
        tokio::time::sleep(lasts).await;
        answers(primary, &end, |reply| reply.starts_with("+OK")).await
    }

    /// Breaks all connections that subscribe.
    pub async fn end_subscriptions(&self) -> anyhow::Result<()> {
        let place = self.place_of_primary().await?;
        ask(self.servers[place].address, "CLIENT KILL TYPE pubsub").await.map(drop)
    }

    /// Waits until another server than `old` is the primary and takes writes.
    pub async fn fails_over(&self, old: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.place_of_primary().await.is_ok_and(|place| place == old) {
            if Instant::now() > deadline {
                bail!("the sentinel chose no other primary");
            }
            tokio::time::sleep(PAUSE).await; // another process has no event to wait for
        }
        let place = self.place_of_primary().await?;
        answers(self.servers[place].address, "ROLE", |reply| reply.contains("master")).await
    }

    /// Waits until all servers but one follow that one, so that the next failover finds somebody.
    pub async fn is_whole(&self) -> anyhow::Result<()> {
        if self.sentinel.is_none() {
            return Ok(());
        }
        let followers = format!("connected_slaves:{}", self.servers.len() - 1);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let primary = self.servers[self.place_of_primary().await?].address;
            if ask(primary, "INFO replication").await.is_ok_and(|info| info.contains(&followers)) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await; // another process has no event to wait for
        }
        bail!("not all servers follow the primary")
    }

    /// Waits until a server follows the primary, so that a failover finds somebody.
    pub async fn follows(&self, place: usize) -> anyhow::Result<()> {
        answers(self.servers[place].address, "INFO replication", |reply| reply.contains("master_link_status:up")).await
    }

    async fn watch_over(&mut self) -> anyhow::Result<()> {
        self.follows(1).await?;
        self.follows(2).await?;
        let address = free_address()?;
        let file = self.folder.join("sentinel.conf");
        let primary = self.servers[0].address;
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} {} {} 1\n\
             sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 4000\n",
            address.port(),
            self.folder.display(),
            primary.ip(),
            primary.port()
        );
        std::fs::write(&file, text).with_context(|| format!("{} can't be written", file.display()))?;
        let child = Child::start("sentinel", "redis-server", &[&file.display().to_string(), "--sentinel"], &[])?;
        self.sentinel = Some(Server { name: "sentinel", address, child: Some(child) });
        let known = format!("SENTINEL replicas {SERVICE}");
        let replicas = [1, 2].map(|place| self.servers[place].address.port().to_string());
        answers(address, &known, |reply| replicas.iter().all(|port| reply.contains(port))).await
    }

    async fn place_of_primary(&self) -> anyhow::Result<usize> {
        let Some(sentinel) = &self.sentinel else { return Ok(0) };
        let reply = ask(sentinel.address, &format!("SENTINEL get-master-addr-by-name {SERVICE}")).await?;
        let is_named = |server: &Server| reply.contains(&server.address.port().to_string());
        self.servers.iter().position(is_named).with_context(|| format!("the sentinel said {reply}"))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.sentinel = None;
        self.servers.clear();
        remove(&self.folder);
    }
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("{} can't be read", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        eprintln!("loadtest: {} is left behind: {error}", folder.display());
    }
}

async fn answers(address: SocketAddr, question: &str, expected: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::new();
    while Instant::now() < deadline {
        if let Ok(reply) = ask(address, question).await {
            if expected(&reply) {
                return Ok(());
            }
            last = reply;
        }
        tokio::time::sleep(PAUSE).await; // another process has no event to wait for
    }
    bail!("{address} does not answer {question} as expected, but: {last}")
}

/// Sends an inline command and reads what comes within a short while.
async fn ask(address: SocketAddr, question: &str) -> anyhow::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    stream.write_all(format!("{question}\r\n").as_bytes()).await?;
    let mut reply = String::new();
    loop {
        // Where a reply of many lines ends is not worth a parser here.
        let patience = Duration::from_millis(if reply.is_empty() { 1000 } else { 30 });
        let mut line = String::new();
        match tokio::time::timeout(patience, stream.read_line(&mut line)).await {
            Ok(Ok(1..)) => reply.push_str(&line),
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(0)) | Err(_) => return Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_restart_keeps_what_was_written_and_a_wipe_does_not() {
        let mut store = Store::start(false).await.expect("it starts");
        let address = store.only().expect("one server");
        ask(address, "SET key value").await.expect("a reply");
        let place = store.kill().await.expect("it is killed");
        store.begin(place).await.expect("it starts again");
        assert!(ask(address, "GET key").await.expect("a reply").contains("value"));
        store.kill().await.expect("it is killed");
        store.forget(place).expect("its data is gone");
        store.begin(place).await.expect("it starts again");
        assert!(ask(address, "GET key").await.expect("a reply").contains("$-1"));
    }

    #[tokio::test]
    async fn an_old_snapshot_comes_back() {
        let mut store = Store::start(false).await.expect("it starts");
        let address = store.only().expect("one server");
        ask(address, "SET key old").await.expect("a reply");
        store.remember().expect("it is kept");
        ask(address, "SET key new").await.expect("a reply");
        let place = store.kill().await.expect("it is killed");
        store.restore(place).expect("the old data is back");
        store.begin(place).await.expect("it starts again");
        assert!(ask(address, "GET key").await.expect("a reply").contains("old"));
    }

    #[tokio::test]
    async fn the_clock_steps_and_time_outs_do_not() {
        let store = Store::start(false).await.expect("it starts");
        let address = store.only().expect("one server");
        let seconds = async || -> i64 {
            let reply = ask(address, "TIME").await.expect("a reply");
            reply.lines().nth(2).and_then(|line| line.parse().ok()).expect("seconds")
        };
        let before = seconds().await;
        store.step_clock(-20).expect("it steps");
        let after = seconds().await;
        assert!((-20..=-18).contains(&(after - before)), "{before}, {after}");
        store.step_clock(29).expect("it steps");
        assert!((9..=12).contains(&(seconds().await - before)));
    }

    #[tokio::test]
    async fn writes_are_refused_for_a_while() {
        let store = Store::start(false).await.expect("it starts");
        let address = store.only().expect("one server");
        let refused = store.refuse_writes(Refusal::NoReplicas, Duration::from_millis(300));
        let meanwhile = async {
            answers(address, "SET key 1", |reply| reply.contains("NOREPLICAS")).await.expect("refused");
            assert!(ask(address, "GET another").await.expect("a reply").contains("$-1"));
        };
        let (refused, ()) = tokio::join!(refused, meanwhile);
        refused.expect("it takes writes again");
        assert!(ask(address, "SET key 1").await.expect("a reply").starts_with("+OK"));
    }

    #[tokio::test]
    async fn a_sentinel_makes_the_replica_primary() {
        let mut store = Store::start(true).await.expect("it starts");
        let old = store.kill().await.expect("it is killed");
        store.fails_over(old).await.expect("another takes over");
        store.begin(old).await.expect("it starts again");
        store.follows(old).await.expect("it follows");
    }
}
