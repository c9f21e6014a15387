//! What the people behind the phones do: who calls whom, and how they react to what they are told.

mod messages;
mod state;
mod video;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::backend::Request;
use super::handset::{Harm, Saying};
use super::manner::{Course, Manner, STAY};
use messages::MESSAGE;
use state::{Known, Phone, State, User};
use video::is_said_of_video;

/// A verdict that the server could not take is given again after this.
const AGAIN: Duration = Duration::from_secs(2);
/// Who still sees a call so long after it should have been over hangs up, and again after as long.
const IMPATIENCE: Duration = Duration::from_secs(30);
const IMPATIENT_TIMES: u32 = 4;

/// One phone, as its user sees it.
pub struct Seat {
    pub user: usize,
    pub sayings: UnboundedSender<Saying>,
    pub harms: UnboundedSender<Harm>,
}

/// Of the words of users with one phone, so many go over HTTP.
const OVER_HTTP: f64 = 0.06;
const OVER_HTTP_IMPATIENTLY: f64 = 0.6;
/// How long such a client waits, in milliseconds.
const PATIENT: std::ops::Range<u64> = 20_000..20_001;
const IMPATIENT: std::ops::Range<u64> = 100..2_000;

pub struct World {
    state: Mutex<State>,
    ring_timeout: Duration,
    backend: UnboundedSender<Request>,
    /// How many faults make clients over HTTP impatient.
    impatience: AtomicUsize,
}

impl World {
    pub fn new(
        users: Vec<String>,
        seats: Vec<Seat>,
        ring_timeout: Duration,
        random: StdRng,
        backend: UnboundedSender<Request>,
    ) -> Arc<Self> {
        let mut users: Vec<User> =
            users.into_iter().map(|name| User { name, phones: Vec::new(), call: None }).collect();
        for (phone, seat) in seats.iter().enumerate() {
            users[seat.user].phones.push(phone);
        }
        let seats = seats.into_iter().map(|seat| Phone { seat, node: None, has_been: false }).collect();
        let state = State { seats, users, calls: HashMap::new(), random, last_call: 0 };
        Arc::new(Self { state: Mutex::new(state), ring_timeout, backend, impatience: AtomicUsize::new(0) })
    }

    /// Clients over HTTP have little patience, and there are many of them, until as many calls say that they have again.
    pub fn make_impatient(&self, is_begin: bool) {
        if is_begin {
            self.impatience.fetch_add(1, Ordering::Relaxed);
        } else {
            self.impatience.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Lets a random idle user with a connected phone call a random one, busy ones sometimes included. `may_stay`: there
    /// is time for a long call.
    pub fn call_somebody(self: &Arc<Self>, may_stay: bool) -> bool {
        let mut state = self.state();
        let idle: Vec<usize> = (0..state.users.len()).filter(|user| state.users[*user].call.is_none()).collect();
        let present: Vec<usize> =
            idle.iter().copied().filter(|user| state.node_of(state.users[*user].phones[0]).is_some()).collect();
        if present.is_empty() || idle.len() < 2 {
            return false;
        }
        let caller = present[state.random.random_range(0..present.len())];
        let to_busy = state.random.random_bool(0.03);
        let candidates: Vec<usize> = (0..state.users.len())
            .filter(|user| *user != caller && (to_busy || state.users[*user].call.is_none()))
            .collect();
        let callee = candidates[state.random.random_range(0..candidates.len())];
        let devices = state.users[callee].phones.len();
        let mut manner = Manner::random(&mut state.random, devices);
        if manner.stays && may_stay {
            manner.talk = manner.talk.max(STAY);
        }
        let saying = state.begin(caller, callee, manner, "CALL");
        let phone = state.users[caller].phones[0];
        let id = saying.call.clone();
        self.speak(&mut state, phone, saying);
        drop(state);
        let mut wait = manner.ring + manner.talk + IMPATIENCE;
        if manner.course == Course::NoAnswer {
            wait += self.ring_timeout;
        }
        self.grow_impatient(id, wait, IMPATIENT_TIMES);
        true
    }

    /// Lets one user ring another just to see whether both are free. Returns the call.
    pub fn probe(self: &Arc<Self>, caller: usize, callee: usize) -> String {
        let mut state = self.state();
        let (ring, talk) = (Duration::from_millis(100), Duration::ZERO);
        let manner = Manner { course: Course::Cancel, ring, talk, video: None, messages: None, stays: false };
        let saying = state.begin(caller, callee, manner, "PROBE");
        let (phone, id) = (state.users[caller].phones[0], saying.call.clone());
        let _ = state.seats[phone].seat.sayings.send(saying);
        id
    }

    pub fn users(&self) -> usize {
        self.state().users.len()
    }

    pub fn phones(&self) -> usize {
        self.state().seats.len()
    }

    /// Calls that somebody still sees, and phones that are not connected.
    pub fn unrest(&self) -> (usize, usize) {
        let state = self.state();
        let calls = state.calls.values().filter(|call| !call.is_over()).count();
        (calls, state.seats.iter().filter(|phone| phone.node.is_none()).count())
    }

    /// Live calls that ring, and those that were accepted; of all nodes or of one.
    pub fn calls_at(&self, node: Option<&str>) -> (usize, usize) {
        let state = self.state();
        let is_there = |phone: &usize| node.is_none() || state.node_of(*phone) == node;
        let met = state.calls.values().filter(|call| !call.is_over() && call.known.keys().any(is_there));
        let active = met.clone().filter(|call| call.is_active).count();
        (met.count() - active, active)
    }

    /// Does something to the connection of every `nth` phone from `first` on, or of those at one node.
    pub fn harm(&self, harm: Harm, is_meant: impl Fn(usize) -> bool) -> usize {
        let state = self.state();
        let meant = state.seats.iter().enumerate().filter(|(index, phone)| phone.node.is_some() && is_meant(*index));
        meant.map(|(_, phone)| phone.seat.harms.send(harm.clone())).filter(Result::is_ok).count()
    }

    pub fn has_been(&self, phone: usize) -> bool {
        self.state().seats[phone].has_been
    }

    pub fn closed(&self, phone: usize) {
        self.state().seats[phone].node = None;
    }

    /// A phone was told `session:ready`.
    pub fn opened(self: &Arc<Self>, phone: usize, node: String, live: Option<&Value>, ended: &[Value]) {
        let mut state = self.state();
        state.seats[phone].node = Some(node);
        state.seats[phone].has_been = true;
        for outcome in ended {
            state.over(outcome["callId"].as_str().unwrap_or_default(), phone);
        }
        let Some(live) = live else { return };
        let id = live["callId"].as_str().unwrap_or_default().to_owned();
        if !state.is_in(phone, &id) {
            return;
        }
        let was_over = state.calls.get(&id).and_then(|call| call.known.get(&phone)) == Some(&Known::Over);
        drop(state);
        match (live["role"].as_str(), live["state"].as_str()) {
            // It had given the call up before it learned that there is one.
            (Some("caller"), _) | (Some("callee"), Some("trying" | "ringing")) if was_over => {
                let role = live["role"].as_str().unwrap_or_default();
                let event = if role == "caller" { "call:cancel" } else { "call:end" };
                let _ = self.state().seats[phone].seat.sayings.send(insist(event, &id));
            }
            (Some("callee"), Some("trying" | "ringing")) => self.rings(phone, &id),
            (Some("callee"), Some("active")) if !self.state().has_accepted(phone, &id) => self.state().over(&id, phone),
            (_, Some("active")) => self.is_active(phone, &id),
            _ => {}
        }
    }

    pub fn heard(self: &Arc<Self>, phone: usize, event: &str, id: &str, payload: &Value) {
        if !self.state().is_in(phone, id) {
            // The caller's other devices hear along.
            return;
        }
        match event {
            "call:incoming" => self.rings(phone, id),
            "call:accepted" => self.is_active(phone, id),
            "call:rejected" | "call:timeout" | "call:busy" | "call:cancelled" | "call:ended" => {
                self.state().over(id, phone)
            }
            _ => self.hears_of_video(phone, event, id, payload),
        }
    }

    pub fn acked(self: &Arc<Self>, phone: usize, said: &Saying, answer: &Value) {
        let code = answer["code"].as_str();
        let id = said.call.clone();
        if is_said_of_video(said.event) {
            return self.video_acked(phone, said, answer);
        }
        if said.event == MESSAGE {
            return self.message_acked(phone, said, answer);
        }
        match (said.event, answer["success"] == true) {
            ("call:initiate", true) => self.is_ringing(phone, id),
            ("call:initiate", false) if answer["useFcmFallback"] == true => self.is_ringing(phone, id),
            // It may have been written all the same; the caller gives up.
            ("call:initiate", false) if code == Some("unavailable") => self.say_later(phone, "call:cancel", id, AGAIN),
            ("call:accept", true) => self.is_active(phone, &id),
            // What was said of a call that was given up is said again as it was.
            (_, false) if code == Some("unavailable") => self.repeat_later(phone, said.clone(), AGAIN),
            (_, _) => self.state().over(&id, phone),
        }
    }

    /// False where a call is over for the phone that wanted to say something about it.
    pub fn is_wanted(&self, phone: usize, saying: &Saying) -> bool {
        self.state().is_wanted(phone, saying)
    }

    fn is_ringing(self: &Arc<Self>, phone: usize, id: String) {
        let state = self.state();
        let Some(call) = state.calls.get(&id) else { return };
        let manner = call.manner;
        drop(state);
        match manner.course {
            Course::Cancel => self.say_later(phone, "call:cancel", id, manner.ring),
            Course::EndWhileRinging => self.say_later(phone, "call:end", id, manner.ring),
            _ => {}
        }
    }

    /// A phone rings: its side decides, once, what it does.
    fn rings(self: &Arc<Self>, phone: usize, id: &str) {
        let mut state = self.state();
        state.turn_to(phone, id);
        let Some(call) = state.calls.get_mut(id) else { return };
        if *call.known.entry(phone).or_insert(Known::Live) == Known::Over {
            return;
        }
        let (manner, caller, first) = (call.manner, call.caller, !call.is_decided);
        call.is_decided = true;
        let others: Vec<usize> = {
            let callee = call.callee;
            state.users[callee].phones.iter().copied().filter(|other| *other != phone).collect()
        };
        drop(state);
        let say = |phone, event| self.say_later(phone, event, id.to_owned(), manner.ring);
        match manner.course {
            Course::AcceptEverywhere => say(phone, "call:accept"),
            _ if !first => {}
            Course::Talk { .. } => say(phone, "call:accept"),
            Course::Reject => say(phone, "call:reject"),
            Course::AcceptMeetsCancel => {
                say(phone, "call:accept");
                say(caller, "call:cancel");
            }
            Course::RejectMeetsCancel => {
                say(phone, "call:reject");
                say(caller, "call:cancel");
            }
            Course::AcceptMeetsReject => {
                say(phone, "call:accept");
                others.iter().for_each(|other| say(*other, "call:reject"));
            }
            Course::Cancel | Course::NoAnswer | Course::EndWhileRinging => {}
        }
    }

    /// A phone knows that the call was accepted: one side plans its end.
    fn is_active(self: &Arc<Self>, phone: usize, id: &str) {
        let mut state = self.state();
        let Some(call) = state.calls.get_mut(id) else { return };
        let known = *call.known.entry(phone).or_insert(Known::Live);
        call.is_active = true;
        let (manner, is_caller) = (call.manner, phone == call.caller);
        if known == Known::Over {
            // It had given the call up before it heard of the accept.
            let _ = state.seats[phone].seat.sayings.send(insist("call:end", id));
            return;
        }
        let writes = call.is_to_write(phone);
        let asks = call.is_to_ask(phone).then_some(manner.video).flatten().map(|video| video.asks);
        let caller_ends = matches!(manner.course, Course::Talk { caller_ends: true } | Course::AcceptMeetsReject);
        let ends = is_caller == caller_ends && !std::mem::replace(&mut call.ends_planned, true);
        drop(state);
        if let Some(messages) = writes {
            self.write(phone, id, messages);
        }
        if let Some(after) = asks {
            self.say_later(phone, "call:upgrade", id.to_owned(), after);
        }
        if ends {
            self.say_later(phone, "call:end", id.to_owned(), manner.talk);
        }
    }

    fn say_later(self: &Arc<Self>, phone: usize, event: &'static str, id: String, after: Duration) {
        self.repeat_later(phone, saying(event, &id), after);
    }

    fn repeat_later(self: &Arc<Self>, phone: usize, saying: Saying, after: Duration) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut state = world.state();
            world.speak(&mut state, phone, saying);
        });
    }

    /// Over the socket, or over HTTP: then the phone that said it has done what it could.
    fn speak(&self, state: &mut State, phone: usize, saying: Saying) {
        let is_impatient = self.impatience.load(Ordering::Relaxed) > 0;
        let (share, patience) = if is_impatient { (OVER_HTTP_IMPATIENTLY, IMPATIENT) } else { (OVER_HTTP, PATIENT) };
        let request = if state.random.random_bool(share) { state.over_http(phone, &saying) } else { None };
        let Some((path, body)) = request else {
            let _ = state.seats[phone].seat.sayings.send(saying);
            return;
        };
        if !state.is_wanted(phone, &saying) {
            return;
        }
        let patience = Duration::from_millis(state.random.random_range(patience));
        let name = state.users[state.seats[phone].seat.user].name.clone();
        let _ = self.backend.send(Request { phone, name, saying, path, body, patience });
    }

    /// What became of a word over HTTP: the status and the body, or nothing in time.
    pub fn answered(self: &Arc<Self>, phone: usize, said: &Saying, answer: Option<&(u16, Value)>) {
        let id = said.call.clone();
        let is_refused = answer.is_some_and(|(_, body)| !is_obeyed(body));
        match (said.event, answer) {
            ("call:initiate", Some((200, body))) => self.acked(phone, said, body),
            // It may have been written all the same; the caller gives up, over his socket.
            ("call:initiate", _) => {
                let _ = self.state().seats[phone].seat.sayings.send(insist("call:cancel", &id));
                self.state().over(&id, phone);
            }
            ("call:accept", Some((200, _))) if is_refused => self.state().over(&id, phone),
            ("call:accept", _) => self.is_active(phone, &id),
            _ => self.state().over(&id, phone),
        }
    }

    /// Who sees the call for far too long hangs up.
    fn grow_impatient(self: &Arc<Self>, id: String, after: Duration, times: u32) {
        let world = Arc::clone(self);
        let due = Instant::now() + after;
        tokio::spawn(async move {
            tokio::time::sleep_until(due.into()).await;
            for _ in 0..times {
                {
                    let state = world.state();
                    let Some(call) = state.calls.get(&id).filter(|call| !call.is_over()) else { return };
                    for phone in call.known.iter().filter(|(_, known)| **known == Known::Live).map(|(phone, _)| *phone)
                    {
                        let event = if call.is_active || phone == call.caller { "call:end" } else { "call:reject" };
                        let _ = state.seats[phone].seat.sayings.send(saying(event, &id));
                    }
                }
                tokio::time::sleep(IMPATIENCE).await;
            }
            let mut state = world.state();
            let phones: Vec<usize> =
                state.calls.get(&id).map(|call| call.known.keys().copied().collect()).unwrap_or_default();
            phones.into_iter().for_each(|phone| state.over(&id, phone));
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a word over HTTP was not refused.
pub fn is_obeyed(answer: &Value) -> bool {
    let is_known = !matches!(answer["reason"].as_str(), Some("Call ended" | "Call not found"));
    answer["success"] == true && answer["state"].is_null() && is_known
}

fn saying(event: &'static str, call: &str) -> Saying {
    Saying { event, call: call.to_owned(), payload: json!({"callId": call}) }
}

/// Said though the call was given up.
fn insist(event: &'static str, call: &str) -> Saying {
    Saying { event, call: call.to_owned(), payload: json!({"callId": call, "insist": true}) }
}
