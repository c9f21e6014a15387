//! The judge is fed histories of calls, good ones and bad ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::faults::Kind;
use super::judge::{Judge, Next, PATIENCE};
use super::story::Story;
use super::words::{Awaited, Event, Plan, Side, Verb};

const CALLER: usize = 3;
const CALLEE: usize = 8;
const TALK: Plan = Plan::Talk { ended_by: Side::Caller };

/// One call, number 1, with a clock that moves by hand.
struct History {
    judge: Judge,
    begin: Instant,
    now: Instant,
}

fn success(state: &str) -> Value {
    json!({"success": true, "callId": "CALL_1", "state": state})
}

impl History {
    fn of(plan: Plan) -> Self {
        let begin = Instant::now();
        let mut judge = Judge::default();
        judge.start(1, Story::new(plan, CALLER, CALLEE, begin), begin);
        Self { judge, begin, now: begin }
    }

    fn after(&mut self, millis: u64) -> &mut Self {
        self.now += Duration::from_millis(millis);
        self
    }

    fn hears(&mut self, phone: usize, event: Event) -> Option<Next> {
        self.judge.hears(phone, 1, event, self.now)
    }

    fn ack(&mut self, verb: Verb) -> Option<Next> {
        self.judge.acknowledged(1, verb, &success(verb.leads_to().unwrap_or("trying")), self.now)
    }

    fn sends(&mut self, verb: Verb) {
        self.judge.sends(1, verb, self.now);
    }

    /// Rung and acknowledged.
    fn rung(plan: Plan) -> Self {
        let mut history = Self::of(plan);
        history.after(2).hears(CALLEE, Event::Incoming);
        history.ack(Verb::Initiate);
        history.hears(CALLER, Event::Ringing);
        history
    }

    fn accepted() -> Self {
        let mut history = Self::rung(TALK);
        history.after(100).sends(Verb::Accept);
        assert_eq!(history.after(1).hears(CALLER, Event::Accepted), None);
        assert_eq!(history.ack(Verb::Accept), Some(Next::HangUp(1)));
        history
    }

    fn ended() -> Self {
        let mut history = Self::accepted();
        history.after(1000).sends(Verb::End);
        history.after(1).ack(Verb::End);
        assert_eq!(history.hears(CALLEE, Event::Ended), Some(Next::Settled(1)));
        history
    }

    /// Exactly one fault: this.
    fn assert_fault(&self, kind: Kind, what: &str) {
        let (faults, counted) = (&self.judge.faults, self.judge.faults.to_json());
        assert_eq!((faults.total(), faults.count(kind)), (1, 1), "{counted}");
        assert_eq!(counted[kind.name()]["of"][what], 1, "{counted}");
    }

    fn assert_clean(&mut self) {
        self.judge.sweep(self.now + 2 * PATIENCE);
        assert_eq!(self.judge.faults.total(), 0, "{}", self.judge.faults.to_json());
    }
}

#[test]
fn good_calls_have_no_faults() {
    let mut talk = History::ended();
    talk.assert_clean();
    assert_eq!((talk.judge.settled, talk.judge.open()), (1, 0));

    let mut reject = History::rung(Plan::Reject);
    reject.sends(Verb::Reject);
    reject.ack(Verb::Reject);
    reject.hears(CALLER, Event::Rejected);
    assert_eq!(reject.hears(CALLEE, Event::RejectConfirmed), Some(Next::Settled(1)));
    reject.assert_clean();

    let mut cancel = History::rung(Plan::Cancel);
    cancel.sends(Verb::Cancel);
    cancel.hears(CALLEE, Event::Cancelled);
    assert_eq!(cancel.ack(Verb::Cancel), Some(Next::Settled(1)));
    cancel.assert_clean();
}

#[test]
fn initiates_are_measured_from_the_plan_commands_from_the_sending() {
    let begin = Instant::now();
    let mut judge = Judge::default();
    let sent = begin + Duration::from_millis(40);
    judge.start(1, Story::new(TALK, CALLER, CALLEE, begin), sent);
    judge.hears(CALLEE, 1, Event::Incoming, sent + Duration::from_millis(2));
    judge.sends(1, Verb::Accept, begin + Duration::from_millis(1000));
    judge.hears(CALLER, 1, Event::Accepted, begin + Duration::from_millis(1003));
    let at = |awaited: Awaited| judge.latencies[awaited as usize].at(0.5).round();
    assert_eq!((at(Awaited::Incoming), at(Awaited::Accepted)), (42.0, 3.0));
    assert_eq!(judge.own_delay.at(0.5).round(), 40.0);
}

#[test]
fn a_command_follows_what_its_sender_knows() {
    let mut talk = History::of(TALK);
    assert_eq!(talk.hears(CALLEE, Event::Incoming), Some(Next::Command(1)));
    assert_eq!(talk.ack(Verb::Initiate), None);
    let mut cancel = History::of(Plan::Cancel);
    assert_eq!(cancel.ack(Verb::Initiate), None);
    assert_eq!(cancel.hears(CALLEE, Event::Incoming), Some(Next::Command(1)));
}

#[test]
fn what_does_not_come_is_lost_after_five_seconds() {
    let mut history = History::of(TALK);
    history.ack(Verb::Initiate);
    assert!(history.judge.sweep(history.begin + PATIENCE - Duration::from_millis(1)).is_empty());
    assert_eq!(history.judge.sweep(history.begin + PATIENCE), [Next::Abandoned(1)]);
    history.assert_fault(Kind::Lost, "initiate→incoming");
    assert_eq!((history.judge.abandoned, history.judge.open()), (1, 0));
    // Too late to matter, and counted already.
    assert_eq!(history.hears(CALLEE, Event::Incoming), None);
    history.assert_fault(Kind::Lost, "initiate→incoming");
}

#[test]
fn an_acknowledgement_that_does_not_come_is_lost() {
    let mut history = History::accepted();
    history.sends(Verb::End);
    history.hears(CALLEE, Event::Ended);
    history.judge.sweep(history.now + PATIENCE);
    history.assert_fault(Kind::Lost, "end→ack");
}

#[test]
fn an_event_twice_at_one_phone_is_doubled() {
    let mut history = History::rung(TALK);
    history.hears(CALLEE, Event::Incoming);
    history.assert_fault(Kind::Doubled, "call:incoming");
    let mut over = History::ended();
    over.hears(CALLEE, Event::Ended);
    over.assert_fault(Kind::Doubled, "call:ended");
}

#[test]
fn an_acknowledgement_twice_is_doubled() {
    let mut history = History::rung(TALK);
    history.ack(Verb::Initiate);
    history.assert_fault(Kind::Doubled, "ack of call:initiate");
}

#[test]
fn an_event_after_the_end_is_late() {
    let mut history = History::ended();
    assert_eq!(history.after(500).hears(CALLER, Event::Rejected), None);
    history.assert_fault(Kind::Late, "call:rejected");
    // So long ago that the call itself is forgotten.
    let mut history = History::ended();
    history.after(100_000);
    history.judge.sweep(history.now);
    history.hears(CALLEE, Event::Incoming);
    history.assert_fault(Kind::Late, "call:incoming");
}

#[test]
fn an_event_at_a_phone_that_was_told_the_end_is_late() {
    let mut history = History::of(Plan::Reject);
    history.hears(CALLEE, Event::Incoming);
    history.ack(Verb::Initiate);
    history.sends(Verb::Reject);
    history.hears(CALLER, Event::Rejected);
    // Not acknowledged yet, but the caller knows.
    history.hears(CALLER, Event::Ringing);
    history.assert_fault(Kind::Late, "call:ringing");
}

#[test]
fn acknowledgements_that_say_something_else_are_wrong() {
    let mut busy = History::of(TALK);
    let ack = json!({"success": false, "error": "User is busy", "busy": true});
    assert_eq!(busy.judge.acknowledged(1, Verb::Initiate, &ack, busy.now), Some(Next::Abandoned(1)));
    busy.assert_fault(Kind::WrongAck, "call:initiate: User is busy");
    let mut state = History::rung(TALK);
    state.sends(Verb::Accept);
    state.judge.acknowledged(1, Verb::Accept, &success("ended"), state.now);
    state.assert_fault(Kind::WrongAck, "call:accept: another state");
}

#[test]
fn events_out_of_place_are_unexpected() {
    let mut early = History::rung(TALK);
    early.hears(CALLER, Event::Accepted); // nobody has accepted
    early.assert_fault(Kind::Unexpected, "call:accepted");
    let mut stranger = History::rung(TALK);
    stranger.hears(77, Event::Incoming);
    stranger.assert_fault(Kind::Unexpected, "call:incoming");
    let mut timeout = History::rung(TALK);
    timeout.hears(CALLER, Event::Timeout);
    timeout.assert_fault(Kind::Unexpected, "call:timeout");
}

#[test]
fn a_disconnect_gives_its_call_up() {
    let mut history = History::rung(TALK);
    let next = history.judge.disconnected(CALLEE, "closed by the server", history.now);
    assert_eq!(next, Some(Next::Abandoned(1)));
    history.assert_fault(Kind::Disconnected, "closed by the server");
}
