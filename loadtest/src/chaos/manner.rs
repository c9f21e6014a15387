//! How a call is to go, decided before it begins.

use std::time::Duration;

use rand::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Accepted, and ended by one side after a while.
    Talk {
        caller_ends: bool,
    },
    Reject,
    Cancel,
    /// Nobody does anything.
    NoAnswer,
    /// The callee accepts while the caller cancels.
    AcceptMeetsCancel,
    /// The callee rejects while the caller cancels.
    RejectMeetsCancel,
    /// Every device of the callee accepts at once.
    AcceptEverywhere,
    /// One device accepts, another rejects.
    AcceptMeetsReject,
    /// The caller ends a call that he believes accepted.
    EndWhileRinging,
}

#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub course: Course,
    /// From the ring until somebody acts.
    pub ring: Duration,
    /// From the accept until somebody ends.
    pub talk: Duration,
}

impl Manner {
    /// `devices` of the callee; some courses take two.
    pub fn random(random: &mut impl Rng, devices: usize) -> Self {
        let course = match random.random_range(0..100) {
            0..=49 => Course::Talk { caller_ends: random.random() },
            50..=62 => Course::Reject,
            63..=72 => Course::Cancel,
            73..=74 => Course::NoAnswer,
            75..=82 => Course::AcceptMeetsCancel,
            83..=85 => Course::RejectMeetsCancel,
            86..=87 => Course::EndWhileRinging,
            88..=94 if devices > 1 => Course::AcceptEverywhere,
            95..=99 if devices > 1 => Course::AcceptMeetsReject,
            _ => Course::Talk { caller_ends: random.random() },
        };
        let course = if devices > 1 && matches!(course, Course::Talk { .. }) && random.random_bool(0.5) {
            Course::AcceptEverywhere
        } else {
            course
        };
        // Mostly short, some long: a fault is to meet calls of every age.
        let ring = if random.random_bool(0.15) { 1500..3000 } else { 150..900 };
        let talk = if random.random_bool(0.15) { 3000..9000 } else { 200..1500 };
        Self {
            course,
            ring: Duration::from_millis(random.random_range(ring)),
            talk: Duration::from_millis(random.random_range(talk)),
        }
    }
}
