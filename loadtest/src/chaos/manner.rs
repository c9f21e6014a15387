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

/// Of the calls that are accepted, so many switch to video.
const WITH_VIDEO: f64 = 0.25;
/// Of these, so many last long enough for whatever was missed to be told.
const STAYS: f64 = 0.12;
pub const STAY: Duration = Duration::from_secs(16);
/// A request that nobody answers is answered meanwhile.
const UNANSWERED: Duration = super::VIDEO_ANSWER.saturating_add(Duration::from_secs(1));

/// Of the calls that are accepted, in so many both sides write.
const WITH_MESSAGES: f64 = 0.2;

/// What each side writes to the other, to be kept, once it knows of the accept.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    pub number: u32,
    /// Between two of them.
    pub every: Duration,
}

/// How a switch to video goes, if the call is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCourse {
    /// The other side agrees.
    Yes,
    /// It agrees, and one side goes back to audio.
    YesAndBack {
        by_asker: bool,
    },
    No,
    /// Nobody answers.
    Silence,
    BothAsk,
    /// The other side agrees while who asked ends the call.
    AnswerMeetsEnd,
}

#[derive(Clone, Copy, Debug)]
pub struct Video {
    pub course: VideoCourse,
    pub caller_asks: bool,
    /// From the accept until somebody asks.
    pub asks: Duration,
    /// From what somebody is told of it until he reacts.
    pub reacts: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub course: Course,
    /// From the ring until somebody acts.
    pub ring: Duration,
    /// From the accept until somebody ends.
    pub talk: Duration,
    pub video: Option<Video>,
    pub messages: Option<Messages>,
    /// It is to last for [`STAY`], where there is time for it.
    pub stays: bool,
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
        let ring = Duration::from_millis(random.random_range(ring));
        let mut talk = Duration::from_millis(random.random_range(talk));
        let video = random.random_bool(WITH_VIDEO).then(|| Video::random(random));
        if let Some(video) = video {
            talk += video.asks + video.reacts;
            if video.course == VideoCourse::Silence {
                talk += UNANSWERED;
            }
        }
        let messages = random.random_bool(WITH_MESSAGES).then(|| Messages::random(random));
        if let Some(messages) = messages {
            talk += messages.every * messages.number;
        }
        let stays = (video.is_some() || messages.is_some()) && random.random_bool(STAYS);
        Self { course, ring, talk, video, messages, stays }
    }
}

impl Messages {
    fn random(random: &mut impl Rng) -> Self {
        Self { number: random.random_range(2..6), every: Duration::from_millis(random.random_range(30..400)) }
    }
}

impl Video {
    fn random(random: &mut impl Rng) -> Self {
        let course = match random.random_range(0..100) {
            0..=24 => VideoCourse::Yes,
            25..=49 => VideoCourse::YesAndBack { by_asker: random.random() },
            50..=64 => VideoCourse::No,
            65..=74 => VideoCourse::Silence,
            75..=87 => VideoCourse::BothAsk,
            _ => VideoCourse::AnswerMeetsEnd,
        };
        Self {
            course,
            caller_asks: random.random(),
            asks: Duration::from_millis(random.random_range(50..500)),
            reacts: Duration::from_millis(random.random_range(20..300)),
        }
    }
}
