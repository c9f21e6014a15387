//! Handshakes are let in as the node keeps up with them. What comes faster waits, those of addresses that asked for little
//! before the others, and the more an address asked for, the less it may delay everybody.

mod room;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::room::{Entered, Key, Pressure, Room, TICK};
use crate::clock::Clock;
use crate::fairness::Fairness;
use crate::socket::Transports;
use crate::telemetry::metrics;

/// Half of what a phone gives a handshake.
const PATIENCE: Duration = Duration::from_secs(10);
const WAITING: usize = 8192;
/// What a session may take from its CONNECT until it is ready.
const SERVED_WITHIN: Duration = Duration::from_millis(250);
/// So many transports may be open that are no sessions yet, or a quarter of all; of a node for few sessions it is these few that
/// count, and not the quarter.
const UNUSED: usize = 10_000;
const UNUSED_OF_A_SMALL_NODE: usize = 64;

/// Who opens a session now, and who waits.
pub(super) struct Admission {
    clock: Clock,
    fairness: Arc<Fairness>,
    transports: Arc<Transports>,
    room: Arc<Mutex<Room>>,
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
        let of_sessions = if sessions == 0 { UNUSED } else { sessions / 4 };
        let room = Room::new(capacity.min(WAITING), of_sessions.clamp(UNUSED_OF_A_SMALL_NODE, UNUSED));
        let (fairness, room) = (Arc::new(Fairness::new(per_second)), Arc::new(Mutex::new(room)));
        Self { clock, fairness, transports, room, tasks, stop }
    }

    pub fn fairness(&self) -> &Arc<Fairness> {
        &self.fairness
    }

    /// Returns when the handshake of an address that asked for so much lately may go on; false where it is to come back
    /// later.
    pub async fn let_in(&self, weight: f64) -> bool {
        let now = self.clock.elapsed();
        let ticket = match self.room.lock().enter(weight, now, self.transports.unused(), &self.fairness) {
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
        self.room.lock().clear();
    }

    /// Lets in who waits, tick by tick, until nobody does.
    fn go_round(&self) {
        if std::mem::replace(&mut self.room.lock().has_pump, true) {
            return;
        }
        let (room, fairness) = (Arc::clone(&self.room), Arc::clone(&self.fairness));
        let (clock, transports) = (self.clock.clone(), Arc::clone(&self.transports));
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            loop {
                let delay = delay_of_a_turn().await;
                let is_slow = transports.served_within() > SERVED_WITHIN;
                let mut room = room.lock();
                room.turn(Pressure { delay, is_slow, unused: transports.unused() }, clock.elapsed(), &fairness);
                metrics::handshakes_waiting(room.len());
                if room.is_empty() {
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
            room.lock().leave(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_let_in_is_forgotten_or_is_sent_away() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let admission = Arc::new(Admission::new(1, 0, Clock::system(), Arc::default(), tasks.clone(), stop.clone()));
        let asks = || {
            let admission = Arc::clone(&admission);
            tasks.spawn(async move { admission.let_in(1.0).await })
        };
        let number = || admission.room.lock().len();
        let small = Admission::new(5000, 2, Clock::system(), Arc::default(), tasks.clone(), stop.clone());
        assert!(small.let_in(1000.0).await, "a node for two takes one");
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
