//! What a call's course comes down to, from its record and timeline; nothing is decided by it.

use std::time::Duration;

use super::{Call, End, EndReason, Milestone, Push, Timestamp, What};

/// A device confirms within this, or its connection is dead.
const CONFIRMS_WITHIN: Duration = Duration::from_secs(2);

/// Of a `delivered` milestone: the session promised no acknowledgements, so that it can't confirm.
pub const NO_ACKS: &str = "no_acks";

/// What a call's course comes down to. Each is a row of docs/troubleshooting.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Answered,
    /// The backend ended it as accepted, and the accept never came here.
    AnsweredUnheard,
    Rejected,
    /// It rings.
    Rings,
    /// It rang until its time was up.
    RangUnanswered,
    /// It rang, and somebody or something other than the callee ended that.
    Withdrawn,
    Busy,
    /// Its end was known before the call came.
    OverBefore,
    /// It began a moment ago.
    NotYet,
    /// It was over before a device could show it.
    TooShort,
    /// No device that was told can confirm.
    CannotConfirm,
    /// A device that promised to confirm did not.
    Unconfirmed,
    /// The connection of the device no longer takes anything.
    NotReading,
    /// The node of the device did not hear of the call.
    Undelivered,
    NoPhone,
    /// No phone was there, and none came after the push.
    PushUnanswered,
    /// The store lost the call's history.
    HistoryLost,
    Unknown,
}

impl Cause {
    pub const ALL: [Cause; 18] = [
        Cause::Answered,
        Cause::AnsweredUnheard,
        Cause::Rejected,
        Cause::Rings,
        Cause::RangUnanswered,
        Cause::Withdrawn,
        Cause::Busy,
        Cause::OverBefore,
        Cause::NotYet,
        Cause::TooShort,
        Cause::CannotConfirm,
        Cause::Unconfirmed,
        Cause::NotReading,
        Cause::Undelivered,
        Cause::NoPhone,
        Cause::PushUnanswered,
        Cause::HistoryLost,
        Cause::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Cause::Answered => "answered",
            Cause::AnsweredUnheard => "answered_unheard",
            Cause::Rejected => "rejected",
            Cause::Rings => "rings",
            Cause::RangUnanswered => "rang_unanswered",
            Cause::Withdrawn => "withdrawn",
            Cause::Busy => "busy",
            Cause::OverBefore => "over_before",
            Cause::NotYet => "not_yet",
            Cause::TooShort => "too_short",
            Cause::CannotConfirm => "cannot_confirm",
            Cause::Unconfirmed => "unconfirmed",
            Cause::NotReading => "not_reading",
            Cause::Undelivered => "undelivered",
            Cause::NoPhone => "no_phone",
            Cause::PushUnanswered => "push_unanswered",
            Cause::HistoryLost => "history_lost",
            Cause::Unknown => "unknown",
        }
    }
}

/// What is known of a call at a moment.
pub(super) struct Course<'a> {
    pub call: &'a Call,
    pub timeline: &'a [Milestone],
    pub now: Timestamp,
}

impl<'a> Course<'a> {
    /// The first that fits.
    pub fn cause(&self) -> Cause {
        if self.call.accepted_at().is_some() {
            return Cause::Answered;
        }
        match self.call.end() {
            Some(End { reason: EndReason::HungUp { accept_missed: true, .. }, .. }) => Cause::AnsweredUnheard,
            Some(end) if self.ended_at_birth(end) => match end.reason {
                EndReason::Busy => Cause::Busy,
                _ => Cause::OverBefore,
            },
            Some(End { reason: EndReason::Rejected, .. }) => Cause::Rejected,
            Some(end) if self.call.rang_at.is_some() => match end.reason {
                EndReason::NoAnswer => Cause::RangUnanswered,
                _ => Cause::Withdrawn,
            },
            None if self.call.rang_at.is_some() => Cause::Rings,
            Some(_) | None => self.silence(),
        }
    }

    /// Why nobody confirmed that it rings.
    fn silence(&self) -> Cause {
        let until = self.call.end().map_or(self.now, |end| end.at);
        if let Some(told) = self.all(What::Delivered).next() {
            if until.since(told.at) < CONFIRMS_WITHIN {
                return if self.call.is_live() { Cause::NotYet } else { Cause::TooShort };
            }
            let is_deaf = |told: &Milestone| self.all(What::Deaf).any(|deaf| deaf.device == told.device);
            if self.all(What::Delivered).all(is_deaf) {
                return Cause::NotReading;
            }
            let can_confirm = self.all(What::Delivered).any(|told| told.reason.as_deref() != Some(NO_ACKS));
            return if can_confirm { Cause::Unconfirmed } else { Cause::CannotConfirm };
        }
        if self.last(What::Deaf).is_some() {
            Cause::NotReading
        } else if self.last(What::Undelivered).is_some() {
            Cause::Undelivered
        } else if self.last(What::NoSession).is_some() {
            if self.pushed_at().is_some() { Cause::PushUnanswered } else { Cause::NoPhone }
        } else if self.last(What::Restored).is_some() {
            Cause::HistoryLost
        } else if until.since(self.call.created_at) < CONFIRMS_WITHIN {
            if self.call.is_live() { Cause::NotYet } else { Cause::TooShort }
        } else {
            Cause::Unknown
        }
    }

    /// Written as a call that is over: nobody was to ring.
    fn ended_at_birth(&self, end: &End) -> bool {
        let reached_for = [What::Delivered, What::Deaf, What::NoSession, What::Undelivered, What::Restored];
        end.at <= self.call.created_at
            && self.call.rang_at.is_none()
            && !reached_for.into_iter().any(|what| self.last(what).is_some())
    }

    pub fn all(&self, what: What) -> impl Iterator<Item = &'a Milestone> + use<'a> {
        self.timeline.iter().filter(move |milestone| milestone.what == what)
    }

    pub fn last(&self, what: What) -> Option<&'a Milestone> {
        self.all(what).last()
    }

    pub fn pushed_at(&self) -> Option<Timestamp> {
        match self.call.push {
            Push::Asked(at) => Some(at),
            Push::Unwanted | Push::Due(_) | Push::Other(_) => self.last(What::PushRequired).map(|asked| asked.at),
        }
    }
}
