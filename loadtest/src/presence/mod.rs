//! `loadtest presence`: users come and go, and others watch them.

mod ledger;
#[cfg(test)]
mod ledger_tests;
mod outcome;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::cost::Cost;
use crate::crowd::Crowd;
use crate::dial::{self, Failure, Line, Transport};
use crate::options::Presence;
use crate::packet::{self, Packet, Who};
use crate::phone::{Listener, Phone};
use crate::report::Report;
use crate::schedule::{self, Poisson};
use ledger::{Change, Ledger, watched_by};
use outcome::Outcome;

const CONNECTS_PER_SECOND: f64 = 400.0;
/// Between the last subscription and the first change.
const SETTLE: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_millis(100);
/// An answer to a subscription that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hears for all phones of a run: first the users', then the watchers'.
struct Ears {
    users: usize,
    run: u32,
    ledger: Mutex<Ledger>,
    /// Answers to subscriptions; there is a place for each.
    answers: mpsc::Sender<Value>,
}

pub async fn run(options: &Presence) -> anyhow::Result<Report> {
    let Presence { watchers, watched, phones: users, .. } = *options;
    if watched > users {
        bail!("{users} users are fewer than the {watched} that each is to watch: --phones");
    }
    let cluster = Cluster::open(&options.target).await?;
    let (run, nodes) = (rand::random_range(0..100_000_000), cluster.addresses.clone());
    let crowd = Crowd { nodes, transport: Transport::Websocket, rate: CONNECTS_PER_SECOND, run };
    crowd.make_room(users + watchers, cluster.is_own())?;

    let there = users.div_ceil(2);
    let (sender, answers) = mpsc::channel(watchers);
    let ledger = Mutex::new(Ledger::new(users, there, watchers, watched));
    let ears = Arc::new(Ears { users, run, ledger, answers: sender });
    let listener: Arc<dyn Listener> = ears.clone();
    let mut tasks = JoinSet::new();
    eprintln!("{there} of {users} users and {watchers} watchers connect");
    let mut phones = come(&crowd, (0, there), &listener, &mut tasks).await?;
    phones.resize(users, None);
    let watching = come(&crowd, (users, watchers), &listener, &mut tasks).await?;
    subscribe(options, &crowd, &watching, answers).await?;
    tokio::time::sleep(SETTLE).await;

    let before = cluster.usage().await?;
    Stage { crowd: &crowd, ears: &ears, phones, tasks }.play(options).await?;
    let after = cluster.usage().await?;

    let tally = &ears.ledger().tally;
    let cost = Cost { before: &before, after: &after, what: "change", count: tally.changes() };
    let outcome = Outcome { tally, seconds: options.duration.as_secs_f64(), cost };
    Ok(Report {
        mode: "presence",
        text: outcome.text(),
        settings: json!({
            "watchers": watchers, "watched": watched, "phones": users, "changes": options.changes,
            "duration_s": options.duration.as_secs_f64(), "laravel": options.target.laravel,
            "node_env": options.target.node_env,
        }),
        cluster: cluster.describe(),
        node_log: cluster.troubles(),
        figures: outcome.to_json(),
        died: cluster.dead().into_iter().map(str::to_owned).collect(),
        clean: tally.faults() == 0 && cluster.dead().is_empty(),
    })
}

/// Connects phones, all of them.
async fn come(
    crowd: &Crowd,
    (from, count): (usize, usize),
    listener: &Arc<dyn Listener>,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Vec<Option<Phone>>> {
    let came = crowd.come(from, count, listener, tasks).await?;
    match came.failures.first_key_value() {
        Some((failure, failed)) => bail!("{failed} of {count} phones did not connect: {failure}"),
        None => Ok(came.phones),
    }
}

/// Returns when every watcher's subscription was acknowledged.
async fn subscribe(
    options: &Presence,
    crowd: &Crowd,
    watching: &[Option<Phone>],
    mut answers: mpsc::Receiver<Value>,
) -> anyhow::Result<()> {
    for (watcher, phone) in watching.iter().enumerate() {
        let users = watched_by(watcher, options.watched, options.phones).map(|user| crowd.user(user));
        let subscription = json!({"userIds": users.collect::<Vec<_>>()});
        phone.as_ref().context("a phone is missing")?.send(packet::event(0, "presence:subscribe", &subscription));
    }
    for _ in watching {
        let answer = tokio::time::timeout(PATIENCE, answers.recv()).await;
        let answer = answer.context("a subscription was not answered")?.unwrap_or_default();
        if answer["success"] != true {
            bail!("a subscription was refused: {answer}");
        }
    }
    Ok(())
}

/// Who plays the changes.
struct Stage<'a> {
    crowd: &'a Crowd,
    ears: &'a Arc<Ears>,
    /// By user; none of those who are away.
    phones: Vec<Option<Phone>>,
    tasks: JoinSet<()>,
}

type Dials = JoinSet<(usize, Instant, Result<Line, Failure>)>;

impl Stage<'_> {
    /// Until all changes that arrived are told or missed.
    async fn play(mut self, options: &Presence) -> anyhow::Result<()> {
        let arrivals = Poisson::new(options.changes, options.duration, u64::from(rand::random::<u32>()));
        let start = Instant::now() + Duration::from_millis(10);
        let mut arrivals = schedule::start(start, arrivals)?;
        let (mut random, mut dials, mut all_came) = (StdRng::from_os_rng(), Dials::new(), false);
        let (mut sweep, mut told) = (tokio::time::interval(SWEEP), 0);
        while !(all_came && dials.is_empty() && self.ears.ledger().open() == 0) {
            tokio::select! {
                arrival = arrivals.recv(), if !all_came => match arrival {
                    Some(scheduled) => {
                        let taken = self.ears.ledger().take(scheduled, Instant::now(), &mut random);
                        self.change(taken, &mut dials);
                    }
                    None => all_came = true,
                },
                Some(dialed) = dials.join_next() => {
                    let (user, at, line) = dialed?;
                    self.dialed(user, at, line);
                }
                _ = sweep.tick() => {
                    while self.tasks.try_join_next().is_some() {}
                    let mut ledger = self.ears.ledger();
                    ledger.sweep(Instant::now());
                    let second = start.elapsed().as_secs();
                    if second > told {
                        told = second;
                        eprintln!("{}", outcome::progress(second, &ledger.tally, ledger.open()));
                    }
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, taken: Option<(usize, Change)>, dials: &mut Dials) {
        match taken {
            None => {}
            Some((user, Change::Went)) => self.phones[user] = None,
            Some((user, Change::Came)) => {
                let node = self.crowd.nodes[user % self.crowd.nodes.len()];
                let (who, source) = (Who::phone_of(&self.crowd.user(user)), dial::source(node, user));
                dials.spawn(async move {
                    let line = dial::dial(node, source, Transport::Websocket, &who).await;
                    (user, Instant::now(), line)
                });
            }
        }
    }

    fn dialed(&mut self, user: usize, at: Instant, line: Result<Line, Failure>) {
        match line {
            Ok(line) => {
                let listener: Arc<dyn Listener> = self.ears.clone();
                self.phones[user] = Some(Phone::start(user, line, listener, &mut self.tasks));
                self.ears.ledger().ready(user, at);
            }
            Err(failure) => self.ears.ledger().refused(user, &failure),
        }
    }
}

impl Ears {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index in a user's id, as [`Crowd::user`] writes it.
    fn user(&self, id: &str) -> Option<usize> {
        id.strip_prefix(&format!("USR_{:08}", self.run))?.parse().ok()
    }
}

impl Listener for Ears {
    fn hears(&self, phone: usize, packet: Packet, at: Instant) {
        match packet {
            Packet::Event { name, payload, .. } => {
                let user = payload["userId"].as_str().and_then(|id| self.user(id));
                if let (Some(change), Some(user), Some(watcher)) =
                    (Change::parse(&name), user, phone.checked_sub(self.users))
                {
                    self.ledger().hears(watcher, user, change, at);
                }
            }
            Packet::Ack { payload, .. } => drop(self.answers.try_send(payload)),
            _ => {}
        }
    }

    fn disconnected(&self, phone: usize, why: &str) {
        match phone.checked_sub(self.users) {
            Some(watcher) => self.ledger().watcher_lost(watcher, why),
            None => self.ledger().user_lost(phone, why),
        }
    }
}
