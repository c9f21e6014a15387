//! Faults that come from clients, and from their way to the nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::faults::{Fault, Kind};
use super::fleet::Fleet;
use super::flood;
use super::handset::Harm;
use super::world::World;

/// How often a phone loses its connection while they jitter.
const JITTER: Duration = Duration::from_secs(4);
/// How long a phone does not read, in milliseconds: some outlive it, some are found dead meanwhile.
const STALL: std::ops::Range<u64> = 1_000..4_000;
/// From one stall of a phone to the next: it has to read meanwhile.
const ROUND: Duration = Duration::from_millis(4_700);
/// One phone in so many watches visitors; another as many, that keep to polling, do too.
const WATCHES: usize = 18;
const VISITORS: usize = 150;

pub struct Clients {
    pub fleet: Arc<Fleet>,
    pub world: Arc<World>,
    pub seed: u64,
}

impl Clients {
    pub async fn strike(&self, index: usize, fault: Fault) {
        let Fault { kind, lasts, place, strength, .. } = fault;
        match kind {
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
            Kind::Impatient => {
                self.world.make_impatient(true);
                tokio::time::sleep(lasts).await;
                self.world.make_impatient(false);
            }
            Kind::PresenceFlood => self.presence(index, lasts).await,
            Kind::DialFlood => {
                if let Some(node) = self.fleet.address(place) {
                    flood::dial(node, index, lasts).await;
                }
            }
            _ => {}
        }
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

    /// Many users come and go, and whoever watches them stops reading, again and again.
    async fn presence(&self, index: usize, lasts: Duration) {
        let mut random = StdRng::seed_from_u64(self.seed ^ index as u64);
        let visitors: Arc<Vec<String>> = Arc::new((0..VISITORS).map(|number| flood::visitor(index, number)).collect());
        let watches = |phone: &usize| phone.is_multiple_of(WATCHES) || phone % WATCHES == 7;
        self.world.harm(Harm::Watch(Arc::clone(&visitors)), |phone| watches(&phone));
        let until = Instant::now() + lasts;
        let stalls = async {
            // The subscription is answered before.
            tokio::time::sleep(Duration::from_millis(500)).await;
            while Instant::now() + ROUND < until + Duration::from_secs(1) {
                for meant in (0..self.world.phones()).filter(watches) {
                    let time = Duration::from_millis(random.random_range(STALL));
                    self.world.harm(Harm::Stall(time), |phone| phone == meant);
                }
                tokio::time::sleep(ROUND).await;
            }
        };
        tokio::join!(stalls, flood::come_and_go(&self.fleet, &visitors, until));
    }
}
