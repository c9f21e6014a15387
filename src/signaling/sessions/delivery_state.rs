//! What a session was told of its calls.

use std::collections::BTreeMap;

use crate::call::{Call, CallId, Notification, NotificationKind, Timestamp};
use crate::telemetry::metrics;

/// Of so many events it is remembered that they were said without a record.
const AHEAD: usize = 8;

/// The last a session was told: what is older, repeated or of an older call is not sent; but for the end of the call it
/// was in when it heard of a newer one.
#[derive(Default)]
pub struct DeliveryState {
    pub newest: CallDeliveryState,
    before: Option<CallDeliveryState>,
    /// A newer call that was over when the session first heard of it: who is in a call is not in that one.
    aside: Option<CallDeliveryState>,
    /// What was said of calls beside their records, the last few: that the callee is busy, with the answer to its own dial
    /// or by replay; what the backend said of a call that the store did not have, and that may be initiated yet.
    ahead: Vec<(CallId, NotificationKind)>,
    /// The calls of which `session:ready` said that they are over, and the newest order of the store then.
    over: (Vec<CallId>, u64),
}

/// Something that [`super::Session::notify`] leaves to be sent later.
pub struct Held {
    pub notification: Notification,
    pub at: Timestamp,
}

/// What [`super::Session::notify`] did.
#[derive(Default)]
pub struct Notified {
    pub sent: Vec<NotificationKind>,
    pub held: Vec<Held>,
    pub deaf: bool,
}

/// What a session was told of one call.
#[derive(Default)]
pub struct CallDeliveryState {
    pub call: Option<CallId>,
    place: Place,
    version: u64,
    /// It was here while the call was live.
    pub met_live: bool,
    /// It knows that the call is over.
    is_over: bool,
    /// When it was told to ring.
    pub rung_at: Timestamp,
    /// One bit for each [`NotificationKind`].
    sent: u16,
    /// The last numbers of what a call may have several of: request, response, change.
    numbers: BTreeMap<NotificationKind, u64>,
}

/// The place of a call in the order of all, and its dial: one that is made again after a loss has another place.
#[derive(Default)]
struct Place {
    rank: u64,
    born: u64,
}

impl CallDeliveryState {
    fn of(call: &Call) -> Self {
        Self { call: Some(call.id.clone()), place: Place { rank: call.rank(), born: call.born }, ..Self::default() }
    }

    /// As far as it was told.
    fn is_live(&self) -> bool {
        self.met_live && !self.is_over
    }

    pub fn was_sent(&self, kind: NotificationKind) -> bool {
        self.sent & (1 << kind as u16) != 0
    }

    /// Whether this was sent already, or of several of its kind a later one.
    pub fn knows(&self, notification: &Notification) -> bool {
        match notification.number() {
            Some(number) => self.numbers.get(&notification.kind()).is_some_and(|last| *last >= number),
            None => self.was_sent(notification.kind()),
        }
    }

    /// It is sent, or will be.
    pub fn note(&mut self, kind: NotificationKind, number: Option<u64>) {
        self.sent |= 1 << kind as u16;
        if let Some(number) = number {
            self.numbers.insert(kind, number);
        }
    }

    /// An id may have been another call's, which its owner took it back from.
    fn is_of(&self, call: &Call) -> bool {
        let is_its_dial = call.born != 0 && self.place.born == call.born;
        self.call.as_ref() == Some(&call.id) && (self.place.rank == call.rank() || is_its_dial)
    }

    /// False where more was told already; what is over does not come to life.
    fn advance_to(&mut self, call: &Call) -> bool {
        let is_older = (call.rank(), call.version.counter) < (self.place.rank, self.version);
        if is_older || self.is_over && call.is_live() {
            return false;
        }
        self.version = call.version.counter;
        self.place.rank = call.rank();
        self.met_live |= call.is_live();
        self.is_over |= !call.is_live();
        true
    }
}

impl DeliveryState {
    /// Whether it is the newest call, the one before it, or one that was over when it was told.
    pub fn is_of(&self, id: &CallId) -> bool {
        let known = [Some(&self.newest), self.before.as_ref(), self.aside.as_ref()];
        known.into_iter().flatten().any(|told| told.call.as_ref() == Some(id))
    }

    /// Whether it was here while that call was live.
    pub fn met_live(&self, id: &CallId) -> bool {
        let known = [Some(&self.newest), self.before.as_ref()];
        known.into_iter().flatten().any(|told| told.met_live && told.call.as_ref() == Some(id))
    }

    /// Whether it was told this of the call, by its record or without.
    pub fn knows(&self, id: &CallId, kind: NotificationKind) -> bool {
        let known = [Some(&self.newest), self.before.as_ref(), self.aside.as_ref()];
        known.into_iter().flatten().any(|told| told.call.as_ref() == Some(id) && told.was_sent(kind))
            || self.ahead.iter().any(|(of, said)| of == id && *said == kind)
    }

    /// It is told this of a call without its record.
    pub fn note_ahead(&mut self, id: &CallId, kind: NotificationKind) {
        if self.ahead.len() == AHEAD {
            self.ahead.remove(0);
        }
        self.ahead.push((id.clone(), kind));
    }

    /// What this record says and was told without it. Of a call that is live nothing was: it may ring, and end anew.
    pub fn told_ahead(&self, call: &Call) -> Vec<NotificationKind> {
        let of_call = self.ahead.iter().filter(|(id, _)| !call.is_live() && *id == call.id);
        of_call.map(|(_, kind)| *kind).collect()
    }

    /// `session:ready` says that these calls are over, when the store's newest order was this.
    pub fn greeted(&mut self, over: Vec<CallId>, order: u64) {
        self.over = (over, order);
    }

    /// A node that had not heard of the end would tell a phone, which has just been told, that the call was accepted. An id
    /// may be a newer call's since.
    fn was_over(&self, call: &Call) -> bool {
        let (over, order) = &self.over;
        call.is_live() && call.rank() <= *order && over.contains(&call.id)
    }

    /// What was told of this call, and whether it is older than the newest and was live when that came; absent where it, or
    /// this version of it, is too old.
    pub fn turn_to(&mut self, call: &Call) -> Option<(&mut CallDeliveryState, bool)> {
        if self.was_over(call) {
            return None;
        }
        if call.is_live() {
            self.ahead.retain(|(id, _)| *id != call.id);
        }
        if self.before.as_ref().is_some_and(|before| before.is_of(call)) {
            return self.before.as_mut().and_then(|before| before.advance_to(call).then_some((before, false)));
        }
        if !self.newest.is_of(call) {
            // What was told to be over does not ring any more.
            let newest_told = self.aside.as_ref().map_or(0, |aside| aside.place.rank).max(self.newest.place.rank);
            if self.newest.call.is_some() && call.rank() < newest_told {
                metrics::older_call_dropped();
                return None;
            }
            let is_aside = self.aside.as_ref().is_some_and(|aside| aside.is_of(call));
            if is_aside || self.newest.is_live() && !call.is_live() {
                let aside = self.aside.take().filter(|_| is_aside);
                let aside = self.aside.insert(aside.unwrap_or_else(|| CallDeliveryState::of(call)));
                return aside.advance_to(call).then_some((aside, true));
            }
            let old = std::mem::replace(&mut self.newest, CallDeliveryState::of(call));
            if old.is_live() {
                self.before = Some(old);
            }
        }
        self.newest.advance_to(call).then_some((&mut self.newest, true))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{EndReason, Version};
    use crate::store::contract::call;

    fn dialled(id: &str, order: u64) -> Call {
        Call { order, ..call(id, "ana", "bo", Timestamp::from_millis(1_000_000)) }
    }

    fn over(call: &Call) -> Call {
        call.ended(EndReason::Busy, None, None, call.created_at + Duration::from_secs(1))
    }

    /// The backend dialled for somebody who was in a call, and the callee was busy: the session turned to that call, and
    /// heard no answer to its request for video in its own.
    #[test]
    fn a_newer_call_that_is_over_turns_nobody_away() {
        let (live, busy) = (dialled("1", 1), over(&dialled("2", 2)));
        let mut told = DeliveryState::default();
        assert!(told.turn_to(&live).is_some_and(|(_, is_newest)| is_newest));
        let (aside, is_newest) = told.turn_to(&busy).expect("it is told");
        assert!(is_newest && !aside.was_sent(NotificationKind::Busy));
        aside.note(NotificationKind::Busy, None);
        assert!(told.turn_to(&busy).is_some_and(|(aside, _)| aside.was_sent(NotificationKind::Busy)), "and not twice");
        assert!(told.turn_to(&live).is_some_and(|(_, is_newest)| is_newest), "the live call goes on");
        // What was read before they ended comes late, and rings nobody.
        assert!(told.turn_to(&dialled("2", 2)).is_none(), "it is known to be over");
        let busy_too = over(&dialled("4", 4));
        assert!(told.turn_to(&busy_too).is_some_and(|(_, is_newest)| is_newest));
        assert!(told.turn_to(&dialled("3", 3)).is_none(), "older than what was told");
        assert!(told.turn_to(&dialled("5", 5)).is_some_and(|(_, is_newest)| is_newest));
    }

    #[test]
    fn a_newer_call_turns_away_from_an_older_one_but_for_its_end() {
        let (older, newer) = (dialled("1", 2), dialled("2", 3));
        let mut told = DeliveryState::default();
        told.turn_to(&older);
        told.turn_to(&newer);
        assert!(told.turn_to(&over(&older)).is_some_and(|(_, is_newest)| !is_newest));
        assert!(told.turn_to(&dialled("0", 1)).is_none());
        assert!(told.turn_to(&over(&newer)).is_some_and(|(_, is_newest)| is_newest));
        assert!(told.turn_to(&over(&dialled("3", 4))).is_some_and(|(_, is_newest)| is_newest), "nobody is in a call");
        assert!(told.turn_to(&over(&newer)).is_none(), "and it is the newest now");
    }

    /// The backend cancelled a call before it was initiated; when it was, a replay told the same phone once more.
    #[test]
    fn what_was_said_before_its_record_is_known() {
        let (kind, call) = (NotificationKind::Cancelled, dialled("1", 1));
        let mut told = DeliveryState::default();
        assert!(!told.knows(&call.id, kind) && told.told_ahead(&over(&call)).is_empty());
        told.note_ahead(&call.id, kind);
        assert!(told.knows(&call.id, kind), "said again, it is no news");
        assert!(!told.knows(&call.id, NotificationKind::Rejected) && !told.knows(&dialled("2", 2).id, kind));
        assert_eq!(told.told_ahead(&over(&call)), [kind]);
        assert!(told.told_ahead(&over(&dialled("2", 2))).is_empty());
        // It rings all the same, where what came before it was lost: its end is news.
        assert!(told.told_ahead(&call).is_empty());
        assert!(told.turn_to(&call).is_some());
        assert!(told.told_ahead(&over(&call)).is_empty());
        let (state, _) = told.turn_to(&over(&call)).expect("it is told");
        state.note(kind, None);
        assert!(told.knows(&call.id, kind), "from its record");
        (10..30).for_each(|id| told.note_ahead(&dialled(&id.to_string(), id).id, kind));
        assert_eq!(told.ahead.len(), AHEAD, "bounded, the newest stay");
        assert!(told.knows(&dialled("29", 29).id, kind) && !told.knows(&dialled("10", 10).id, kind));
    }

    /// A caller came back, was told that his ring had ended, and then by a node that knew an older record that it was accepted.
    #[test]
    fn what_the_greeting_said_is_over_is_over() {
        let (live, reused) = (dialled("1", 2), dialled("1", 4));
        let mut state = DeliveryState::default();
        state.greeted(vec![live.id.clone()], 3);
        assert!(state.turn_to(&live).is_none());
        assert!(state.turn_to(&over(&live)).is_some(), "how it ended may be told");
        assert!(state.turn_to(&reused).is_some(), "another call by the same id");
    }

    /// The reply to a dial is lost with the store that had written it: made again it has another place, and is the same ring.
    #[test]
    fn a_dial_that_is_made_again_after_a_loss_rings_once() {
        let mut told = DeliveryState::default();
        let of = |order, born| Call { born, ..dialled("1", order) };
        let (state, _) = told.turn_to(&of(5, 7)).unwrap();
        state.note(NotificationKind::Incoming, None);
        assert!(told.turn_to(&of(9, 7)).unwrap().0.was_sent(NotificationKind::Incoming));
        assert!(told.turn_to(&dialled("0", 6)).is_none(), "an older one");
        let at = |call: Call, counter| Call { version: Version { counter, ..call.version }, ..call };
        assert!(told.turn_to(&at(of(5, 7), 99)).is_none(), "of the ring that is lost");
        let (mut lost, ended) = (DeliveryState::default(), at(over(&of(9, 7)), 2));
        assert!(
            lost.turn_to(&at(of(5, 7), 3)).is_some() && lost.turn_to(&ended).is_some(),
            "however far that had come"
        );
        assert!(!told.turn_to(&of(10, 8)).unwrap().0.was_sent(NotificationKind::Incoming), "dialled anew");
    }
}
