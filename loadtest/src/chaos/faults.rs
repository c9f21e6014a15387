//! Which faults there are, and when each happens: all of it from the seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A node is killed; another takes its place later.
    Kill,
    /// A node stands still for 5 to 25 s, then goes on.
    Suspend,
    /// A node is asked to stop; another takes its place.
    Drain,
    /// A node can't reach Redis.
    Cut,
    /// Redis answers a node late.
    Delay,
    /// Redis stands still for 5 s.
    RedisPause,
    /// Redis is killed and comes back with its data.
    RedisRestart,
    /// Redis is killed and comes back empty.
    RedisWipe,
    /// The primary is killed; the Sentinel makes the replica primary.
    Failover,
    /// All connections that subscribe are broken.
    Unsubscribe,
    /// A part of the phones loses the connection at once.
    Phones,
    /// A part of the phones hears nothing for some seconds, then loses the connection.
    Deaf,
    /// Every phone loses its connection every few seconds, at random.
    Jitter,
    /// The store's clock steps by 9 or 20 s, forward or back.
    ClockStep,
    /// Redis answers reads and refuses writes.
    RefuseWrites,
    /// Scripts of a node are carried out and not answered.
    LostReplies,
    /// Redis is killed and comes back with what it had some time ago.
    OldSnapshot,
    /// Clients over HTTP give up after 0.1 to 2 s.
    Impatient,
    /// Many users come and go while phones that watch them stop reading.
    PresenceFlood,
    /// A node gets as many dials as it can take, beside the calls of others.
    DialFlood,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Suspend => "suspend",
            Kind::Drain => "drain",
            Kind::Cut => "cut",
            Kind::Delay => "delay",
            Kind::RedisPause => "redis-pause",
            Kind::RedisRestart => "redis-restart",
            Kind::RedisWipe => "redis-wipe",
            Kind::Failover => "failover",
            Kind::Unsubscribe => "unsubscribe",
            Kind::Phones => "phones",
            Kind::Deaf => "deaf",
            Kind::Jitter => "jitter",
            Kind::ClockStep => "clock-step",
            Kind::RefuseWrites => "refuse-writes",
            Kind::LostReplies => "lost-replies",
            Kind::OldSnapshot => "old-snapshot",
            Kind::Impatient => "impatient",
            Kind::PresenceFlood => "presence-flood",
            Kind::DialFlood => "dial-flood",
        }
    }

    /// Whether it concerns one node.
    pub fn is_of_a_node(self) -> bool {
        matches!(
            self,
            Kind::Kill | Kind::Suspend | Kind::Drain | Kind::Cut | Kind::Delay | Kind::LostReplies | Kind::DialFlood
        )
    }

    /// Whether it comes from clients; these faults happen beside those of nodes and of the store.
    pub fn is_of_clients(self) -> bool {
        matches!(
            self,
            Kind::Phones | Kind::Deaf | Kind::Jitter | Kind::Impatient | Kind::PresenceFlood | Kind::DialFlood
        )
    }

    /// Whether Redis may lose what was written.
    pub fn loses_data(name: &str) -> bool {
        [Kind::RedisWipe.name(), Kind::OldSnapshot.name(), Kind::Failover.name(), PRIMARY_PAUSE].contains(&name)
    }

    /// What can happen where Redis is one server, or where a Sentinel watches over two.
    pub fn is_possible(self, with_sentinel: bool) -> bool {
        match self {
            Kind::Failover => with_sentinel,
            Kind::Cut
            | Kind::Delay
            | Kind::RedisRestart
            | Kind::RedisWipe
            | Kind::ClockStep
            | Kind::LostReplies
            | Kind::OldSnapshot => !with_sentinel,
            _ => true,
        }
    }

    fn length(self, random: &mut StdRng) -> Duration {
        let millis = match self {
            Kind::Kill => 2_000..6_000,
            Kind::Suspend => 5_000..25_000,
            Kind::Drain => 0..1_000,
            Kind::Cut => 2_000..12_000,
            Kind::Delay => 3_000..7_000,
            Kind::RedisPause => 5_000..5_001,
            Kind::RedisRestart | Kind::RedisWipe | Kind::OldSnapshot => 200..2_000,
            Kind::Failover => 1_000..3_000,
            Kind::Unsubscribe | Kind::Phones => 0..1,
            // All nodes have renewed their leases by then.
            Kind::ClockStep => 4_000..6_000,
            Kind::Deaf => 2_000..7_000,
            Kind::Jitter => 8_000..15_000,
            Kind::RefuseWrites => 4_000..20_000,
            Kind::LostReplies => 4_000..8_000,
            Kind::Impatient => 6_000..10_000,
            Kind::PresenceFlood => 6_000..9_000,
            Kind::DialFlood => 2_000..5_000,
        };
        Duration::from_millis(random.random_range(millis))
    }
}

/// `redis-pause` under a Sentinel, which makes another server the primary meanwhile.
pub const PRIMARY_PAUSE: &str = "primary-pause";

/// One fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    /// Since calls began to arrive.
    pub at: Duration,
    pub lasts: Duration,
    /// The place of the node it concerns.
    pub place: usize,
    /// How strong it is, between 0 and 1: the share of phones, the delay.
    pub strength: f64,
}

impl Fault {
    pub fn to_json(self) -> Value {
        json!({
            "kind": self.kind.name(), "at_ms": self.at.as_millis() as u64, "lasts_ms": self.lasts.as_millis() as u64,
            "place": self.place + 1, "strength": self.strength,
        })
    }
}

/// Draws the faults of a run, in order of time. Those of clients and the others come in two rows beside each other; in
/// each, every kind comes once in random order, then again, one after the other with pauses.
pub fn draw(seed: u64, kinds: &[Kind], places: usize, duration: Duration) -> Vec<Fault> {
    if kinds == [Kind::Jitter] {
        let (at, lasts) = (Duration::from_secs(1), duration.saturating_sub(Duration::from_secs(1)));
        let strength = StdRng::seed_from_u64(seed).random();
        return vec![Fault { kind: Kind::Jitter, at, lasts, place: 0, strength }];
    }
    let (of_clients, others): (Vec<Kind>, Vec<Kind>) = kinds.iter().partition(|kind| kind.is_of_clients());
    let mut faults = row(StdRng::seed_from_u64(seed ^ 0x5eed_fa17), &others, places, duration);
    faults.extend(row(StdRng::seed_from_u64(seed ^ 0xc11e_27f0), &of_clients, places, duration));
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn row(mut random: StdRng, kinds: &[Kind], places: usize, duration: Duration) -> Vec<Fault> {
    let (mut faults, mut bag): (Vec<Fault>, Vec<Kind>) = Default::default();
    let mut at = Duration::from_millis(random.random_range(3_000..5_000));
    while !kinds.is_empty() {
        if bag.is_empty() {
            bag = kinds.to_vec();
            bag.shuffle(&mut random);
        }
        let Some(kind) = bag.pop() else { break };
        let lasts = kind.length(&mut random);
        let (place, strength) = (random.random_range(0..places), random.random_range(0.1..1.0));
        if at + lasts > duration {
            break;
        }
        faults.push(Fault { kind, at, lasts, place, strength });
        at += lasts + Duration::from_millis(random.random_range(1_000..3_500));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: [Kind; 6] =
        [Kind::Kill, Kind::Suspend, Kind::Phones, Kind::RedisRestart, Kind::DialFlood, Kind::Impatient];

    #[test]
    fn a_seed_gives_the_same_faults() {
        let draw = |seed| draw(seed, &SOME, 3, Duration::from_secs(120));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_kind_comes_before_one_comes_again_and_none_outlasts_the_run() {
        let duration = Duration::from_secs(120);
        for seed in 0..50 {
            let faults = draw(seed, &SOME, 3, duration);
            assert!(faults.iter().all(|fault| fault.at + fault.lasts <= duration && fault.place < 3));
            for of_clients in [false, true] {
                let row: Vec<_> = faults.iter().filter(|fault| fault.kind.is_of_clients() == of_clients).collect();
                for kind in SOME.into_iter().filter(|kind| kind.is_of_clients() == of_clients) {
                    assert_eq!(row[..3].iter().filter(|fault| fault.kind == kind).count(), 1, "seed {seed}");
                }
                assert!(row.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at));
            }
        }
    }

    #[test]
    fn two_minutes_see_many_faults_and_forty_seeds_every_kind_often() {
        use clap::ValueEnum;
        for with_sentinel in [false, true] {
            let kinds: Vec<Kind> =
                Kind::value_variants().iter().copied().filter(|kind| kind.is_possible(with_sentinel)).collect();
            let runs = (1..=40).map(|seed| draw(seed, &kinds, 3, Duration::from_secs(120))).collect::<Vec<_>>();
            assert!(runs.iter().all(|faults| faults.len() >= 18));
            for kind in kinds {
                let times = runs.iter().flatten().filter(|fault| fault.kind == kind).count();
                assert!(times >= 30, "{} comes {times} times", kind.name());
            }
        }
    }
}
