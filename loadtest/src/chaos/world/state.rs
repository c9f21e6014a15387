//! What is true of users, phones and calls, as the people know it.

use std::collections::{BTreeMap, HashMap};

use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::Seat;
use crate::chaos::handset::Saying;
use crate::chaos::manner::Manner;

pub struct State {
    pub seats: Vec<Phone>,
    pub users: Vec<User>,
    pub calls: HashMap<String, Call>,
    pub random: StdRng,
    pub last_call: u64,
}

pub struct Phone {
    pub seat: Seat,
    /// The node it is connected to.
    pub node: Option<String>,
    pub has_been: bool,
}

pub struct User {
    pub name: String,
    pub phones: Vec<usize>,
    pub call: Option<String>,
}

pub struct Call {
    pub number: u64,
    pub caller: usize,
    pub callee: usize,
    pub manner: Manner,
    /// What each phone knows of it; the caller's phone from the start.
    pub known: BTreeMap<usize, Known>,
    /// Somebody of the callee's side has decided what to do.
    pub is_decided: bool,
    /// Phones that said they accept.
    pub accepts: Vec<usize>,
    pub is_active: bool,
    pub ends_planned: bool,
    /// Phones that began to write.
    pub wrote: Vec<usize>,
    /// Phones that were to ask for video.
    pub asked: Vec<usize>,
    /// Somebody was to go back to audio.
    pub went_back: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Live,
    Over,
}

impl State {
    pub fn begin(&mut self, caller: usize, callee: usize, manner: Manner, kind: &str) -> Saying {
        self.last_call += 1;
        let id = format!("{kind}_{}", self.last_call);
        let phone = self.users[caller].phones[0];
        let known = BTreeMap::from([(phone, Known::Live)]);
        let call = Call {
            number: self.last_call,
            caller: phone,
            callee,
            manner,
            known,
            is_decided: false,
            accepts: Vec::new(),
            is_active: false,
            ends_planned: false,
            wrote: Vec::new(),
            asked: Vec::new(),
            went_back: false,
        };
        self.calls.insert(id.clone(), call);
        for user in [caller, callee] {
            self.users[user].call.get_or_insert_with(|| id.clone());
        }
        let payload = json!({
            "callId": id, "receiverId": self.users[callee].name, "callType": "AUDIO",
            "channelName": format!("channel-{id}"), "agoraToken": "",
        });
        Saying { event: "call:initiate", call: id, payload }
    }

    /// False where a call is over for the phone that wants to say something about it.
    pub fn is_wanted(&mut self, phone: usize, saying: &Saying) -> bool {
        let Some(call) = self.calls.get_mut(&saying.call) else { return false };
        // A call that was given up may turn out to live.
        let is_wanted = call.known.get(&phone) == Some(&Known::Live) || saying.payload["insist"] == true;
        if is_wanted && saying.event == "call:accept" {
            call.accepts.push(phone);
        }
        is_wanted
    }

    /// The request by which a user says the same over HTTP. Only of one with a single phone: what such a verdict means
    /// for his other phones is their backend's affair.
    pub fn over_http(&self, phone: usize, saying: &Saying) -> Option<(&'static str, Value)> {
        let user = &self.users[self.seats[phone].seat.user];
        let call = self.calls.get(&saying.call).filter(|_| user.phones.len() == 1)?;
        let id = &saying.call;
        let caller = &self.users[self.seats[call.caller].seat.user].name;
        let callee = &self.users[call.callee].name;
        let both = json!({"callId": id, "callerId": caller, "receiverId": callee});
        match saying.event {
            "call:initiate" => {
                let mut body = saying.payload.clone();
                body["callerId"] = caller.as_str().into();
                body["callerName"] = caller.as_str().into();
                Some(("/api/calls", body))
            }
            "call:accept" => Some(("/api/emit/call-accepted", both)),
            "call:reject" => Some(("/api/emit/call-rejected", both)),
            "call:cancel" if phone == call.caller => {
                Some(("/api/emit/call-cancelled", json!({"callId": id, "receiverId": callee})))
            }
            "call:end" => Some(("/api/emit/call-ended", json!({"callId": id, "endedBy": user.name}))),
            _ => None,
        }
    }

    /// Whether the phone initiated the call or is one of the callee's.
    pub fn is_in(&self, phone: usize, id: &str) -> bool {
        let user = self.seats[phone].seat.user;
        self.calls.get(id).is_some_and(|call| call.caller == phone || call.callee == user)
    }

    /// A newer call puts an older one out of the phone's mind.
    pub fn turn_to(&mut self, phone: usize, id: &str) {
        let Some(number) = self.calls.get(id).map(|call| call.number) else { return };
        let is_older = |call: &Call| call.number < number && call.known.get(&phone) == Some(&Known::Live);
        let older: Vec<String> =
            self.calls.iter().filter(|(_, call)| is_older(call)).map(|(older, _)| older.clone()).collect();
        older.iter().for_each(|older| self.over(older, phone));
    }

    pub fn has_accepted(&self, phone: usize, id: &str) -> bool {
        self.calls.get(id).is_some_and(|call| call.accepts.contains(&phone))
    }

    pub fn node_of(&self, phone: usize) -> Option<&str> {
        self.seats[phone].node.as_deref()
    }

    /// The call is over for a phone. Once it is for all that know it, both users are free again.
    pub fn over(&mut self, id: &str, phone: usize) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Some(known) = call.known.get_mut(&phone) {
            *known = Known::Over;
        }
        if call.is_over() {
            for user in self.users.iter_mut().filter(|user| user.call.as_deref() == Some(id)) {
                user.call = None;
            }
        }
    }
}

impl Call {
    pub fn is_over(&self) -> bool {
        self.known.values().all(|known| *known == Known::Over)
    }
}
