//! Faults happen as they are scheduled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::faults::{Fault, Kind, PRIMARY_PAUSE};
use super::fleet::{self, Fleet};
use super::handset::Harm;
use super::history::{History, What};
use super::link::Mood;
use super::store::Store;
use super::world::World;

/// A load balancer needs so long to see that a node stands still.
const NOTICED_AFTER: Duration = Duration::from_secs(2);
/// A node that drains is ended by force after this.
const DRAIN_WITHIN: Duration = Duration::from_secs(45);
/// How often a phone loses its connection while they jitter.
const JITTER: Duration = Duration::from_secs(4);
const LONGEST_DELAY: Duration = Duration::from_millis(800);

pub struct Injector {
    pub fleet: Arc<Fleet>,
    pub store: Store,
    pub world: Arc<World>,
    pub history: Arc<History>,
    pub seed: u64,
}

impl Injector {
    /// Lets all faults happen, each at its time or as soon as the one before is over.
    pub async fn run(mut self, faults: Vec<Fault>, begin: Instant) -> anyhow::Result<Self> {
        for (index, fault) in faults.into_iter().enumerate() {
            tokio::time::sleep_until((begin + fault.at).into()).await;
            if fault.kind.is_of_a_node() {
                self.fleet.has_node(fault.place).await;
            }
            self.note(index, fault);
            self.strike(index, fault).await?;
            self.history.add(What::Done { fault: index });
        }
        Ok(self)
    }

    fn note(&self, fault: usize, Fault { kind, place, .. }: Fault) {
        let node = if kind.is_of_a_node() { self.fleet.name(place) } else { None };
        let (ringing, active) = self.world.calls_at(node.as_deref());
        let target = node.unwrap_or_else(|| if is_of_phones(kind) { "phones".into() } else { "redis".into() });
        eprintln!("  {} at {target}: {ringing} calls ring, {active} are active", kind.name());
        let is_primary = kind == Kind::RedisPause && self.store.only().is_none();
        let kind = if is_primary { PRIMARY_PAUSE } else { kind.name() };
        self.history.add(What::Begin { fault, kind: kind.into(), target, ringing, active });
    }

    async fn strike(&mut self, index: usize, fault: Fault) -> anyhow::Result<()> {
        let Fault { kind, lasts, place, strength, .. } = fault;
        match kind {
            Kind::Kill => {
                self.fleet.kill(place);
                tokio::time::sleep(lasts).await;
                self.fleet.start(place).await?;
            }
            Kind::Pause => {
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
                fleet::send(primary, "-STOP")?;
                tokio::time::sleep(lasts).await;
                fleet::send(primary, "-CONT")?;
                self.store.is_whole().await?;
            }
            Kind::RedisRestart | Kind::RedisWipe => {
                let place = self.store.kill().await?;
                if kind == Kind::RedisWipe {
                    self.store.forget(place)?;
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
            Kind::Phones => {
                let every = (1.0 / strength) as usize;
                self.world.harm(Harm::Cut, |phone| phone % every.max(1) == index % every.max(1));
            }
            Kind::Deaf => {
                let every = (1.0 / strength) as usize + 2;
                self.world.harm(Harm::Deaf(lasts), |phone| phone % every == index % every);
                tokio::time::sleep(lasts).await;
            }
            Kind::Jitter => self.jitter(lasts).await,
        }
        Ok(())
    }

    async fn with_link(&self, place: usize, mood: Mood, lasts: Duration) {
        let Some(link) = self.fleet.links.get(place) else { return };
        link.set(mood);
        tokio::time::sleep(lasts).await;
        link.set(Mood::Open);
    }

    async fn jitter(&self, lasts: Duration) {
        const TICK: Duration = Duration::from_millis(100);
        let mut random = StdRng::seed_from_u64(self.seed);
        let chance = TICK.as_secs_f64() / JITTER.as_secs_f64();
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            tokio::time::sleep(TICK).await;
            let draws: Vec<bool> = (0..self.world.phones()).map(|_| random.random_bool(chance)).collect();
            self.world.harm(Harm::Cut, |phone| draws[phone]);
        }
    }
}

fn is_of_phones(kind: Kind) -> bool {
    matches!(kind, Kind::Phones | Kind::Deaf | Kind::Jitter)
}
