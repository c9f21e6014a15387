//! "Why did it not ring?", answered in a sentence for people.

use std::fmt;
use std::time::Duration;

use super::cause::Course;
use super::{Call, Cause, Device, EndReason, Milestone, NodeId, Push, Role, Timestamp, UserId, What};

/// Why it did not ring, or what became of it if it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub cause: Cause,
    /// One sentence, with users, devices and nodes by name.
    pub sentence: String,
}

/// Answers from what is known at `now`; `timeline` is in order of time.
pub fn why(call: &Call, timeline: &[Milestone], now: Timestamp) -> Why {
    let course = Course { call, timeline, now };
    let cause = course.cause();
    Why { cause, sentence: course.sentence(cause) }
}

impl Course<'_> {
    fn sentence(&self, cause: Cause) -> String {
        let Call { caller, callee, .. } = self.call;
        let (caller, callee) = (&caller.user, &callee.user);
        match cause {
            Cause::Answered => {
                let after = self.call.accepted_at().map_or_else(String::new, |at| format!(" after {}", self.after(at)));
                let by = device(&self.call.callee.device);
                match self.last(What::Accepted).and_then(|accepted| accepted.node.as_ref()) {
                    _ if !self.call.callee.device.is_known() => format!("{callee} answered{after}, over the backend."),
                    Some(node) => format!("It rang, and {callee} answered{after} on {by}, at node {node}."),
                    None => format!("It rang, and {callee} answered{after} on {by}."),
                }
            }
            Cause::AnsweredUnheard => format!(
                "Whether it rang is not known: the backend ended it as a call that {callee} had answered, and that \
                 answer never came to this cluster."
            ),
            Cause::Rejected => format!("It rang, and {callee} rejected it{}{}.", self.lasted(), self.on_device()),
            Cause::Rings => format!("It rings: {} confirmed it {}.", self.confirmed(), self.rang_after()),
            Cause::RangUnanswered => format!(
                "It rang, and nobody answered: {} confirmed it {}, and the ring's time was up{}.",
                self.confirmed(),
                self.rang_after(),
                self.lasted()
            ),
            Cause::Withdrawn => format!(
                "It rang: {} confirmed it {}, and {}{}.",
                self.confirmed(),
                self.rang_after(),
                self.withdrawn(caller),
                self.lasted()
            ),
            Cause::Busy => format!("It did not ring: {caller} or {callee} was in another call, so nobody was rung."),
            Cause::OverBefore => {
                format!("It did not ring: word that it was over ({}) had come before the call itself.", self.reason())
            }
            Cause::NotYet => format!("It began {} ago, and no device of {callee} has confirmed yet.", self.age()),
            Cause::TooShort => format!(
                "It did not ring, as far as is known: {}{}, before a device of {callee} could confirm.",
                self.withdrawn(caller),
                self.lasted()
            ),
            Cause::CannotConfirm => format!(
                "Whether it rang is not known: {} told, and the app there promises no acknowledgements.",
                self.told()
            ),
            Cause::Unconfirmed => format!(
                "It did not ring: {} told, and none confirmed, so the connection was dead or the app asleep{}.",
                self.told(),
                self.push()
            ),
            Cause::NotReading => format!(
                "It did not ring: the connection of {}{} no longer took anything, and was closed{}.",
                self.last(What::Deaf).map_or_else(|| callee.to_string(), |deaf| of(callee, &deaf.device)),
                at_node(self.last(What::Deaf)),
                self.push()
            ),
            Cause::Undelivered => format!(
                "It did not ring: node {}, where a phone of {callee} was connected, did not hear of the call.",
                self.last(What::Undelivered).and_then(|lost| lost.node.as_ref()).map_or("unknown", NodeId::as_str)
            ),
            Cause::NoPhone => format!("It did not ring: {callee} had no phone connected{}.", self.push()),
            Cause::PushUnanswered => {
                format!("It did not ring: {callee} had no phone connected{}, and no phone came.", self.push())
            }
            Cause::HistoryLost => format!(
                "Whether it rang is not known: the store lost this call and a node put it back, without what became of \
                 {callee}'s phones."
            ),
            Cause::Unknown => format!("Whether it rang is not known: nothing is recorded of a phone of {callee}."),
        }
    }

    fn after(&self, at: Timestamp) -> Span {
        Span(at.since(self.call.created_at))
    }

    fn age(&self) -> Span {
        self.after(self.now)
    }

    fn rang_after(&self) -> String {
        self.call.rang_at.map_or_else(String::new, |at| format!("after {}", self.after(at)))
    }

    /// How long it was tried.
    fn lasted(&self) -> String {
        self.call.end().map_or_else(String::new, |end| format!(" after {}", self.after(end.at)))
    }

    /// Which device rings, and where.
    fn confirmed(&self) -> String {
        let callee = &self.call.callee.user;
        let ringing = self.last(What::Ringing);
        ringing.map_or_else(|| of(callee, &Device::Unknown), |ringing| of(callee, &ringing.device)) + &at_node(ringing)
    }

    fn on_device(&self) -> String {
        match self.call.end().and_then(|end| end.by.as_ref()) {
            Some(by) if by.device.is_known() => format!(" on {}", device(&by.device)),
            Some(_) | None => ", over the backend".into(),
        }
    }

    /// Which devices were told, with their nodes.
    fn told(&self) -> String {
        let callee = &self.call.callee.user;
        let mut told: Vec<String> = Vec::new();
        for milestone in self.all(What::Delivered) {
            let one = of(callee, &milestone.device) + &at_node(Some(milestone));
            if !told.contains(&one) {
                told.push(one);
            }
        }
        let verb = if told.len() == 1 { "was" } else { "were" };
        format!("{} {verb}", told.join(" and "))
    }

    fn push(&self) -> String {
        match (self.pushed_at(), self.call.push) {
            (Some(at), _) => format!("; a push was asked for after {}", self.after(at)),
            (None, Push::Unwanted) => "; no push was asked for by webhook, so the app's backend has to send one".into(),
            (None, _) => "; a push was due, and not asked for".into(),
        }
    }

    fn reason(&self) -> &'static str {
        self.call.end().map_or("live", |end| end.reason.name())
    }

    /// Who or what ended it, as the rest of a sentence.
    fn withdrawn(&self, caller: &UserId) -> String {
        let Some(end) = self.call.end() else { return "it goes on".into() };
        let by = end.by.as_ref().map(|by| match by.role {
            Role::Caller => caller,
            Role::Callee => &self.call.callee.user,
        });
        match (end.reason, by) {
            (EndReason::Cancelled, _) => format!("{caller} cancelled it"),
            (EndReason::Superseded, _) => format!("{caller} dialled another call"),
            (EndReason::CallerGone, _) => format!("the phone of {caller} was gone and did not come back"),
            (EndReason::Busy, _) => "it gave way to another call".into(),
            (EndReason::NoAnswer, _) => "its time was up".into(),
            (EndReason::Rejected | EndReason::HungUp { .. }, Some(by)) => format!("{by} ended it"),
            (EndReason::Rejected | EndReason::HungUp { .. }, None) => "the backend ended it".into(),
            (EndReason::Lost { .. } | EndReason::MaxDuration | EndReason::Other(_), _) => "it ended".into(),
        }
    }
}

/// A text that a phone chose, without what would move a terminal's cursor or turn the writing direction.
pub fn plain(text: &str) -> String {
    let is_shown = |c: &char| {
        !c.is_control() && !matches!(*c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(is_shown).collect()
}

fn device(device: &Device) -> String {
    match device {
        Device::Named(name) => format!("device {}", plain(name)),
        Device::Unknown | Device::Unnamed | Device::Other(_) => "a device without a name".into(),
    }
}

fn of(user: &UserId, device: &Device) -> String {
    match device {
        Device::Named(name) => format!("device {} of {user}", plain(name)),
        Device::Unknown | Device::Unnamed | Device::Other(_) => format!("a device of {user}"),
    }
}

fn at_node(milestone: Option<&Milestone>) -> String {
    milestone.and_then(|milestone| milestone.node.as_ref()).map_or_else(String::new, |node| format!(" at node {node}"))
}

/// A time as a person reads it.
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis @ 0..1000 => write!(f, "{millis} ms"),
            1000..60_000 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            millis => write!(f, "{} min {} s", millis / 60_000, millis / 1000 % 60),
        }
    }
}
