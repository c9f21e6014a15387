//! The rules of one call.

use std::collections::{BTreeMap, BTreeSet};

use super::ends::{Known, Ways, Word, is_dialled, tells_of_the_call, word};
use super::facts::{Call, Facts, MILLI, SECOND, Session};
use super::messages::MESSAGE;
use super::video::is_of_video;
use super::{Learned, Violation};
use crate::chaos::history::{Entry, What};

/// Within this, in peace, an end reaches whoever is connected: active calls are compared every 10 s.
pub(super) const HEARD_WITHIN: u64 = 12 * SECOND;
/// To a phone without `acks` an answer to an accept that lost is held this long.
pub(super) const HELD: u64 = 8 * SECOND;
/// An unconfirmed ring is told again with the comparison every 2 s.
const RINGS_WITHIN: u64 = 4 * SECOND;
/// A deadline that no timer fired is claimed within a second by another node.
pub(super) const OVERDUE: u64 = 3 * SECOND;
/// A decision older than this is not spoken.
const LATE_DECISION: u64 = 2 * SECOND;
/// What clocks, timers and the way to the phone may make of a time.
pub(super) const SLACK: u64 = SECOND / 2;

/// What became of a call.
pub struct Judged {
    pub violations: Vec<Violation>,
    pub is_over: bool,
    /// Some phone learned that it exists.
    pub is_known: bool,
    pub ways: Ways,
    pub learned: Learned,
}

/// What one phone has to do with a call.
#[derive(Default)]
pub(super) struct Share<'a> {
    /// When it learned that the call exists.
    pub knows: Option<u64>,
    /// When it was done with it, and the line that said so.
    pub freed: Option<(u64, &'a Entry)>,
}

pub fn judge(facts: &Facts<'_>, call: &Call<'_>) -> Judged {
    let mut court = Court::new(facts, call);
    court.read();
    court.agreement();
    court.ends();
    court.rings();
    court.overdue();
    court.early_ends();
    court.words();
    court.video();
    court.messages();
    Judged {
        learned: court.learned(),
        is_over: court.ended.is_some(),
        is_known: court.shares.values().any(|share| share.knows.is_some()),
        ways: court.ways,
        violations: court.violations,
    }
}

pub(super) struct Court<'a> {
    pub facts: &'a Facts<'a>,
    pub call: &'a Call<'a>,
    pub shares: BTreeMap<&'a str, Share<'a>>,
    /// Of all that was said.
    pub ways: Ways,
    /// What was said when of how it ended.
    said: Vec<(u64, Ways)>,
    /// When somebody first knew that it had ended.
    pub ended: Option<u64>,
    accepted_at: Option<u64>,
    violations: Vec<Violation>,
}

impl<'a> Court<'a> {
    fn new(facts: &'a Facts<'a>, call: &'a Call<'a>) -> Self {
        let shares = BTreeMap::from([(call.caller, Share::default())]);
        let (said, violations) = (Vec::new(), Vec::new());
        Self { facts, call, shares, ways: Ways::ANY, said, ended: None, accepted_at: None, violations }
    }

    pub fn blame(&mut self, rule: &'static str, at: u64, text: String) {
        self.violations.push(Violation { rule, at, call: Some(self.call.id.to_owned()), text });
    }

    /// Reads the lines in order: what each phone learned when, and what may not be said twice or to strangers.
    fn read(&mut self) {
        let mut heard: BTreeSet<(u64, &str)> = BTreeSet::new();
        let mut accepts: BTreeMap<&str, Known> = BTreeMap::new();
        let mut winners: BTreeSet<&str> = BTreeSet::new();
        let mut dialled = false;
        for &line in &self.call.lines {
            let at = line.at;
            let (phone, session) = match &line.what {
                What::Open { phone, session, .. } | What::Sent { phone, session, .. } => (phone.as_str(), *session),
                What::Acked { phone, session, .. } | What::Heard { phone, session, .. } => (phone.as_str(), *session),
                What::Said { phone, .. } | What::Answered { phone, .. } => (phone.as_str(), 0),
                _ => continue,
            };
            let is_party = phone == self.call.caller || self.user_of(phone) == Some(self.call.callee_user);
            if let What::Heard { event, payload, .. } = &line.what {
                if !is_party && self.user_of(phone) != self.user_of(self.call.caller) {
                    self.blame("stranger", at, format!("{phone} is told {event} of a call that is not his"));
                }
                let is_answer = event == "call:ended" && accepts.get(phone).is_some_and(|accepts| accepts.refused);
                let is_exempt = is_answer || payload["repeat"] == true || event == "call:reject:confirmed";
                if !is_exempt && !is_of_video(event) && event != MESSAGE && !heard.insert((session, event)) {
                    self.blame("twice", at, format!("{phone} is told {event} twice in session {session}"));
                }
                if event == "call:incoming" {
                    self.ring(phone, session, at);
                }
            }
            if !is_party {
                continue;
            }
            if let What::Acked { event, answer, .. } = &line.what
                && event == "call:accept"
            {
                if answer["success"] == true {
                    self.accepted_at.get_or_insert(at);
                    winners.insert(phone);
                } else {
                    accepts.entry(phone).or_default().refused = true;
                }
            }
            if let What::Sent { event, .. } | What::Said { event, .. } = &line.what
                && event == "call:accept"
            {
                accepts.entry(phone).or_default().sent = true;
            }
            dialled |= is_dialled(line);
            let known = Known { dialled, ..accepts.get(phone).copied().unwrap_or_default() };
            let said = word(line, self.call.id, known);
            self.note(phone, at, line, said);
        }
        if winners.len() > 1 && !self.tolerates_loss() {
            let winners: Vec<&str> = winners.into_iter().collect();
            self.blame("two accepts", self.accepted_at.unwrap_or(0), format!("{} won", winners.join(" and ")));
        }
    }

    fn note(&mut self, phone: &'a str, at: u64, line: &'a Entry, said: Option<Word>) {
        let share = self.shares.entry(phone).or_default();
        if share.knows.is_none() && tells_of_the_call(line, self.call.id) {
            share.knows = Some(at);
        }
        let knew = share.knows.is_some();
        let Some(said) = said else { return };
        if said.frees && share.freed.is_none() {
            share.freed = Some((at, line));
        }
        self.ways = self.ways.and(said.ways);
        self.said.push((at, said.ways));
        if said.ends {
            self.ended.get_or_insert(at);
        }
        if let What::Acked { event, answer, .. } | What::Answered { event, answer, .. } = &line.what
            && (answer["code"] == "call_not_found" || answer["reason"] == "Call not found")
            && knew
            && !self.facts.died_with_the_store(self.call, at)
            && !self.tolerates_loss()
        {
            self.blame("forgotten", at, format!("{phone} is answered call_not_found to {event}"));
        }
    }

    /// Nothing rings after its end.
    fn ring(&mut self, phone: &str, session: u64, at: u64) {
        // Who only said so himself has not been told.
        let told = |(_, line): &(u64, &Entry)| !matches!(line.what, What::Said { .. });
        if let Some((freed, _)) = self.shares.get(phone).and_then(|share| share.freed).filter(told)
            && !self.tolerates_loss()
        {
            let ago = (at - freed) / 1000;
            self.blame("late ring", at, format!("{phone} rings {ago} ms after it was told that it is over"));
            return;
        }
        let Some(ended) = self.ended else { return };
        let Some(session) = self.facts.sessions.get(&session) else { return };
        let since = at.saturating_sub(ended);
        let in_peace = session.opened > ended || self.facts.calm(session, ended, since).is_some_and(|calm| calm <= at);
        if since > LATE_DECISION && in_peace && !self.tolerates_loss() {
            self.blame("late ring", at, format!("{phone} rings {} ms after the end", since / 1000));
        }
    }

    /// Both sides agree on the end.
    fn agreement(&mut self) {
        if self.tolerates_loss() {
            return;
        }
        let at = self.ended.unwrap_or(self.call.began);
        // What no node could put back in time is decided without it, on an older record or none: its accept may never have been.
        let since = self.facts.taken_by_a_loss(self.call, at).map_or(0, |taken| taken.start);
        let said = self.said.iter().filter(|(at, _)| *at >= since);
        if said.fold(Ways::ANY, |ways, (_, said)| ways.and(*said)).is_none() {
            self.blame("disagreement", at, "what the phones were told can't be true of one end".into());
        }
        let mut kinds: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for line in &self.call.lines {
            if let What::Heard { phone, session, event, .. } = &line.what
                && phone == self.call.caller
                && matches!(event.as_str(), "call:rejected" | "call:timeout" | "call:busy" | "call:ended")
            {
                kinds.entry(*session).or_default().insert(event);
            }
        }
        if let Some(kinds) = kinds.into_values().find(|kinds| kinds.len() > 1) {
            let kinds: Vec<&str> = kinds.into_iter().collect();
            self.blame("disagreement", self.ended.unwrap_or(0), format!("the caller is told {}", kinds.join(" and ")));
        }
    }

    /// Every phone that knows a call learns of its end.
    fn ends(&mut self) {
        let mut late = Vec::new();
        for (phone, share) in &self.shares {
            let Some(knows) = share.knows else { continue };
            // Nothing is told any more of a call older than the newest of a phone.
            let turned = self.facts.turned_from(phone, self.call);
            let freed = share.freed.map(|(at, _)| at).into_iter().chain(turned).min();
            let Some(ended) = self.ended else {
                if freed.is_none() {
                    late.push(("endless", self.facts.end, format!("{phone} never learned how it ended")));
                }
                continue;
            };
            let from = knows.max(ended);
            if freed.is_some_and(|freed| freed <= from) {
                continue;
            }
            let sessions = self.facts.phones.get(phone).into_iter().flat_map(|phone| &phone.sessions);
            for session in sessions.filter_map(|id| self.facts.sessions.get(id)) {
                let patience = if session.acks { HEARD_WITHIN } else { HEARD_WITHIN + HELD };
                let Some(due) = self.facts.calm(session, from, patience) else { continue };
                if freed.is_some_and(|freed| freed <= due) {
                    break;
                }
                // The list of outcomes went with the store, and an end that nobody else had yet.
                let is_lost = self.facts.lost_between(ended, session.opened) || self.tolerates_loss();
                if !is_lost {
                    let seconds = (due - from) / SECOND;
                    late.push(("unheard end", due, format!("{phone} was connected and not told within {seconds} s")));
                }
                break;
            }
        }
        late.into_iter().for_each(|(rule, at, text)| self.blame(rule, at, text));
    }

    /// A call that the caller was told to ring does ring.
    fn rings(&mut self) {
        let acked = self.call.lines.iter().find_map(|line| match &line.what {
            What::Acked { event, session, answer, .. } if event == "call:initiate" => Some((line.at, *session, answer)),
            _ => None,
        });
        let Some((at, asked_on, answer)) = acked else { return };
        let is_offline = answer["useFcmFallback"] == true;
        if answer["success"] != true && !is_offline {
            return;
        }
        let undisturbed = |session: &Session<'_>| {
            let from = self.call.began.saturating_sub(2 * SECOND);
            self.facts.calm(session, from, at - from).is_some_and(|calm| calm <= at)
        };
        // A node that can't read who is there trusts in the push.
        if is_offline && !self.facts.sessions.get(&asked_on).is_some_and(&undisturbed) {
            return;
        }
        let mut silent = Vec::new();
        // A ring whose time is over is not shown any more, though nobody may judge it yet.
        let rings_until = self.call.began + self.facts.terms.ring * MILLI;
        let settled = self.ended.into_iter().chain(self.accepted_at).fold(rings_until, u64::min);
        for (phone, session) in self.sessions_of_callee() {
            if is_offline {
                // Registered long before, in peace: he was there.
                if self.facts.calm(session, session.opened, 2 * SECOND).is_some_and(|calm| calm < self.call.began)
                    // One that is being closed has left the cluster before its phone knows.
                    && session.closed > at + SECOND
                    && undisturbed(session)
                {
                    silent.push((at, format!("{phone} is connected and taken for offline")));
                }
                continue;
            }
            let has_rung = self.call.lines.iter().any(|line| {
                matches!(&line.what, What::Heard { phone: heard, event, .. } if event == "call:incoming" && heard == phone)
            });
            if session.opened > self.call.began || has_rung {
                continue;
            }
            if let Some(due) = self.facts.calm(session, at, RINGS_WITHIN)
                && due < settled
                && !self.facts.died_with_the_store(self.call, due)
            {
                silent.push((due, format!("{phone} is connected and does not ring")));
            }
        }
        silent.into_iter().for_each(|(at, text)| self.blame("silent ring", at, text));
    }

    /// Nothing rings beyond its time: who does nothing about it is told the end.
    fn overdue(&mut self) {
        let Some(due) = self.rings_until().map(|until| until + OVERDUE) else { return };
        // Over HTTP too: the phone that accepted so rings no more, and no other is told "elsewhere".
        if self.accepted_at.is_some() || self.accepted_before(due) || self.ended.is_some_and(|ended| ended <= due) {
            return;
        }
        if self.facts.deadlines_rest(due) {
            return;
        }
        for (phone, share) in &self.shares {
            let Some(knows) = share.knows.filter(|_| share.freed.is_none_or(|(freed, _)| freed > due)) else {
                continue;
            };
            let sessions = self.facts.phones.get(phone).into_iter().flat_map(|phone| &phone.sessions);
            let sat = sessions.filter_map(|id| self.facts.sessions.get(id)).any(|session| {
                self.facts.calm(session, knows, due.saturating_sub(knows)).is_some_and(|calm| calm <= due)
            });
            if sat {
                self.blame("overdue ring", due, format!("{phone} still rings"));
                return;
            }
        }
    }

    /// When the ring was to end, as the callee or else the caller was told.
    fn rings_until(&self) -> Option<u64> {
        let told = self.call.lines.iter().find_map(|line| match &line.what {
            What::Heard { event, payload, .. } if event == "call:incoming" => {
                Some(line.at + payload["expiresInMs"].as_u64()? * 1000)
            }
            _ => None,
        });
        let acked = self.call.lines.iter().find_map(|line| match &line.what {
            What::Acked { event, .. } if event == "call:initiate" => Some(line.at + self.facts.terms.ring * 1000),
            _ => None,
        });
        told.or(acked)
    }

    /// Nobody is gone, and nothing times out, before his time.
    fn early_ends(&mut self) {
        let Some(ended) = self.ended else { return };
        let terms = self.facts.terms;
        let grace = |millis: u64| (millis * 1000).saturating_sub(SLACK);
        if self.ways == Ways::NO_ANSWER && ended - self.call.began < grace(terms.ring) {
            self.blame("early end", ended, "it timed out before its time".into());
        }
        let absent = |phone: &str, grace: u64| self.facts.longest_absence(phone, self.call.began, ended) >= grace;
        let is_early = if self.ways == Ways::CALLER_GONE {
            !absent(self.call.caller, grace(terms.caller_grace))
        } else if self.ways == Ways::LOST {
            // Without `acks` a lost socket is not believed: it takes a newer call besides.
            let follows = |within| self.facts.is_followed(self.call, within);
            let gives_way = follows(self.call.began..ended + SLACK);
            let believed = |phone: &str| gives_way || self.facts.promised_acks(phone);
            // What is put back after the others stopped waiting gives way to a call that was dialled meanwhile.
            let comes_late = self.facts.taken_by_a_loss(self.call, ended).is_some_and(follows);
            !comes_late && !self.shares.keys().any(|phone| absent(phone, grace(terms.call_grace)) && believed(phone))
        } else {
            false
        };
        if is_early {
            self.blame("early end", ended, "it ended by absence and nobody was away for long enough".into());
        }
    }

    fn learned(&self) -> Learned {
        let mut learned = Learned::default();
        if self.ended.is_none() {
            return learned;
        }
        for share in self.shares.values().filter(|share| share.knows.is_some()) {
            match share.freed.map(|(_, line)| &line.what) {
                Some(What::Acked { .. } | What::Said { .. } | What::Answered { .. }) => learned.by_own_word += 1,
                Some(What::Open { .. }) => learned.by_ready += 1,
                Some(_) => learned.by_event += 1,
                None => learned.never += 1,
            }
        }
        learned
    }

    /// An ended call is not put back after a loss of the store, only live ones are: what ended just before is not
    /// certain.
    pub(super) fn tolerates_loss(&self) -> bool {
        let acked = |line: &&&Entry| {
            matches!(line.what, What::Acked { .. } | What::Heard { .. } | What::Sent { .. } | What::Answered { .. })
        };
        self.call.lines.iter().filter(acked).any(|line| {
            self.facts.may_be_lost(line.at) && word(line, self.call.id, Known::default()).is_some_and(|word| word.ends)
        })
    }

    pub(super) fn user_of(&self, phone: &str) -> Option<&'a str> {
        self.facts.phones.get(phone).map(|phone| phone.user)
    }

    fn sessions_of_callee(&self) -> impl Iterator<Item = (&'a str, &'a Session<'a>)> {
        let phones = self.facts.phones.iter().filter(|(_, phone)| phone.user == self.call.callee_user);
        let of_phone = |id: &u64| self.facts.sessions.get(id);
        phones.flat_map(move |(name, phone)| phone.sessions.iter().filter_map(of_phone).map(|session| (*name, session)))
    }
}
