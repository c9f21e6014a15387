//! What a reading of the store's clock says: follow it, or take back a step that it made.

use std::time::Duration;

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

/// What a store says: its own clock and the shift it keeps, which together are store time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTime {
    pub raw: Timestamp,
    pub shift: i64,
    /// How often it was shifted, as far as it remembers: a store that lost writes says less than it said before.
    pub shifts: u64,
}

/// A reading of the store's clock, taken between two readings of the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub said: StoreTime,
    pub asked: Duration,
    pub answered: Duration,
}

/// A change of the shift, in milliseconds, that holds if nobody else changed it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub from: i64,
    pub to: i64,
    /// How often the store was shifted before, as far as this node knows.
    pub shifts: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The estimate before is the better one.
    Kept,
    /// Store time less the monotonic clock.
    Follow(i64),
    /// The same, and what was believed before it was wrong: the machine's wall clock, or a step that nobody had taken back
    /// yet. Time may have been ahead, and is not waited for.
    Anew(i64),
    Stepped(Shift),
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    /// The store's own clock less the monotonic one.
    raw: i64,
    shift: i64,
    shifts: u64,
    /// Milliseconds by which it may be wrong: half of the time the answer took.
    error: i64,
    at: Duration,
}

impl Estimate {
    fn of(reading: Reading) -> Self {
        let (asked, answered) = (millis(reading.asked), millis(reading.answered));
        let StoreTime { raw, shift, shifts } = reading.said;
        let raw = i64::try_from(raw.as_millis()).unwrap_or(i64::MAX);
        Self {
            raw: raw - i64::midpoint(asked, answered),
            shift,
            shifts,
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
    /// A reading that took long says less than an older one that did not: nodes compare each other's times, and a busy
    /// machine must not set them apart. Where the store's own clock made a step, all nodes see that, and the first one
    /// shifts store time back. Where only the shift moved, a node was wrong about that, perhaps because its own clock
    /// had made the step: whoever saw none takes it back. A store that knows of fewer shifts than it did has lost some,
    /// and its clock may be another: whoever knows better says so, even who believes other nodes.
    pub fn judge(&mut self, reading: Reading) -> Judged {
        let new = Estimate::of(reading);
        let Some(old) = self.last else {
            self.probation_until = reading.answered + PROBATION;
            return self.begin_anew(new);
        };
        let old_error = old.error_at(reading.answered);
        let error = new.error + old_error;
        let is_step = |difference: i64| difference.abs() > STEP.max(error);
        let on_probation = reading.answered < self.probation_until;
        let shift_to = |to| Judged::Stepped(Shift { from: new.shift, to, shifts: new.shifts.max(old.shifts) });
        match (is_step(new.raw - old.raw), is_step(new.shift - old.shift)) {
            _ if new.shifts < old.shifts => shift_to(old.offset() - new.raw),
            (true, false) => shift_to(old.offset() - new.raw),
            (false, true) if !on_probation => shift_to(old.shift),
            // Taken back by another, not as well as it can be: its answers took long.
            (true, true) if !on_probation && (new.offset() - old.offset()).abs() > error + BLUR => {
                shift_to(old.offset() - new.raw)
            }
            (true, true) | (false, true) if on_probation => self.begin_anew(new),
            (true, true) | (false, true) => self.follow(new),
            (false, false) if new.error <= old_error => self.follow(new),
            // The shift is exact, whatever the answer took.
            (false, false) if (new.shift, new.shifts) != (old.shift, old.shifts) => {
                self.follow(Estimate { shift: new.shift, shifts: new.shifts, ..old })
            }
            (false, false) => Judged::Kept,
        }
    }

    fn follow(&mut self, new: Estimate) -> Judged {
        self.last = Some(new);
        Judged::Follow(new.offset())
    }

    fn begin_anew(&mut self, new: Estimate) -> Judged {
        self.last = Some(new);
        Judged::Anew(new.offset())
    }

    /// The shift was written as asked for: store time goes on as it was known here.
    pub fn shifted(&mut self, shift: Shift, now: Duration) {
        if let Some(last) = &mut self.last {
            last.raw = last.offset() - shift.to;
            last.shift = shift.to;
            last.shifts = shift.shifts + 1;
        }
        self.probation_until = now + PROBATION;
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
