//! The attacking side: one process, bounded in connections, bytes and time, against loopback only. It ends with its
//! standard input, and prints what it did as one line of JSON.

mod edge;
mod frames;
mod http;
mod sockets;
mod users;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::options;
use crate::report::Report;

/// What an attacker knows and has done.
pub struct Attacker {
    /// The node that is attacked, and others.
    nodes: Vec<SocketAddr>,
    /// When it stops.
    until: Instant,
    seconds: f64,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    opened: u64,
    /// Seconds until each of its connections was ended by the node.
    cut: Vec<f64>,
    alive: u64,
    /// Further counts.
    counts: BTreeMap<&'static str, f64>,
}

pub fn knows(name: &str) -> bool {
    edge::knows(name) || frames::knows(name) || http::knows(name) || sockets::knows(name) || users::knows(name)
}

pub async fn run(options: &options::Attacker) -> anyhow::Result<Report> {
    if options.nodes.iter().any(|node| !node.ip().is_loopback()) || options.nodes.is_empty() {
        bail!("an attacker attacks this machine only");
    }
    let until = Instant::now() + options.seconds;
    let seconds = options.seconds.as_secs_f64();
    let attacker = Arc::new(Attacker { nodes: options.nodes.clone(), until, seconds, done: Mutex::default() });
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        exit(1);
    });
    let name = options.name.as_str();
    if !knows(name) {
        bail!("{name} is no attack");
    }
    // Each knows its own.
    edge::attack(name, &attacker).await;
    frames::attack(name, &attacker).await;
    http::attack(name, &attacker).await;
    sockets::attack(name, &attacker).await;
    users::attack(name, &attacker).await;
    // Whoever is done sooner waits: an attack lasts as long as was said.
    sleep_until(until).await;
    println!("{}", serde_json::to_string(&attacker.figures())?);
    exit(0);
}

impl Attacker {
    fn node(&self) -> SocketAddr {
        self.nodes[0]
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// What the future says, or nothing when the attack is over first.
    async fn within<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.until, future).await.ok()
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) {
        self.done().opened += 1;
    }

    /// One of its connections was ended by the node, or lives at the end.
    fn ended(&self, opened: Instant, is_cut: bool) {
        match is_cut {
            true => self.done().cut.push(opened.elapsed().as_secs_f64()),
            false => self.done().alive += 1,
        }
    }

    fn count(&self, name: &'static str, more: f64) {
        *self.done().counts.entry(name).or_default() += more;
    }

    fn figures(&self) -> BTreeMap<&'static str, f64> {
        let done = self.done();
        let mut figures = done.counts.clone();
        figures.insert("opened", done.opened as f64);
        figures.insert("alive", done.alive as f64);
        figures.insert("cut", done.cut.len() as f64);
        let most = done.cut.iter().copied().fold(0.0, f64::max);
        figures.insert("cut_max_s", if done.alive > 0 { self.seconds.max(most) } else { most });
        figures
    }
}

/// Addresses of an attacker.
const ADDRESSES: usize = 10;

fn source(number: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::new(127, 0, 2, 1 + u8::try_from(number % ADDRESSES).unwrap_or_default()))
}

/// Between two tries of one who is refused: an attacker does not spin.
const PAUSE: Duration = Duration::from_millis(20);
