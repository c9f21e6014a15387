//! Plays the calls: sends what is due, hears what comes, and lets the judge judge it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::faults::Kind;
use super::judge::{CallNo, Judge, Next, PATIENCE};
use super::story::{Phase, Story};
use super::words::{Event, Plan, Side, Verb};
use crate::packet::{self, Packet};
use crate::phone::{Listener, Phone};
use crate::pool::Pool;
use crate::schedule::Lasts;

/// Of an acknowledgement that nobody reads.
const UNREAD: u64 = 7;
const VERBS: u64 = 8;
/// As long as a real one.
const AGORA_TOKEN: &str = "007eJxTYBBbsMMnKq7p9Hf/HcIX5kce9b518kCiQgSr5Zrp4X1Tu6UUGAzSLIxNk5NTDYwMk0xSzIyTjJJSTcwtk1INjQ2SU4wM3QwYGBgAAAr8Gk0=";

/// How calls go.
pub struct Manner {
    /// Per cent accepted, rejected, cancelled.
    pub mix: [u32; 3],
    pub ring: Lasts,
    pub talk: Lasts,
    /// Whoever is idle again is to call again.
    pub closed: bool,
}

pub struct Board {
    manner: Manner,
    run: u32,
    users: Vec<String>,
    state: Mutex<State>,
    /// Something is due earlier than all that was due before.
    pub sooner: Notify,
}

pub struct State {
    pub judge: Judge,
    pub no_idle_pair: u64,
    pool: Pool,
    /// None of those that are not connected.
    phones: Vec<Option<Phone>>,
    due: BinaryHeap<Reverse<(Instant, CallNo, Due)>>,
    next: CallNo,
    random: StdRng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Command,
    HangUp,
    /// The phones of an abandoned call have rested.
    Rested,
}

impl Board {
    /// A board without phones; `users` by index, whose phones the pool has or is yet to have.
    pub fn new(manner: Manner, run: u32, users: Vec<String>, pool: Pool, random: StdRng) -> Self {
        let state = State {
            judge: Judge::default(),
            no_idle_pair: 0,
            pool,
            phones: vec![None; users.len()],
            due: BinaryHeap::new(),
            next: 0,
            random,
        };
        Self { manner, run, users, state: Mutex::new(state), sooner: Notify::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seat(&self, phones: Vec<Phone>) {
        self.state().phones = phones.into_iter().map(Some).collect();
    }

    /// A phone is there, or there again. It hangs up the call that it finds itself in, which was given up when it left.
    pub fn comes(&self, phone: usize, connected: Phone, call: Option<&str>) {
        if let Some(call) = call {
            connected.send(packet::event(UNREAD, Verb::End.event(), &json!({"callId": call})));
        }
        self.state().phones[phone] = Some(connected);
    }

    /// A phone that came takes part in calls from now on, if it is still there.
    pub fn joins(&self, phone: usize) {
        let mut state = self.state();
        if state.phones[phone].is_some() {
            state.pool.add(phone);
        }
    }

    /// Cuts a phone off. False where it is not connected.
    pub fn cut(&self, phone: usize) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let was_connected = state.phones[phone].take().is_some();
        if was_connected {
            state.pool.remove(phone);
            let next = state.judge.cut(phone, now);
            self.follow(&mut state, next, now);
        }
        was_connected
    }

    /// Lets an idle phone go. False where there is none.
    pub fn dismiss(&self) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let Some(phone) = state.pool.take_any(&mut state.random) else { return false };
        state.pool.remove(phone);
        state.phones[phone] = None;
        true
    }

    pub fn is_connected(&self, phone: usize) -> bool {
        self.state().phones[phone].is_some()
    }

    pub fn sessions(&self) -> usize {
        self.state().phones.iter().flatten().count()
    }

    /// Starts the call that was planned for `scheduled`, if two phones are idle.
    pub fn begin(&self, scheduled: Instant) {
        if !self.begin_if_idle(scheduled) {
            self.state().no_idle_pair += 1;
        }
    }

    /// False where no two phones are idle.
    pub fn begin_if_idle(&self, scheduled: Instant) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let Some((caller, callee)) = state.pool.take_pair(&mut state.random) else { return false };
        let plan = self.plan(&mut state.random);
        let no = state.next;
        state.next += 1;
        let payload = json!({
            "receiverId": self.users[callee], "callId": self.call_id(no), "callType": "AUDIO",
            "channelName": format!("channel_{no}"), "agoraToken": AGORA_TOKEN,
            "agoraAppId": "8b5e9417f15a48ae929783f32d3d33d4", "balanceTime": "12:00",
        });
        state.judge.start(no, Story::new(plan, caller, callee, scheduled), Instant::now());
        state.say(caller, no, Verb::Initiate, &payload);
        true
    }

    fn plan(&self, random: &mut StdRng) -> Plan {
        let [accepted, rejected, _] = self.manner.mix;
        let ended_by = if random.random() { Side::Caller } else { Side::Callee };
        match random.random_range(0..100) {
            drawn if drawn < accepted => Plan::Talk { ended_by },
            drawn if drawn < accepted + rejected => Plan::Reject,
            _ => Plan::Cancel,
        }
    }

    /// When the next thing is to be done.
    pub fn next_due(&self) -> Option<Instant> {
        self.state().due.peek().map(|Reverse((at, ..))| *at)
    }

    /// Does what is due.
    pub fn act(&self, now: Instant) {
        let mut state = self.state();
        while let Some(Reverse((at, no, due))) = state.due.peek().copied() {
            if at > now {
                return;
            }
            state.due.pop();
            let Some(story) = state.judge.story(no).cloned() else { continue };
            match due {
                Due::Rested => state.idle(&story),
                Due::Command | Due::HangUp if story.phase != Phase::Open => {}
                Due::Command => {
                    let (verb, side) = story.command();
                    self.send(&mut state, no, &story, verb, side);
                }
                Due::HangUp => {
                    if let Plan::Talk { ended_by } = story.plan {
                        self.send(&mut state, no, &story, Verb::End, ended_by);
                    }
                }
            }
        }
    }

    /// Counts what is lost by now.
    pub fn sweep(&self, now: Instant) {
        let mut state = self.state();
        for next in state.judge.sweep(now) {
            self.follow(&mut state, Some(next), now);
        }
    }

    fn send(&self, state: &mut State, no: CallNo, story: &Story, verb: Verb, side: Side) {
        state.judge.sends(no, verb, Instant::now());
        state.say(story.phone(side), no, verb, &json!({"callId": self.call_id(no)}));
    }

    fn follow(&self, state: &mut State, next: Option<Next>, at: Instant) {
        let Some(next) = next else { return };
        let (at, no, due) = match next {
            Next::Command(no) => (at + self.manner.ring.draw(&mut state.random), no, Due::Command),
            Next::HangUp(no) => (at + self.manner.talk.draw(&mut state.random), no, Due::HangUp),
            Next::Settled(no) => {
                if let Some(story) = state.judge.story(no).cloned() {
                    state.idle(&story);
                }
                if self.manner.closed {
                    self.sooner.notify_one();
                }
                return;
            }
            Next::Abandoned(no) => {
                if let Some(story) = state.judge.story(no) {
                    let end = json!({"callId": self.call_id(no)});
                    let packet = packet::event(no * VERBS + UNREAD, Verb::End.event(), &end);
                    let sides = [Side::Caller, Side::Callee].map(|side| &state.phones[story.phone(side)]);
                    if let Some(phone) = sides.into_iter().flatten().next() {
                        phone.send(packet);
                    }
                }
                (at + PATIENCE, no, Due::Rested)
            }
        };
        let first = state.due.peek().is_none_or(|Reverse((first, ..))| at < *first);
        state.due.push(Reverse((at, no, due)));
        if first {
            self.sooner.notify_one();
        }
    }

    fn call_id(&self, no: CallNo) -> String {
        format!("CALL_{:08}{no:09}", self.run)
    }

    fn call_no(&self, id: &str) -> Option<CallNo> {
        id.strip_prefix(&format!("CALL_{:08}", self.run))?.parse().ok()
    }

    fn event(&self, state: &mut State, phone: usize, name: &str, payload: &Value, at: Instant) -> Option<Next> {
        // Said once more on purpose, to phones of the deployed app.
        if !name.starts_with("call:") || payload["repeat"] == true {
            return None;
        }
        let no = payload["callId"].as_str().and_then(|id| self.call_no(id));
        match (Event::parse(name), no) {
            (Some(event), Some(no)) => state.judge.hears(phone, no, event, at),
            _ => {
                state.judge.faults.add(Kind::Unexpected, name, || format!("phone {phone}: {payload}"));
                None
            }
        }
    }
}

impl State {
    fn say(&mut self, phone: usize, no: CallNo, verb: Verb, payload: &Value) {
        if let Some(phone) = &self.phones[phone] {
            phone.send(packet::event(no * VERBS + verb as u64, verb.event(), payload));
        }
    }

    fn idle(&mut self, story: &Story) {
        self.pool.put(story.caller);
        self.pool.put(story.callee);
    }
}

impl Listener for Board {
    fn hears(&self, phone: usize, packet: Packet, at: Instant) {
        let mut state = self.state();
        let next = match packet {
            Packet::Event { name, payload, .. } => self.event(&mut state, phone, &name, &payload, at),
            Packet::Ack { id, payload } => match Verb::ALL.get((id % VERBS) as usize) {
                Some(verb) => state.judge.acknowledged(id / VERBS, *verb, &payload, at),
                None => None,
            },
            Packet::Refused(_) | Packet::Unknown(_) | Packet::Open { .. } => {
                state.judge.faults.add(Kind::Unexpected, "packet", || format!("phone {phone}: {packet:?}"));
                None
            }
            Packet::Close | Packet::Disconnected | Packet::Connected | Packet::Ping | Packet::Noop => None,
        };
        self.follow(&mut state, next, at);
    }

    fn disconnected(&self, phone: usize, why: &str) {
        let (mut state, now) = (self.state(), Instant::now());
        state.phones[phone] = None;
        state.pool.remove(phone);
        let next = state.judge.disconnected(phone, why, now);
        self.follow(&mut state, next, now);
    }
}
