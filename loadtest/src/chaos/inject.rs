//! Faults happen as they are scheduled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::Clients;
use super::faults::{Fault, Kind, PRIMARY_PAUSE};
use super::fleet::{self, Fleet};
use super::history::{History, What};
use super::link::Mood;
use super::store::{Refusal, Store};
use super::world::World;

/// A load balancer needs so long to see that a node stands still.
const NOTICED_AFTER: Duration = Duration::from_secs(2);
/// A node that drains is ended by force after this.
const DRAIN_WITHIN: Duration = Duration::from_secs(45);
const LONGEST_DELAY: Duration = Duration::from_millis(800);
/// A snapshot is kept this many faults before it comes back.
const KEPT_AHEAD: usize = 3;

pub struct Injector {
    pub fleet: Arc<Fleet>,
    pub store: Store,
    pub world: Arc<World>,
    pub history: Arc<History>,
    pub seed: u64,
}

impl Injector {
    /// Lets all faults happen, each at its time or as soon as the one before it in its row is over.
    pub async fn run(mut self, faults: Vec<Fault>, begin: Instant) -> anyhow::Result<Self> {
        let (of_clients, others): (Vec<_>, Vec<_>) =
            faults.into_iter().enumerate().partition(|(_, fault)| fault.kind.is_of_clients());
        let clients = Clients { fleet: Arc::clone(&self.fleet), world: Arc::clone(&self.world), seed: self.seed };
        let note = Notes {
            fleet: Arc::clone(&self.fleet),
            world: Arc::clone(&self.world),
            history: Arc::clone(&self.history),
        };
        let (struck, ()) = tokio::join!(self.strike_all(&note, others, begin), async {
            for (index, fault) in of_clients {
                tokio::time::sleep_until((begin + fault.at).into()).await;
                note.begin(index, fault, false, Duration::ZERO).await;
                clients.strike(index, fault).await;
                note.done(index);
            }
        });
        struck?;
        Ok(self)
    }

    async fn strike_all(&mut self, note: &Notes, faults: Vec<(usize, Fault)>, begin: Instant) -> anyhow::Result<()> {
        let mut kept: Option<Instant> = None;
        for (place, &(index, fault)) in faults.iter().enumerate() {
            let mut next = faults[place..].iter().take(KEPT_AHEAD);
            if kept.is_none() && next.any(|(_, fault)| fault.kind == Kind::OldSnapshot) {
                self.store.remember()?;
                kept = Some(Instant::now());
            }
            tokio::time::sleep_until((begin + fault.at).into()).await;
            let age = if fault.kind == Kind::OldSnapshot { kept.take() } else { None };
            let age = age.map_or(Duration::ZERO, |kept| kept.elapsed());
            note.begin(index, fault, self.store.only().is_none(), age).await;
            self.strike(fault).await?;
            note.done(index);
        }
        Ok(())
    }

    async fn strike(&mut self, fault: Fault) -> anyhow::Result<()> {
        let Fault { kind, lasts, place, strength, .. } = fault;
        match kind {
            Kind::Kill => {
                self.fleet.kill(place);
                tokio::time::sleep(lasts).await;
                self.fleet.start(place).await?;
            }
            Kind::Suspend => {
                self.fleet.signal(place, "-STOP")?;
                let noticed = NOTICED_AFTER.min(lasts);
                tokio::time::sleep(noticed).await;
                self.fleet.balance(place, false);
                tokio::time::sleep(lasts - noticed).await;
                self.fleet.signal(place, "-CONT")?;
                self.fleet.balance(place, true);
            }
            Kind::Drain => {
                self.fleet.stop(place)?;
                self.fleet.ends(place, DRAIN_WITHIN).await?;
                tokio::time::sleep(lasts).await;
                self.fleet.start(place).await?;
            }
            Kind::Cut => self.with_link(place, Mood::Cut, lasts).await,
            Kind::Delay => self.with_link(place, Mood::Slow(LONGEST_DELAY.mul_f64(strength)), lasts).await,
            Kind::RedisPause => {
                let primary = self.store.primary().await?;
                self.world.make_impatient(true);
                fleet::send(primary, "-STOP")?;
                tokio::time::sleep(lasts).await;
                fleet::send(primary, "-CONT")?;
                self.world.make_impatient(false);
                self.store.is_whole().await?;
            }
            Kind::RedisRestart | Kind::RedisWipe | Kind::OldSnapshot => {
                let place = self.store.kill().await?;
                match kind {
                    Kind::RedisWipe => self.store.forget(place)?,
                    Kind::OldSnapshot => self.store.restore(place)?,
                    _ => {}
                }
                tokio::time::sleep(lasts).await;
                self.store.begin(place).await?;
            }
            Kind::Failover => {
                let old = self.store.kill().await?;
                self.store.fails_over(old).await?;
                tokio::time::sleep(lasts).await;
                self.store.begin(old).await?;
                self.store.follows(old).await?;
            }
            Kind::Unsubscribe => self.store.end_subscriptions().await?,
            Kind::ClockStep => {
                const STEPS: [i64; 4] = [-20, -9, 9, 20];
                self.store.step_clock(STEPS[(strength * 1000.0) as usize % STEPS.len()])?;
                tokio::time::sleep(lasts).await;
            }
            Kind::RefuseWrites => {
                // A Sentinel asks on a connection on which it writes too, and would take the primary for dead.
                let waits = self.store.only().is_some() && strength < 0.6;
                let how = if waits { Refusal::Wait } else { Refusal::NoReplicas };
                self.store.refuse_writes(how, lasts).await?;
            }
            Kind::LostReplies => {
                self.with_link(place, Mood::Forgetful, lasts).await;
                if let Some(link) = self.fleet.links.get(place) {
                    let (replies, scripts) = link.lost();
                    eprintln!("  {replies} replies of {scripts} scripts were lost on this link so far");
                }
            }
            Kind::Phones | Kind::Deaf | Kind::Jitter | Kind::Impatient | Kind::PresenceFlood | Kind::DialFlood => {}
        }
        Ok(())
    }

    async fn with_link(&self, place: usize, mood: Mood, lasts: Duration) {
        let Some(link) = self.fleet.links.get(place) else { return };
        link.set(mood);
        tokio::time::sleep(lasts).await;
        link.set(Mood::Open);
    }
}

/// Writes down when a fault begins, with the calls it meets, and when it is over.
struct Notes {
    fleet: Arc<Fleet>,
    world: Arc<World>,
    history: Arc<History>,
}

impl Notes {
    async fn begin(&self, fault: usize, Fault { kind, place, .. }: Fault, with_sentinel: bool, age: Duration) {
        if kind.is_of_a_node() {
            self.fleet.has_node(place).await;
        }
        let node = if kind.is_of_a_node() { self.fleet.name(place) } else { None };
        let (ringing, active) = self.world.calls_at(node.as_deref());
        let target = node.unwrap_or_else(|| if kind.is_of_clients() { "phones".into() } else { "redis".into() });
        eprintln!("  {} at {target}: {ringing} calls ring, {active} are active", kind.name());
        let is_primary = kind == Kind::RedisPause && with_sentinel;
        let kind = if is_primary { PRIMARY_PAUSE } else { kind.name() };
        let lost_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.history.add(What::Begin { fault, kind: kind.into(), target, ringing, active, lost_ms });
    }

    fn done(&self, fault: usize) {
        self.history.add(What::Done { fault });
    }
}
