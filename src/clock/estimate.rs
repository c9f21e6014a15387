//! What a reading of the store's clock says: follow it, or take back a step that it made.

use std::time::Duration;

use super::millis;
use crate::call::Timestamp;

/// Two clocks drift apart by at most 200 parts in a million.
const DRIFT: i64 = 200;
/// A shift is taken back little by little, by the script that renews leases, in parts in a million.
pub const SLEW: i64 = 5000;
/// Less than this, in milliseconds, is followed, not called a step.
const STEP: i64 = 500;
/// By how much two nodes may see the same step apart, in milliseconds, beyond what their answers took.
const BLUR: i64 = 20;
/// A node that has known the store's clock for less, or that shifted it itself a moment ago, believes what others say.
const PROBATION: Duration = Duration::from_secs(30);

/// A reading of the store's clock, taken between two readings of the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The store's own clock and the shift it is kept with, which together are store time.
    pub raw: Timestamp,
    pub shift: i64,
    pub asked: Duration,
    pub answered: Duration,
}

/// A change of the shift, in milliseconds, that holds if nobody else changed it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub from: i64,
    pub to: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The estimate before is the better one.
    Kept,
    /// Store time less the monotonic clock.
    Follow(i64),
    Stepped(Shift),
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    /// The store's own clock less the monotonic one.
    raw: i64,
    shift: i64,
    /// Milliseconds by which it may be wrong: half of the time the answer took.
    error: i64,
    at: Duration,
}

impl Estimate {
    fn of(reading: Reading) -> Self {
        let (asked, answered) = (millis(reading.asked), millis(reading.answered));
        let raw = i64::try_from(reading.raw.as_millis()).unwrap_or(i64::MAX);
        Self {
            raw: raw - i64::midpoint(asked, answered),
            shift: reading.shift,
            error: (answered - asked) / 2 + 1,
            at: reading.answered,
        }
    }

    fn offset(&self) -> i64 {
        self.raw + self.shift
    }

    fn error_at(&self, now: Duration) -> i64 {
        let drift = if self.shift == 0 { DRIFT } else { DRIFT + SLEW };
        self.error + millis(now.saturating_sub(self.at)) * drift / 1_000_000
    }
}

#[derive(Debug, Default)]
pub(super) struct Estimates {
    last: Option<Estimate>,
    probation_until: Duration,
}

impl Estimates {
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// A reading that took long says less than an older one that did not: nodes compare each other's times, and a busy
    /// machine must not set them apart. Where the store's own clock made a step, all nodes see that, and the first one
    /// shifts store time back. Where only the shift moved, a node was wrong about that, perhaps because its own clock
    /// had made the step: whoever saw none takes it back.
    pub fn judge(&mut self, reading: Reading) -> Judged {
        let new = Estimate::of(reading);
        let Some(old) = self.last else {
            self.probation_until = reading.answered + PROBATION;
            return self.follow(new);
        };
        let old_error = old.error_at(reading.answered);
        let error = new.error + old_error;
        let is_step = |difference: i64| difference.abs() > STEP.max(error);
        let on_probation = reading.answered < self.probation_until;
        match (is_step(new.raw - old.raw), is_step(new.shift - old.shift)) {
            (true, false) => Judged::Stepped(Shift { from: new.shift, to: old.offset() - new.raw }),
            (false, true) if !on_probation => Judged::Stepped(Shift { from: new.shift, to: old.shift }),
            // Taken back by another, not as well as it can be: its answers took long.
            (true, true) if !on_probation && (new.offset() - old.offset()).abs() > error + BLUR => {
                Judged::Stepped(Shift { from: new.shift, to: old.offset() - new.raw })
            }
            (true, true) | (false, true) => self.follow(new),
            (false, false) if new.error <= old_error => self.follow(new),
            // The shift is exact, whatever the answer took.
            (false, false) if new.shift != old.shift => self.follow(Estimate { shift: new.shift, ..old }),
            (false, false) => Judged::Kept,
        }
    }

    fn follow(&mut self, new: Estimate) -> Judged {
        self.last = Some(new);
        Judged::Follow(new.offset())
    }

    /// The shift was written as asked for: store time goes on as it was known here.
    pub fn shifted(&mut self, shift: Shift, now: Duration) {
        if let Some(last) = &mut self.last {
            last.raw = last.offset() - shift.to;
            last.shift = shift.to;
        }
        self.probation_until = now + PROBATION;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store whose own clock runs with the monotonic one, `ahead` of it, and the shift it keeps.
    #[derive(Clone, Copy)]
    struct Store {
        ahead: i64,
        shift: i64,
    }

    struct Node {
        estimates: Estimates,
        /// By how much its monotonic clock jumped.
        jumped: i64,
        offset: i64,
    }

    impl Node {
        fn new() -> Self {
            Self { estimates: Estimates::default(), jumped: 0, offset: 0 }
        }

        /// Renews at this second, with an answer that takes `took` milliseconds, and shifts where that is asked for.
        fn renews(&mut self, store: &mut Store, second: i64, took: i64) {
            let own = Duration::from_millis(u64::try_from(second * 1000 + self.jumped).unwrap());
            let raw = u64::try_from(second * 1000 + store.ahead + took / 2).unwrap();
            let answered = own + Duration::from_millis(u64::try_from(took).unwrap());
            let reading = Reading { raw: Timestamp::from_millis(raw), shift: store.shift, asked: own, answered };
            match self.estimates.judge(reading) {
                Judged::Kept => {}
                Judged::Follow(offset) => self.offset = offset,
                Judged::Stepped(shift) => {
                    assert_eq!(shift.from, store.shift);
                    store.shift = shift.to;
                    self.estimates.shifted(shift, answered);
                }
            }
        }

        /// Its store time less the true monotonic clock.
        fn time(&self) -> i64 {
            self.offset + self.jumped
        }
    }

    const START: i64 = 1_000_000;

    fn near(time: i64, expected: i64) {
        assert!((time - expected).abs() <= 20, "{time} is not {expected}");
    }

    #[test]
    fn a_slow_answer_does_not_set_the_clock() {
        let (mut node, mut store) = (Node::new(), Store { ahead: START, shift: 0 });
        node.renews(&mut store, 1, 2);
        near(node.time(), START);
        // All of it after the store looked at its clock.
        store.ahead -= 350;
        node.renews(&mut store, 2, 800);
        near(node.time(), START);
    }

    #[test]
    fn a_step_of_the_stores_clock_is_a_step_for_nobody() {
        for step in [-20_000, -9_000, 9_000, 20_000, 3_600_000, -900_000] {
            let mut store = Store { ahead: START, shift: 0 };
            let mut nodes = [Node::new(), Node::new(), Node::new()];
            for second in (0..60).step_by(3) {
                nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
            }
            store.ahead += step;
            for second in (60..200).step_by(3) {
                // Who joins now knows no other time, and believes the others.
                if second == 63 {
                    nodes[2] = Node::new();
                }
                for node in &mut nodes {
                    node.renews(&mut store, second, 4);
                    near(node.time(), START);
                }
                near(store.shift, -step);
            }
        }
    }

    /// The first to see a step may know it badly; who knows it better sets that right.
    #[test]
    fn a_step_that_was_taken_back_badly_is_set_right() {
        let mut store = Store { ahead: START, shift: 0 };
        let mut nodes = [Node::new(), Node::new()];
        for second in (0..60).step_by(3) {
            nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
        }
        store.ahead += 20_000;
        // Its store looked at the clock just before it answered.
        store.ahead += 380;
        nodes[0].renews(&mut store, 60, 800);
        store.ahead -= 380;
        for second in (63..90).step_by(3) {
            nodes.iter_mut().rev().for_each(|node| node.renews(&mut store, second, 2));
        }
        near(store.shift, -20_000);
        near(nodes[0].time(), START);
        near(nodes[1].time(), START);
    }

    #[test]
    fn steps_follow_each_other() {
        let mut store = Store { ahead: START, shift: 0 };
        let mut nodes = [Node::new(), Node::new()];
        let mut second = 0;
        for step in [0, 9_000, -20_000, 9_000, 20_000, -9_000] {
            store.ahead += step;
            for _ in 0..3 {
                second += 3;
                for node in &mut nodes {
                    node.renews(&mut store, second, 2);
                    near(node.time(), START);
                }
            }
        }
    }

    /// A virtual machine that was moved to another host may jump: only it is set right again.
    #[test]
    fn a_step_of_a_nodes_own_clock_is_its_own() {
        let mut store = Store { ahead: START, shift: 0 };
        let mut nodes = [Node::new(), Node::new(), Node::new()];
        for second in (0..60).step_by(3) {
            nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
        }
        nodes[0].jumped = 20_000;
        for second in (60..120).step_by(3) {
            nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
        }
        for node in &nodes {
            near(node.time(), START);
        }
        near(store.shift, 0);
    }

    #[test]
    fn a_store_that_lost_its_shift_gets_it_back() {
        let mut store = Store { ahead: START, shift: -5000 };
        let mut nodes = [Node::new(), Node::new()];
        for second in (0..60).step_by(3) {
            nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
        }
        store.shift = 0;
        for second in (60..90).step_by(3) {
            nodes.iter_mut().for_each(|node| node.renews(&mut store, second, 2));
        }
        near(store.shift, -5000);
        near(nodes[1].time(), START - 5000);
    }
}
