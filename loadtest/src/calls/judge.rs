//! Holds every call against its plan: what is owed, what came, what is a fault. Knows no sockets and no clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::faults::{Faults, Kind};
use super::story::{Phase, Story};
use super::words::{Awaited, Event, Plan, Side, Verb};
use crate::figures::Latency;

pub type CallNo = u64;

/// What is owed and not heard by then is lost.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Calls that are over are remembered so long, to recognise what comes late.
const MEMORY: Duration = Duration::from_secs(60);

/// A call that a fault ended.
#[derive(Clone, Debug)]
pub struct GivenUp {
    /// When its initiate was planned.
    pub began: Instant,
    pub at: Instant,
    pub why: String,
}

/// What follows from something heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is time to accept, reject or cancel.
    Command(CallNo),
    /// Both talk: somebody has to hang up in the end.
    HangUp(CallNo),
    /// All was told and acknowledged: both phones are idle again.
    Settled(CallNo),
    /// A fault: clean up, let both phones rest.
    Abandoned(CallNo),
}

#[derive(Default)]
pub struct Judge {
    stories: HashMap<CallNo, Story>,
    /// The call that a phone is in.
    in_call: HashMap<usize, CallNo>,
    deadlines: VecDeque<(Instant, CallNo, Verb)>,
    over: VecDeque<(Instant, CallNo)>,
    pub latencies: [Latency; Awaited::ALL.len()],
    /// From the planned to the real sending of an initiate: this program's own delay.
    pub own_delay: Latency,
    pub faults: Faults,
    pub started: u64,
    pub settled: u64,
    pub abandoned: u64,
    /// Those of the abandoned that nobody broke on purpose.
    pub given_up: Vec<GivenUp>,
}

impl Judge {
    pub fn story(&self, no: CallNo) -> Option<&Story> {
        self.stories.get(&no)
    }

    /// Calls under way.
    pub fn open(&self) -> u64 {
        self.started - self.settled - self.abandoned
    }

    /// Opens call number `no`, whose initiate is about to be sent.
    pub fn start(&mut self, no: CallNo, story: Story, now: Instant) {
        self.in_call.insert(story.caller, no);
        self.in_call.insert(story.callee, no);
        self.own_delay.add(now.saturating_duration_since(story.scheduled));
        self.stories.insert(no, story);
        self.started += 1;
        self.sends(no, Verb::Initiate, now);
    }

    /// Notes that `verb` is about to be sent: now its answers are owed.
    pub fn sends(&mut self, no: CallNo, verb: Verb, now: Instant) {
        let Some(story) = self.stories.get_mut(&no) else { return };
        (story.last, story.sent) = (verb, now);
        for owed in Awaited::owed_after(verb) {
            story.owed |= owed.bit();
        }
        self.deadlines.push_back((now + PATIENCE, no, verb));
    }

    /// A phone heard an event of call `no`.
    pub fn hears(&mut self, phone: usize, no: CallNo, event: Event, at: Instant) -> Option<Next> {
        let name = event.name();
        let Some(story) = self.stories.get_mut(&no) else {
            self.faults.add(Kind::Late, name, || format!("call {no}, long over, at phone {phone}"));
            return None;
        };
        if story.phase == Phase::Abandoned {
            return None;
        }
        let since = at.saturating_duration_since(story.scheduled);
        let Some(side) = story.side_of(phone) else {
            self.faults.add(Kind::Unexpected, name, || format!("call {no} at phone {phone}, which is not in it"));
            return None;
        };
        let example = |story: &Story| {
            let (plan, last, phase) = (story.plan, story.last, story.phase);
            format!("call {no} ({plan:?}, {phase:?}, last sent {last:?}) at the {} after {since:?}", side.name())
        };
        let first = story.hears(side, event);
        let over = story.was_over_for(side, event);
        if !first {
            self.faults.add(Kind::Doubled, name, || example(story));
        } else if over || story.phase == Phase::Settled {
            self.faults.add(Kind::Late, name, || example(story));
        } else if let Some(awaited) = story.place_of(side, event) {
            return self.meets(no, awaited, at);
        } else {
            self.faults.add(Kind::Unexpected, name, || example(story));
            return self.abandon(no, at);
        }
        None
    }

    /// The acknowledgement of `verb` came in.
    pub fn acknowledged(&mut self, no: CallNo, verb: Verb, ack: &Value, at: Instant) -> Option<Next> {
        let story = self.stories.get(&no)?;
        if story.phase == Phase::Abandoned {
            return None;
        }
        let awaited = Awaited::ack_of(verb);
        if story.has_met(&[awaited]) {
            self.faults.add(Kind::Doubled, format!("ack of {}", verb.event()), || format!("call {no}"));
            return None;
        }
        let state_fits = verb.leads_to().is_none_or(|state| ack["state"] == state);
        if ack["success"] != true || !state_fits {
            let what = ack["code"].as_str().or(ack["error"].as_str()).unwrap_or("another state");
            let what = format!("{}: {what}", verb.event());
            self.faults.add(Kind::WrongAck, what, || format!("call {no} ({:?}): {ack}", story.plan));
            return self.abandon(no, at);
        }
        self.meets(no, awaited, at)
    }

    /// A phone lost its connection; the call that it was in can't go on.
    pub fn disconnected(&mut self, phone: usize, why: &str, at: Instant) -> Option<Next> {
        self.faults.add(Kind::Disconnected, why, || format!("phone {phone}"));
        let no = *self.in_call.get(&phone)?;
        self.abandon(no, at)
    }

    /// A phone is cut off on purpose; the call that it was in can't go on, which is no fault.
    pub fn cut(&mut self, phone: usize, at: Instant) -> Option<Next> {
        let no = *self.in_call.get(&phone)?;
        self.close(no, at)
    }

    /// Counts as lost what was owed and has not come in time; returns the calls given up for it.
    pub fn sweep(&mut self, now: Instant) -> Vec<Next> {
        let mut given_up = Vec::new();
        while let Some((_, no, verb)) = self.deadlines.pop_front_if(|(deadline, ..)| *deadline <= now) {
            let Some(story) = self.stories.get(&no).filter(|story| story.phase == Phase::Open) else { continue };
            let owed = Awaited::owed_after(verb).iter().filter(|owed| !story.has_met(&[**owed]));
            let missing: Vec<&str> = owed.map(|owed| owed.name()).collect();
            for missing in &missing {
                self.faults.add(Kind::Lost, *missing, || format!("call {no} ({:?})", story.plan));
            }
            if !missing.is_empty() {
                given_up.extend(self.abandon(no, now));
            }
        }
        while let Some((_, no)) = self.over.pop_front_if(|(at, _)| *at + MEMORY <= now) {
            self.stories.remove(&no);
        }
        given_up
    }

    fn meets(&mut self, no: CallNo, awaited: Awaited, at: Instant) -> Option<Next> {
        let story = self.stories.get_mut(&no)?;
        let cause = match awaited {
            Awaited::Incoming | Awaited::Ringing | Awaited::InitiateAck => story.scheduled,
            _ => story.sent,
        };
        self.latencies[awaited as usize].add(at.saturating_duration_since(cause));
        if awaited == Awaited::Ringing {
            return None;
        }
        story.met |= awaited.bit();
        let all_met = story.owed & !story.met == 0;
        match (story.last, story.plan, all_met) {
            (Verb::Initiate, Plan::Talk { .. } | Plan::Reject, _) => {
                (awaited == Awaited::Incoming).then_some(Next::Command(no))
            }
            // A caller cancels what it knows to be rung.
            (Verb::Initiate, Plan::Cancel, true) => Some(Next::Command(no)),
            (Verb::Accept, _, true) => Some(Next::HangUp(no)),
            (Verb::Reject | Verb::Cancel | Verb::End, _, true) => {
                story.phase = Phase::Settled;
                self.settled += 1;
                self.leave(no, at);
                Some(Next::Settled(no))
            }
            (_, _, false) => None,
        }
    }

    fn abandon(&mut self, no: CallNo, at: Instant) -> Option<Next> {
        let next = self.close(no, at)?;
        let began = self.stories.get(&no)?.scheduled;
        self.given_up.push(GivenUp { began, at, why: self.faults.last.clone() });
        Some(next)
    }

    fn close(&mut self, no: CallNo, at: Instant) -> Option<Next> {
        let story = self.stories.get_mut(&no).filter(|story| story.phase == Phase::Open)?;
        story.phase = Phase::Abandoned;
        self.abandoned += 1;
        self.leave(no, at);
        Some(Next::Abandoned(no))
    }

    fn leave(&mut self, no: CallNo, at: Instant) {
        let Some(story) = self.stories.get(&no) else { return };
        for side in [Side::Caller, Side::Callee] {
            self.in_call.remove(&story.phone(side));
        }
        self.over.push_back((at, no));
    }
}
