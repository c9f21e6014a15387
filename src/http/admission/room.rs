//! The handshakes that wait, and who of them is let in with a tick.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::fairness::Fairness;

pub(super) const TICK: Duration = Duration::from_millis(5);
/// So many are let in within a tick whatever the delay is: where the node is busy its ticks are late.
const FREE: u32 = 2;
/// What everybody may be late by: a session begins within 250 ms after some six steps, each of which waits for all that the
/// node has to do before it.
const BEARABLE: Duration = Duration::from_millis(40);
/// What the heaviest address may delay a step by.
const LEAST_BEARABLE: Duration = Duration::from_millis(3);
/// An address that asked for so many lately may cause half the delay.
const HALVED_BY: f64 = 16.0;
/// Who asked for no more is let in beyond the bound of unused transports, up to twice as many: who never goes on takes nobody's
/// place.
const NEXT_TO_NOTHING: f64 = 4.0;
/// What a handshake and what follows it take, until that was measured.
const COST: Duration = Duration::from_micros(500);
const COSTS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(5));

/// By what the address asked for lately, then by who came first.
pub(super) type Key = (u32, u64);

/// What the node has to do beside.
pub(super) struct Pressure {
    /// What a step waits for at the moment.
    pub delay: Duration,
    /// Sessions that began lately took too long for another reason.
    pub is_slow: bool,
    /// Transports that are no sessions yet.
    pub unused: usize,
}

pub(super) enum Entered {
    LetIn,
    Refused,
    Waits(Key, oneshot::Receiver<()>),
}

pub(super) struct Room {
    capacity: usize,
    /// So many transports may be no sessions yet.
    unused_at_most: usize,
    waiting: BTreeMap<Key, oneshot::Sender<()>>,
    numbers: u64,
    /// A task goes round and lets them in.
    pub has_pump: bool,
    /// When the tick began, and how many were let in since.
    tick: (Duration, u32),
    /// What one of them takes, by the delay that followed.
    cost: Duration,
}

impl Room {
    pub fn new(capacity: usize, unused_at_most: usize) -> Self {
        let tick = (Duration::ZERO, 0);
        Self { capacity, unused_at_most, waiting: BTreeMap::new(), numbers: 0, has_pump: false, tick, cost: COST }
    }

    pub fn enter(&mut self, weight: f64, now: Duration, unused: usize, fairness: &Fairness) -> Entered {
        if now.saturating_sub(self.tick.0) >= TICK && !self.has_pump {
            self.tick = (now, 0);
        }
        let is_free = self.waiting.is_empty() && self.tick.1 < FREE && self.has_place(weight, unused);
        if is_free && fairness.take_weighing(weight, now).is_ok() {
            self.tick.1 += 1;
            return Entered::LetIn;
        }
        let key = (weight.round() as u32, self.numbers);
        if self.waiting.len() >= self.capacity {
            // Who asked for most makes way.
            match self.waiting.last_entry() {
                Some(heaviest) if heaviest.key().0 > key.0 => drop(heaviest.remove()),
                _ => return Entered::Refused,
            }
        }
        self.numbers += 1;
        let (sender, turn) = oneshot::channel();
        self.waiting.insert(key, sender);
        Entered::Waits(key, turn)
    }

    /// Whether there is a place for one more of an address that asked for so much.
    fn has_place(&self, weight: f64, unused: usize) -> bool {
        let at_most = if weight <= NEXT_TO_NOTHING { 2 * self.unused_at_most } else { self.unused_at_most };
        unused + (self.tick.1 as usize) < at_most
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody waits any longer.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Who had this place no longer waits.
    pub fn leave(&mut self, key: Key) {
        self.waiting.remove(&key);
    }

    /// Lets in as many as are bearable now.
    pub fn turn(&mut self, pressure: Pressure, now: Duration, fairness: &Fairness) {
        let Pressure { delay, is_slow, unused } = pressure;
        let let_in = std::mem::replace(&mut self.tick, (now, 0)).1;
        if let_in > FREE {
            // Where the tick was not full this is too much, never too little.
            let measured = ((delay + TICK) / let_in).clamp(COSTS.0, COSTS.1);
            self.cost = (4 * self.cost + measured) / 5;
        } else {
            // Too few to measure by: one bad tick is not remembered for ever.
            self.cost = self.cost.min((31 * self.cost + COST) / 32);
        }
        while let Some(weight) = self.waiting.first_key_value().map(|(key, _)| f64::from(key.0)) {
            let caused = delay + (self.tick.1 + 1) * self.cost;
            let is_bearable = self.tick.1 < FREE || !is_slow && caused <= bearable(weight);
            if !is_bearable || !self.has_place(weight, unused) || fairness.take_weighing(weight, now).is_err() {
                return;
            }
            let first = self.waiting.pop_first();
            self.tick.1 += u32::from(first.is_some_and(|(_, turn)| turn.send(()).is_ok()));
        }
    }
}

fn bearable(weight: f64) -> Duration {
    BEARABLE.div_f64(1.0 + weight / HALVED_BY).max(LEAST_BEARABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIGHT: f64 = 1.0;
    const HEAVY: f64 = 1000.0;
    const PLENTY: usize = usize::MAX / 4;

    fn late(delay: Duration) -> Pressure {
        Pressure { delay, is_slow: false, unused: 0 }
    }

    fn fairness() -> Fairness {
        Fairness::new(100_000)
    }

    /// A room in which so many wait, and their turns.
    fn crowd(room: &mut Room, weight: f64, number: usize) -> Vec<oneshot::Receiver<()>> {
        let fairness = fairness();
        let mut turns = Vec::new();
        while turns.len() < number {
            match room.enter(weight, Duration::ZERO, 0, &fairness) {
                Entered::LetIn => {}
                Entered::Waits(_, turn) => turns.push(turn),
                Entered::Refused => panic!("the room is full at {}", turns.len()),
            }
        }
        turns
    }

    fn let_in(turns: &mut [oneshot::Receiver<()>]) -> usize {
        turns.iter_mut().filter_map(|turn| turn.try_recv().ok()).count()
    }

    #[test]
    fn a_node_at_ease_keeps_nobody_waiting() {
        let (mut room, fairness) = (Room::new(10, PLENTY), fairness());
        for second in 1..100 {
            assert!(matches!(room.enter(LIGHT, Duration::from_secs(second), 0, &fairness), Entered::LetIn));
        }
    }

    #[test]
    fn those_that_are_let_in_delay_everybody_as_much_as_is_bearable() {
        let (mut room, fairness) = (Room::new(8192, PLENTY), fairness());
        let mut turns = crowd(&mut room, LIGHT, 4000);
        // Each takes twice what is expected of it at first.
        let (real, mut delay, mut longest) = (2 * COST, Duration::ZERO, Duration::ZERO);
        let mut rounds = 0;
        while !room.waiting.is_empty() {
            room.turn(late(delay), TICK * rounds, &fairness);
            delay = (real * room.tick.1).saturating_sub(TICK);
            rounds += 1;
            if rounds > 20 {
                longest = longest.max(delay);
            }
        }
        assert_eq!(let_in(&mut turns), 4000);
        assert!(longest <= BEARABLE + TICK, "{longest:?}");
        let spent = real * 4000;
        let took = (BEARABLE + TICK) * rounds;
        assert!(took < 3 * spent, "{took:?} for {spent:?} of work");
    }

    /// Fails before: a tick that is over in time says nothing of what one costs, and was taken for next to nothing.
    #[test]
    fn what_comes_at_ease_teaches_no_false_cost() {
        let (mut room, fairness) = (Room::new(8192, PLENTY), fairness());
        for turn in 1..=100 {
            let mut few = crowd(&mut room, LIGHT, 4);
            room.turn(late(Duration::ZERO), 2 * turn * TICK, &fairness);
            assert_eq!(let_in(&mut few), 4);
        }
        let mut storm = crowd(&mut room, LIGHT, 1000);
        room.turn(late(Duration::ZERO), 300 * TICK, &fairness);
        let first = let_in(&mut storm);
        assert!(first <= 100, "{first} in one tick");
        // Nor does one stall count for ever.
        room.turn(late(Duration::from_secs(10)), 301 * TICK, &fairness);
        for turn in 302..502 {
            room.turn(late(Duration::ZERO), turn * TICK, &fairness);
        }
        assert!(room.cost < 2 * COST, "{:?}", room.cost);
    }

    #[test]
    fn a_busy_node_lets_few_in_and_never_nobody() {
        let (mut room, fairness) = (Room::new(8192, PLENTY), fairness());
        let mut turns = crowd(&mut room, LIGHT, 100);
        room.turn(late(Duration::from_secs(1)), TICK, &fairness);
        assert_eq!(let_in(&mut turns), FREE as usize);
        room.turn(Pressure { is_slow: true, ..late(Duration::ZERO) }, 2 * TICK, &fairness);
        assert_eq!(let_in(&mut turns), FREE as usize);
        room.turn(late(Duration::ZERO), 3 * TICK, &fairness);
        assert!(let_in(&mut turns) > 4 * FREE as usize);
    }

    #[test]
    fn who_asked_for_little_goes_first_and_who_asked_for_much_delays_little() {
        let (mut room, fairness) = (Room::new(8192, PLENTY), fairness());
        let mut heavy = crowd(&mut room, HEAVY, 200);
        let mut light = crowd(&mut room, LIGHT, 30);
        room.turn(late(Duration::ZERO), TICK, &fairness);
        assert_eq!((let_in(&mut light), let_in(&mut heavy)), (30, 0));
        room.turn(late(Duration::ZERO), 2 * TICK, &fairness);
        let few = let_in(&mut heavy);
        assert!((FREE as usize..30).contains(&few), "{few}");
    }

    #[test]
    fn transports_that_nobody_uses_leave_places_to_who_asked_for_little() {
        let (mut room, fairness) = (Room::new(8192, 100), fairness());
        let mut heavy = crowd(&mut room, HEAVY, 20);
        let full = || Pressure { unused: 99, ..late(Duration::ZERO) };
        room.turn(full(), TICK, &fairness);
        assert_eq!(let_in(&mut heavy), 1, "the one that is left");
        room.turn(Pressure { unused: 100, ..late(Duration::ZERO) }, TICK, &fairness);
        assert_eq!(let_in(&mut heavy), 0);
        let mut light = crowd(&mut room, LIGHT, 5);
        room.turn(full(), 2 * TICK, &fairness);
        assert_eq!((let_in(&mut light), let_in(&mut heavy)), (5, 0));
        let mut light = crowd(&mut room, LIGHT, 5);
        room.turn(Pressure { unused: 200, ..late(Duration::ZERO) }, 3 * TICK, &fairness);
        assert_eq!(let_in(&mut light), 0, "nor do they take all");
    }

    #[test]
    fn a_full_room_takes_who_asked_for_less() {
        let (mut room, fairness) = (Room::new(10, PLENTY), fairness());
        let mut heavy = crowd(&mut room, HEAVY, 10);
        assert!(matches!(room.enter(HEAVY, Duration::ZERO, 0, &fairness), Entered::Refused));
        assert!(matches!(room.enter(LIGHT, Duration::ZERO, 0, &fairness), Entered::Waits(..)));
        assert!(heavy.last_mut().is_some_and(|turn| turn.try_recv() == Err(oneshot::error::TryRecvError::Closed)));
        assert_eq!(room.waiting.len(), 10);
    }
}
