//! What people do about video inside an accepted call.

use std::sync::Arc;

use serde_json::{Value, json};

use super::state::{Call, Known};
use super::{AGAIN, World};
use crate::chaos::handset::Saying;
use crate::chaos::manner::VideoCourse;

/// Whether a phone says this of the type of a call.
pub fn is_said_of_video(event: &str) -> bool {
    matches!(event, "call:upgrade" | "call:upgrade:response" | "call:downgrade")
}

impl Call {
    /// Whether the phone, which knows that the call was accepted, is to ask for video; once.
    pub fn is_to_ask(&mut self, phone: usize) -> bool {
        let Some(video) = self.manner.video else { return false };
        let is_its_turn = video.course == VideoCourse::BothAsk || video.caller_asks == (phone == self.caller);
        let is_first = !self.asked.contains(&phone);
        if is_its_turn && is_first {
            self.asked.push(phone);
        }
        is_its_turn && is_first
    }
}

impl World {
    /// A phone is told something about the type of the call it is in.
    pub(super) fn hears_of_video(self: &Arc<Self>, phone: usize, event: &str, id: &str, payload: &Value) {
        let state = self.state();
        let Some(call) = state.calls.get(id).filter(|call| call.known.get(&phone) == Some(&Known::Live)) else {
            return;
        };
        let Some(video) = call.manner.video else { return };
        let asked = call.asked.clone();
        drop(state);
        match event {
            "call:upgrade:request" => {
                let answer = |accepted| self.repeat_later(phone, response(id, accepted), video.reacts);
                match video.course {
                    VideoCourse::Yes | VideoCourse::YesAndBack { .. } => answer(true),
                    VideoCourse::No => answer(false),
                    VideoCourse::AnswerMeetsEnd => {
                        answer(true);
                        asked.iter().for_each(|asker| self.say_later(*asker, "call:end", id.to_owned(), video.reacts));
                    }
                    VideoCourse::Silence | VideoCourse::BothAsk => {}
                }
            }
            "call:upgrade:response" if payload["accepted"] == true => self.is_video(phone, id, true),
            _ => {}
        }
    }

    /// What the own word about the type was answered.
    pub(super) fn video_acked(self: &Arc<Self>, phone: usize, said: &Saying, answer: &Value) {
        let is_yes = said.payload["accepted"] == true;
        match answer["code"].as_str() {
            None if answer["success"] == true && is_yes => self.is_video(phone, &said.call, false),
            Some("unavailable") => self.repeat_later(phone, said.clone(), AGAIN),
            Some("call_not_found" | "not_a_participant") => self.state().over(&said.call, phone),
            Some("invalid_state") if answer["state"] == "ended" => self.state().over(&said.call, phone),
            // It came too late, or somebody else did it.
            _ => {}
        }
    }

    /// Calls that asked for video.
    pub fn video_calls(&self) -> Vec<String> {
        let state = self.state();
        let mut asked: Vec<_> = state.calls.iter().filter(|(_, call)| !call.asked.is_empty()).collect();
        asked.sort_by_key(|(_, call)| call.number);
        asked.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// A phone knows that the call has video now: one side may go back, once.
    fn is_video(self: &Arc<Self>, phone: usize, id: &str, has_asked: bool) {
        let mut state = self.state();
        let Some(call) = state.calls.get_mut(id) else { return };
        let Some(video) = call.manner.video else { return };
        let goes_back = video.course == VideoCourse::YesAndBack { by_asker: has_asked };
        if goes_back && !std::mem::replace(&mut call.went_back, true) {
            drop(state);
            self.say_later(phone, "call:downgrade", id.to_owned(), video.reacts);
        }
    }
}

fn response(id: &str, accepted: bool) -> Saying {
    let payload = json!({"callId": id, "accepted": accepted});
    Saying { event: "call:upgrade:response", call: id.to_owned(), payload }
}
