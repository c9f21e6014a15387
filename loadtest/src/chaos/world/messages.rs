//! What both sides of an accepted call write to each other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::state::Call;
use super::{AGAIN, World};
use crate::chaos::handset::Saying;
use crate::chaos::manner::Messages;

pub const MESSAGE: &str = "call:message";

impl Call {
    /// What the phone, which knows that the call was accepted, is to write; once.
    pub fn is_to_write(&mut self, phone: usize) -> Option<Messages> {
        let is_first = !self.wrote.contains(&phone);
        if is_first {
            self.wrote.push(phone);
        }
        self.manner.messages.filter(|_| is_first)
    }
}

impl World {
    pub(super) fn write(self: &Arc<Self>, phone: usize, id: &str, messages: Messages) {
        for number in 0..messages.number {
            let payload = json!({"callId": id, "keep": true, "messageId": format!("{phone}-{number}"), "data": number});
            let saying = Saying { event: MESSAGE, call: id.to_owned(), payload };
            self.repeat_later(phone, saying, messages.every * number);
        }
    }

    /// What the own message was answered: what could not be taken is written again, under the same id.
    pub(super) fn message_acked(self: &Arc<Self>, phone: usize, said: &Saying, answer: &Value) {
        match answer["code"].as_str() {
            Some("unavailable") => self.repeat_later(phone, said.clone(), AGAIN),
            Some("call_not_found" | "not_a_participant") => self.state().over(&said.call, phone),
            Some("invalid_state") if answer["state"] == "ended" => self.state().over(&said.call, phone),
            _ => {}
        }
    }
}
