//! Handshakes are let in as the node keeps up with them. What comes faster waits, those of addresses that asked for little
//! before the others, and the more an address asked for, the less it may delay everybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::fairness::Fairness;
use crate::socket::Transports;
use crate::telemetry::metrics;

const TICK: Duration = Duration::from_millis(5);
/// So many are let in within a tick whatever the delay is: where the node is busy its ticks are late.
const FREE: u32 = 2;
/// Half of what a phone gives a handshake.
const PATIENCE: Duration = Duration::from_secs(10);
const WAITING: usize = 8192;
/// A session begins after some six steps, each of which waits for all that the node has to do before it.
const SERVED_WITHIN: Duration = Duration::from_millis(250);
const BEARABLE: Duration = Duration::from_millis(40);
/// What the heaviest address may delay a step by.
const LEAST_BEARABLE: Duration = Duration::from_millis(3);
/// An address that asked for so many lately may cause half the delay.
const HALVED_BY: f64 = 16.0;
/// So many transports may be open that are no sessions yet, or a quarter of all. Beyond it only who asked for next to nothing
/// is let in, up to twice as many: who never goes on takes nobody's place.
const UNUSED: usize = 10_000;
const NEXT_TO_NOTHING: f64 = 4.0;
/// What a handshake and what follows it take, until that was measured.
const COST: Duration = Duration::from_micros(500);
const COSTS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(5));

/// Who opens a session now, and who waits.
pub(super) struct Admission {
    clock: Clock,
    fairness: Arc<Fairness>,
    transports: Arc<Transports>,
    room: Arc<Mutex<Room>>,
    /// Transports that may be unused.
    unused: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Admission {
    /// `per_second`: what is let in at most, however well the node keeps up. `sessions`: what the node holds; 0: no limit.
    pub fn new(
        per_second: u32,
        sessions: usize,
        clock: Clock,
        transports: Arc<Transports>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let capacity = usize::try_from(per_second).unwrap_or(WAITING).saturating_mul(PATIENCE.as_secs() as usize);
        let room = Arc::new(Mutex::new(Room::new(capacity.min(WAITING))));
        let unused = if sessions == 0 { UNUSED } else { UNUSED.min(sessions.div_ceil(4)) };
        Self { clock, fairness: Arc::new(Fairness::new(per_second)), transports, room, unused, tasks, stop }
    }

    pub fn fairness(&self) -> &Arc<Fairness> {
        &self.fairness
    }

    /// Returns when the handshake of an address that asked for so much lately may go on; false where it is to come back
    /// later.
    pub async fn let_in(&self, weight: f64) -> bool {
        let now = self.clock.elapsed();
        let ticket = match self.room.lock().enter(weight, now, self.unused(), &self.fairness) {
            Entered::LetIn => return true,
            Entered::Refused => return false,
            Entered::Waits(key, turn) => Ticket { room: Arc::downgrade(&self.room), key, turn },
        };
        self.go_round();
        let let_in = ticket.turn().await;
        metrics::handshake_waited(self.clock.elapsed().saturating_sub(now));
        let_in
    }

    /// Nobody waits any longer.
    pub fn close(&self) {
        self.room.lock().waiting.clear();
    }

    fn unused(&self) -> Unused {
        Unused { open: self.transports.unused(), at_most: self.unused }
    }

    /// Lets in who waits, tick by tick, until nobody does.
    fn go_round(&self) {
        if std::mem::replace(&mut self.room.lock().has_pump, true) {
            return;
        }
        let (room, fairness) = (Arc::clone(&self.room), Arc::clone(&self.fairness));
        let (clock, transports, at_most) = (self.clock.clone(), Arc::clone(&self.transports), self.unused);
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            loop {
                let delay = delay_of_a_turn().await;
                let is_slow = transports.served_within() > SERVED_WITHIN;
                let mut room = room.lock();
                let unused = Unused { open: transports.unused(), at_most };
                room.turn(Pressure { delay, is_slow, unused }, clock.elapsed(), &fairness);
                metrics::handshakes_waiting(room.waiting.len());
                if room.waiting.is_empty() {
                    // Under the same lock: who comes now starts another.
                    room.has_pump = false;
                    return;
                }
            }
        }));
    }
}

/// How late a tick comes to everything that was to be done before it.
async fn delay_of_a_turn() -> Duration {
    let due = Instant::now() + TICK;
    sleep_until(due).await;
    // A timer may be served out of turn.
    tokio::task::yield_now().await;
    // Timers count whole milliseconds.
    due.elapsed().saturating_sub(Duration::from_millis(1))
}

/// By what the address asked for lately, then by who came first.
type Key = (u32, u64);

/// A place in the room, given up with it.
struct Ticket {
    room: Weak<Mutex<Room>>,
    key: Key,
    turn: oneshot::Receiver<()>,
}

impl Ticket {
    async fn turn(mut self) -> bool {
        timeout(PATIENCE, &mut self.turn).await.is_ok_and(|turn| turn.is_ok())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(room) = self.room.upgrade() {
            room.lock().waiting.remove(&self.key);
        }
    }
}

/// Transports that are no sessions yet.
#[derive(Clone, Copy)]
struct Unused {
    open: usize,
    at_most: usize,
}

impl Unused {
    /// Whether there is a place for one more of an address that asked for so much, after so many.
    fn has_place(self, weight: f64, after: u32) -> bool {
        let at_most = if weight <= NEXT_TO_NOTHING { 2 * self.at_most } else { self.at_most };
        self.open + (after as usize) < at_most
    }
}

/// What the node has to do beside.
struct Pressure {
    /// What a step waits for at the moment.
    delay: Duration,
    /// Sessions that began lately took too long for another reason.
    is_slow: bool,
    unused: Unused,
}

enum Entered {
    LetIn,
    Refused,
    Waits(Key, oneshot::Receiver<()>),
}

struct Room {
    capacity: usize,
    waiting: BTreeMap<Key, oneshot::Sender<()>>,
    numbers: u64,
    /// A task goes round and lets them in.
    has_pump: bool,
    /// When the tick began, and how many were let in since.
    tick: (Duration, u32),
    /// What one of them takes, by the delay that followed.
    cost: Duration,
}

impl Room {
    fn new(capacity: usize) -> Self {
        let tick = (Duration::ZERO, 0);
        Self { capacity, waiting: BTreeMap::new(), numbers: 0, has_pump: false, tick, cost: COST }
    }

    fn enter(&mut self, weight: f64, now: Duration, unused: Unused, fairness: &Fairness) -> Entered {
        if now.saturating_sub(self.tick.0) >= TICK && !self.has_pump {
            self.tick = (now, 0);
        }
        let is_free = self.waiting.is_empty() && self.tick.1 < FREE && unused.has_place(weight, self.tick.1);
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

    fn turn(&mut self, pressure: Pressure, now: Duration, fairness: &Fairness) {
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
        while let Some(first) = self.waiting.first_entry() {
            let weight = f64::from(first.key().0);
            let caused = delay + (self.tick.1 + 1) * self.cost;
            let is_bearable = self.tick.1 < FREE || !is_slow && caused <= bearable(weight);
            if !is_bearable || !unused.has_place(weight, self.tick.1) || fairness.take_weighing(weight, now).is_err() {
                return;
            }
            self.tick.1 += u32::from(first.remove().send(()).is_ok());
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
    const PLENTY: Unused = Unused { open: 0, at_most: usize::MAX / 4 };

    fn late(delay: Duration) -> Pressure {
        Pressure { delay, is_slow: false, unused: PLENTY }
    }

    fn fairness() -> Fairness {
        Fairness::new(100_000)
    }

    /// A room in which so many wait, and their turns.
    fn crowd(room: &mut Room, weight: f64, number: usize) -> Vec<oneshot::Receiver<()>> {
        let fairness = fairness();
        let mut turns = Vec::new();
        while turns.len() < number {
            match room.enter(weight, Duration::ZERO, PLENTY, &fairness) {
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
        let (mut room, fairness) = (Room::new(10), fairness());
        for second in 1..100 {
            assert!(matches!(room.enter(LIGHT, Duration::from_secs(second), PLENTY, &fairness), Entered::LetIn));
        }
    }

    #[test]
    fn those_that_are_let_in_delay_everybody_as_much_as_is_bearable() {
        let (mut room, fairness) = (Room::new(WAITING), fairness());
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
        let (mut room, fairness) = (Room::new(WAITING), fairness());
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
        let (mut room, fairness) = (Room::new(WAITING), fairness());
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
        let (mut room, fairness) = (Room::new(WAITING), fairness());
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
        let (mut room, fairness) = (Room::new(WAITING), fairness());
        let mut heavy = crowd(&mut room, HEAVY, 20);
        let full = || Pressure { unused: Unused { open: 99, at_most: 100 }, ..late(Duration::ZERO) };
        room.turn(full(), TICK, &fairness);
        assert_eq!(let_in(&mut heavy), 1, "the one that is left");
        room.turn(Pressure { unused: Unused { open: 100, at_most: 100 }, ..late(Duration::ZERO) }, TICK, &fairness);
        assert_eq!(let_in(&mut heavy), 0);
        let mut light = crowd(&mut room, LIGHT, 5);
        room.turn(full(), 2 * TICK, &fairness);
        assert_eq!((let_in(&mut light), let_in(&mut heavy)), (5, 0));
        let mut light = crowd(&mut room, LIGHT, 5);
        room.turn(Pressure { unused: Unused { open: 200, at_most: 100 }, ..late(Duration::ZERO) }, 3 * TICK, &fairness);
        assert_eq!(let_in(&mut light), 0, "nor do they take all");
    }

    #[test]
    fn a_full_room_takes_who_asked_for_less() {
        let (mut room, fairness) = (Room::new(10), fairness());
        let mut heavy = crowd(&mut room, HEAVY, 10);
        assert!(matches!(room.enter(HEAVY, Duration::ZERO, PLENTY, &fairness), Entered::Refused));
        assert!(matches!(room.enter(LIGHT, Duration::ZERO, PLENTY, &fairness), Entered::Waits(..)));
        assert!(heavy.last_mut().is_some_and(|turn| turn.try_recv() == Err(oneshot::error::TryRecvError::Closed)));
        assert_eq!(room.waiting.len(), 10);
    }

    #[tokio::test]
    async fn who_waits_is_let_in_is_forgotten_or_is_sent_away() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let admission = Arc::new(Admission::new(1, 0, Clock::system(), Arc::default(), tasks.clone(), stop.clone()));
        let asks = || {
            let admission = Arc::clone(&admission);
            tasks.spawn(async move { admission.let_in(LIGHT).await })
        };
        let number = || admission.room.lock().waiting.len();
        let small = Admission::new(5000, 2, Clock::system(), Arc::default(), tasks.clone(), stop.clone());
        assert!(small.let_in(HEAVY).await, "a node for two takes one");
        // One a second: the second of them waits for it.
        assert!(asks().await.unwrap() && asks().await.unwrap());
        let (gone, closed) = (asks(), asks());
        while number() < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err());
        assert_eq!(number(), 1, "who left is forgotten");
        admission.close();
        assert!(!closed.await.unwrap());
        stop.cancel();
    }
}
