use serde_json::{Value, json};

use crate::chaos::check::*;
use crate::chaos::history::Terms;

/// A history written by hand: Ana on one node, Bo with two phones on another, everybody connected at 0.
pub struct Scenario(pub Vec<Entry>);

pub const ANA: &str = "ana";
pub const BO: &str = "bo/a";
pub const BO_TOO: &str = "bo/b";

impl Scenario {
    pub fn new() -> Self {
        let terms = Terms { ring: 12_000, caller_grace: 5_000, call_grace: 20_000, lease: 10_000, asked: 4_000 };
        Self(Vec::new())
            .at(0, What::Run { seed: 1, terms })
            .open(0, ANA, 1, "node 1")
            .open(0, BO, 2, "node 2")
            .open(0, BO_TOO, 3, "node 2")
    }

    /// `seconds` in thousandths.
    pub fn at(mut self, millis: u64, what: What) -> Self {
        self.0.push(Entry { at: millis * 1000, what });
        self
    }

    pub fn open(self, millis: u64, phone: &str, session: u64, node: &str) -> Self {
        self.ready(millis, phone, session, node, None, &[])
    }

    pub fn ready(
        self,
        millis: u64,
        phone: &str,
        session: u64,
        node: &str,
        call: Option<Value>,
        ended: &[(&str, &str)],
    ) -> Self {
        let user = phone.split('/').next().unwrap_or_default().to_owned();
        let ended = ended.iter().map(|(call, reason)| json!({"callId": call, "reason": reason})).collect();
        let (phone, node) = (phone.to_owned(), node.to_owned());
        self.at(millis, What::Open { phone, user, acks: true, session, node, call, ended })
    }

    /// The same with phones that promised no `acks`.
    pub fn deployed(mut self) -> Self {
        for entry in &mut self.0 {
            if let What::Open { acks, .. } = &mut entry.what {
                *acks = false;
            }
        }
        self
    }

    pub fn close(self, millis: u64, phone: &str, session: u64) -> Self {
        self.at(millis, What::Close { phone: phone.into(), session, why: "cut".into() })
    }

    pub fn sent(self, millis: u64, phone: &str, event: &str) -> Self {
        let to = (event == "call:initiate").then(|| "bo".to_owned());
        let session = session_of(phone);
        self.at(
            millis,
            What::Sent { phone: phone.into(), session, event: event.into(), call: "CALL_1".into(), to, accepted: None },
        )
    }

    pub fn acked(self, millis: u64, phone: &str, event: &str, answer: Value) -> Self {
        let session = session_of(phone);
        let (phone, event, call) = (phone.into(), event.into(), "CALL_1".into());
        self.at(millis, What::Acked { phone, session, event, call, answer })
    }

    pub fn heard(self, millis: u64, phone: &str, event: &str) -> Self {
        self.heard_with(millis, phone, event, json!({}))
    }

    pub fn heard_with(self, millis: u64, phone: &str, event: &str, payload: Value) -> Self {
        let session = session_of(phone);
        let (phone, event, call) = (phone.into(), event.into(), "CALL_1".into());
        self.at(millis, What::Heard { phone, session, event, call, payload })
    }

    pub fn said(self, millis: u64, phone: &str, node: &str, event: &str) -> Self {
        let (phone, node, event, call) = (phone.into(), node.into(), event.into(), "CALL_1".into());
        self.at(millis, What::Said { phone, node, event, call, patience_ms: 500 })
    }

    pub fn answered_over_http(self, millis: u64, phone: &str, event: &str, status: Option<u16>) -> Self {
        let (phone, event, call) = (phone.into(), event.into(), "CALL_1".into());
        let answer = json!({"success": status == Some(200)});
        self.at(millis, What::Answered { phone, event, call, status, answer })
    }

    pub fn fault(self, from: u64, until: u64, kind: &str, target: &str) -> Self {
        let fault = self.0.len();
        let begin = What::Begin { fault, kind: kind.into(), target: target.into(), ringing: 1, active: 2, lost_ms: 0 };
        self.at(from, begin).at(until, What::Done { fault })
    }

    /// Ana rings Bo on both phones.
    pub fn rings(self) -> Self {
        self.sent(1000, ANA, "call:initiate")
            .heard(1010, BO, "call:incoming")
            .heard(1010, BO_TOO, "call:incoming")
            .acked(1020, ANA, "call:initiate", yes("trying"))
    }

    /// Bo answers on his first phone.
    pub fn answered(self) -> Self {
        self.rings()
            .sent(2000, BO, "call:accept")
            .acked(2010, BO, "call:accept", yes("active"))
            .heard(2010, ANA, "call:accepted")
            .heard_with(2010, BO_TOO, "call:cancelled", because("Answered elsewhere"))
    }

    /// Bo hangs up, and Ana hears of it.
    pub fn over(self) -> Self {
        self.answered().sent(3000, BO, "call:end").acked(3010, BO, "call:end", yes("ended")).heard_with(
            3010,
            ANA,
            "call:ended",
            because("Remote user ended call"),
        )
    }

    /// The names of the rules that were broken, when nothing happens for a minute more.
    pub fn broken(self) -> Vec<&'static str> {
        let last = self.0.iter().map(|entry| entry.at / 1000).max().unwrap_or(0);
        let scenario = self.at(last + 60_000, What::Settled { waited_ms: 0, open_calls: 0, away: 0 });
        judge(&scenario.0).violations.into_iter().map(|violation| violation.rule).collect()
    }
}

fn session_of(phone: &str) -> u64 {
    match phone {
        ANA => 1,
        BO => 2,
        _ => 3,
    }
}

pub fn yes(state: &str) -> Value {
    json!({"success": true, "state": state})
}

pub fn no(state: &str) -> Value {
    json!({"success": false, "code": "invalid_state", "state": state})
}

pub fn because(reason: &str) -> Value {
    json!({"reason": reason})
}
