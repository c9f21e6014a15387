//! The nodes of a run: real processes in places that stay, behind a load balancer that takes turns.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::history::{History, What};
use super::link::Link;
use crate::child::Child;
use crate::cluster::listening;

/// A node that ended by itself is started so often.
const STARTS: u32 = 30;

pub struct Fleet {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    /// The way to Redis of each place; none under a Sentinel, which names addresses by itself.
    pub links: Vec<Link>,
    places: Mutex<Vec<Place>>,
    turn: AtomicUsize,
    starts: AtomicUsize,
    history: Arc<History>,
    /// What nodes that are gone had logged.
    troubles: Mutex<std::collections::BTreeMap<String, u64>>,
}

#[derive(Default)]
struct Place {
    node: Option<Node>,
    /// The load balancer sends phones here.
    takes_phones: bool,
    /// It was asked to stop: that it ends is no surprise.
    is_stopping: bool,
}

struct Node {
    name: String,
    public: SocketAddr,
    child: Child,
}

impl Fleet {
    pub fn new(
        binary: PathBuf,
        environment: Vec<(String, String)>,
        links: Vec<Link>,
        places: usize,
        history: Arc<History>,
    ) -> Self {
        Self {
            binary,
            environment,
            links,
            places: Mutex::new((0..places).map(|_| Place::default()).collect()),
            turn: AtomicUsize::new(0),
            starts: AtomicUsize::new(0),
            history,
            troubles: Mutex::default(),
        }
    }

    /// Starts a node in a place and lets phones come to it.
    pub async fn start(self: &Arc<Self>, place: usize) -> anyhow::Result<()> {
        let number = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("node {number}");
        let (binary, mut environment) = (self.binary.display().to_string(), self.environment.clone());
        if let Some(link) = self.links.get(place) {
            environment.push(("REDIS_URL".into(), format!("redis://{}", link.address)));
        }
        environment.push(("NODE_ID".into(), name.replace(' ', "-")));
        let named = name.clone();
        // Its output is waited for by a thread: phones go on meanwhile.
        let started = tokio::task::spawn_blocking(move || {
            let mut child = Child::start(&named, &binary, &[], &environment)?;
            let address = child.find_line(listening)?;
            child.forget_troubles();
            anyhow::Ok((child, address))
        });
        let (child, address) = started.await??;
        let public = address.parse().with_context(|| format!("{name} listens on {address}"))?;
        self.history.add(What::Up { node: name.clone() });
        self.places()[place] =
            Place { node: Some(Node { name, public, child }), takes_phones: true, is_stopping: false };
        Ok(())
    }

    /// The next node for a phone.
    pub fn pick(&self) -> Option<(String, SocketAddr)> {
        let places = self.places();
        let open: Vec<&Node> =
            places.iter().filter(|place| place.takes_phones).filter_map(|place| place.node.as_ref()).collect();
        let open: Vec<&Node> = open.into_iter().filter(|node| node.child.is_alive()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let node = open.get(turn % open.len().max(1))?;
        Some((node.name.clone(), node.public))
    }

    pub fn name(&self, place: usize) -> Option<String> {
        self.places()[place].node.as_ref().map(|node| node.name.clone())
    }

    pub fn address(&self, place: usize) -> Option<SocketAddr> {
        self.places()[place].node.as_ref().map(|node| node.public)
    }

    pub fn names(&self) -> Vec<(String, SocketAddr)> {
        let places = self.places();
        places.iter().filter_map(|place| place.node.as_ref()).map(|node| (node.name.clone(), node.public)).collect()
    }

    /// Whether the load balancer sends phones to this place.
    pub fn balance(&self, place: usize, takes_phones: bool) {
        self.places()[place].takes_phones = takes_phones;
    }

    /// Ends the node of a place without a word.
    pub fn kill(&self, place: usize) {
        let node = {
            let mut places = self.places();
            places[place].takes_phones = false;
            places[place].node.take()
        };
        if let Some(node) = node {
            self.bury(node);
        }
    }

    /// Sends a signal to the node of a place, unless it has just ended by itself.
    pub fn signal(&self, place: usize, signal: &str) -> anyhow::Result<()> {
        match &self.places()[place].node {
            Some(node) => {
                send(node.child.pid, signal).or_else(|error| if node.child.is_alive() { Err(error) } else { Ok(()) })
            }
            None => bail!("no node in place {place}"),
        }
    }

    /// Asks the node of a place to stop.
    pub fn stop(&self, place: usize) -> anyhow::Result<()> {
        {
            let mut places = self.places();
            places[place].takes_phones = false;
            places[place].is_stopping = true;
        }
        self.signal(place, "-TERM")
    }

    /// Starts nodes again that ended by themselves, as a process manager does. Ends with an error when one can't be.
    pub async fn supervise(self: Arc<Self>) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await; // another process has no event to wait for
            let died = self
                .places()
                .iter()
                .position(|place| !place.is_stopping && place.node.as_ref().is_some_and(|node| !node.child.is_alive()));
            let Some(place) = died else { continue };
            let name = self.name(place).unwrap_or_default();
            eprintln!("  {name} ended by itself, another takes its place");
            self.history.add(What::Died { node: name });
            self.kill(place);
            self.start_again(place).await?;
        }
    }

    /// Starts a node in a place once more, and again where it ends at once: a store may refuse it.
    async fn start_again(self: &Arc<Self>, place: usize) -> anyhow::Result<()> {
        let mut tries = 1;
        loop {
            match self.start(place).await {
                Ok(()) => return Ok(()),
                Err(error) if tries == STARTS => return Err(error),
                Err(error) => eprintln!("  {error:#}"),
            }
            tries += 1;
            tokio::time::sleep(Duration::from_secs(1)).await; // as a process manager does
        }
    }

    /// Waits until there is a node in a place.
    pub async fn has_node(&self, place: usize) {
        while self.name(place).is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await; // another process has no event to wait for
        }
    }

    /// Waits until the node of a place has ended by itself.
    pub async fn ends(&self, place: usize, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let is_alive = self.places()[place].node.as_ref().is_some_and(|node| node.child.is_alive());
            if !is_alive {
                self.kill(place);
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not end", self.name(place).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // another process has no event to wait for
        }
    }

    /// Warnings and errors of all nodes, those that are gone too.
    pub fn troubles(&self) -> std::collections::BTreeMap<String, u64> {
        let mut all = self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for node in self.places().iter().filter_map(|place| place.node.as_ref()) {
            node.child.troubles().into_iter().for_each(|(trouble, count)| *all.entry(trouble).or_default() += count);
        }
        all
    }

    fn bury(&self, node: Node) {
        self.history.add(What::Down { node: node.name.clone() });
        let mut all = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        node.child.troubles().into_iter().for_each(|(trouble, count)| *all.entry(trouble).or_default() += count);
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a signal to a process that was started here.
pub fn send(pid: u32, signal: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().context("kill can't be run")?;
    if status.success() { Ok(()) } else { bail!("process {pid} can't be sent {signal}") }
}
