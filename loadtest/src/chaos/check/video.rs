//! Switches between audio and video: every request is answered once and truly, and both sides end up with one type.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{SECOND, Session};
use super::rules::{Court, HEARD_WITHIN, OVERDUE, SLACK};
use crate::chaos::history::{Entry, What};
use crate::chaos::world::is_obeyed;

const ASK: &str = "call:upgrade";
const ANSWER: &str = "call:upgrade:response";
const BACK: &str = "call:downgrade";
const ASKED: &str = "call:upgrade:request";
const WENT_BACK: &str = "call:downgraded";

/// A node that has the store obeys what it has read within this.
const OBEYED_WITHIN: u64 = 2 * SECOND;

/// Whether a phone says or hears this of the type of a call: there may be several of each kind.
pub(super) fn is_of_video(event: &str) -> bool {
    matches!(event, ASK | ANSWER | BACK | ASKED | WENT_BACK)
}

/// Something that a phone said of the type.
struct Saying<'a> {
    phone: &'a str,
    session: u64,
    event: &'a str,
    accepted: Option<bool>,
    at: u64,
    /// When it was answered, whether it was done; nothing where that is unknown.
    answer: Option<(u64, Option<bool>)>,
}

/// Something that a phone was told of it.
struct Hearing<'a> {
    phone: &'a str,
    session: u64,
    event: &'a str,
    accepted: bool,
    reason: &'a str,
    at: u64,
}

/// What was said of the type of a call.
struct Talk<'a> {
    said: Vec<Saying<'a>>,
    heard: Vec<Hearing<'a>>,
}

impl Saying<'_> {
    fn is_done(&self) -> bool {
        matches!(self.answer, Some((_, Some(true))))
    }

    /// It may or may not have been done.
    fn is_open(&self) -> bool {
        !matches!(self.answer, Some((_, Some(_))))
    }

    fn is_yes(&self) -> bool {
        self.event == ANSWER && self.accepted == Some(true)
    }
}

impl<'a> Talk<'a> {
    fn read(lines: &[&'a Entry]) -> Self {
        let mut talk = Self { said: Vec::new(), heard: Vec::new() };
        for &line in lines {
            match &line.what {
                What::Sent { phone, session, event, accepted, .. } if is_of_video(event) => {
                    let (accepted, session, at) = (*accepted, *session, line.at);
                    talk.said.push(Saying { phone, session, event, accepted, at, answer: None });
                }
                What::Acked { phone, session, event, answer, .. } if is_of_video(event) => {
                    let is_it = |saying: &&mut Saying<'_>| {
                        saying.phone == phone
                            && saying.session == *session
                            && saying.event == event
                            && saying.answer.is_none()
                    };
                    let is_known = answer["code"] != "unavailable";
                    if let Some(saying) = talk.said.iter_mut().find(is_it) {
                        saying.answer = Some((line.at, is_known.then_some(answer["success"] == true)));
                    }
                }
                What::Heard { phone, session, event, payload, .. } if is_of_video(event) => {
                    let (accepted, reason) = (payload["accepted"] == true, payload["reason"].as_str());
                    let (session, at, reason) = (*session, line.at, reason.unwrap_or_default());
                    talk.heard.push(Hearing { phone, session, event, accepted, reason, at });
                }
                _ => {}
            }
        }
        talk
    }
}

/// How requests for video went, as those who asked were told.
pub(super) fn answers(entries: &[Entry]) -> BTreeMap<String, u64> {
    let mut answers = BTreeMap::new();
    for entry in entries {
        if let What::Heard { event, payload, .. } = &entry.what
            && event == ANSWER
        {
            let reason = payload["reason"].as_str().unwrap_or("accepted");
            *answers.entry(reason.to_owned()).or_default() += 1;
        }
    }
    answers
}

impl Court<'_> {
    /// Whatever was said of video.
    pub(super) fn video(&mut self) {
        let talk = Talk::read(&self.call.lines);
        if talk.said.is_empty() && talk.heard.is_empty() {
            return;
        }
        self.hears_what_was_said(&talk);
        self.answers_are_true(&talk);
        self.requests_are_answered(&talk);
        self.sides_have_one_type(&talk);
        self.record_has_their_type(&talk);
    }

    /// Only the devices in the call hear of it, and each time once in a session.
    fn hears_what_was_said(&mut self, talk: &Talk<'_>) {
        let mut counts: BTreeMap<(u64, &str), usize> = BTreeMap::new();
        for heard in &talk.heard {
            let is_party =
                self.user_of(heard.phone) == Some(self.call.callee_user) || self.is_of_the_caller(heard.phone);
            if is_party && !self.is_in_the_call(heard.phone) {
                let text = format!("{} is told {} and is not the device in the call", heard.phone, heard.event);
                self.blame("stranger", heard.at, text);
            }
            let causes = talk.said.iter().filter(|said| {
                let is_cause = match heard.event {
                    ANSWER => said.event == ASK && said.phone == heard.phone,
                    ASKED => said.event == ASK && self.is_other_side(said.phone, heard.phone),
                    _ => said.event == BACK && self.is_other_side(said.phone, heard.phone),
                };
                is_cause && said.at <= heard.at
            });
            let causes = causes.count();
            let count = counts.entry((heard.session, heard.event)).or_default();
            *count += 1;
            if *count > causes {
                let times = *count;
                let text = format!("{} is told {} {times} times, of {causes}", heard.phone, heard.event);
                self.blame("twice", heard.at, text);
            }
        }
    }

    /// A yes was said, a no too, and nobody's time was cut short.
    fn answers_are_true(&mut self, talk: &Talk<'_>) {
        for heard in talk.heard.iter().filter(|heard| heard.event == ANSWER) {
            let other_said = |is_it: &dyn Fn(&Saying<'_>) -> bool| {
                let before = talk.said.iter().filter(|said| said.at <= heard.at);
                before.filter(|said| self.is_other_side(said.phone, heard.phone)).any(is_it)
            };
            let asked = talk.said.iter().find(|said| said.event == ASK && said.phone == heard.phone);
            let is_early = asked.is_some_and(|asked| {
                heard.at.saturating_sub(asked.at) < (self.facts.terms.asked * 1000).saturating_sub(SLACK)
            });
            let wrong = if heard.accepted {
                (!other_said(&|said| said.is_yes() || said.event == ASK)).then_some("a yes that nobody said")
            } else if heard.reason == "User declined" {
                (!other_said(&|said| said.event == ANSWER && !said.is_yes())).then_some("a no that nobody said")
            } else if heard.reason == "No answer" {
                is_early.then_some("that nobody answers, before the time is over")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                self.blame("wrong answer", heard.at, format!("{} is told {wrong}", heard.phone));
            }
        }
    }

    /// Who asked hears how it was answered: in time, before the end of the call, after his own end of it.
    fn requests_are_answered(&mut self, talk: &Talk<'_>) {
        let mut silent = Vec::new();
        for asked in talk.said.iter().filter(|said| said.event == ASK && said.is_done()) {
            let Some((at, _)) = asked.answer else { continue };
            let phone = asked.phone;
            let first = talk.said.iter().find(|said| said.event == ASK && said.phone == phone);
            let since = first.map_or(asked.at, |first| first.at);
            if talk.heard.iter().any(|heard| heard.event == ANSWER && heard.phone == phone && heard.at >= since) {
                continue;
            }
            let turned = self.facts.turned_from(phone, self.call);
            let freed = self.shares.get(phone).and_then(|share| share.freed).map(|(at, _)| at);
            let over = [turned, freed, self.ended].into_iter().flatten().min().unwrap_or(u64::MAX);
            // What was said by the other side may have to be found by comparing.
            let is_answered = talk.said.iter().any(|said| said.event != BACK && self.is_other_side(said.phone, phone));
            let patience = self.facts.terms.asked * 1000 + OVERDUE + if is_answered { HEARD_WITHIN } else { 0 };
            let waited = self.sessions_of(phone).filter_map(|session| self.facts.calm(session, at, patience)).min();
            let is_due =
                |due: &u64| !self.facts.died_with_the_store(self.call, *due) && !self.facts.deadlines_rest(*due);
            if let Some(due) = waited.filter(|due| *due < over && is_due(due)) {
                silent.push((due, format!("{phone} asked for video and hears no answer")));
                continue;
            }
            let Some(session) = self.facts.sessions.get(&asked.session) else { continue };
            let ends = self.call.lines.iter().find_map(|line| match &line.what {
                What::Heard { session, event, .. } if *session == asked.session && event == "call:ended" => {
                    Some(line.at)
                }
                What::Acked { session, event, answer, .. }
                    if *session == asked.session && event == "call:end" && answer["success"] == true =>
                {
                    self.facts.calm(self.facts.sessions.get(session)?, line.at, HEARD_WITHIN)
                }
                _ => None,
            });
            if let Some(end) = ends.filter(|end| *end <= session.closed && turned.is_none_or(|turned| turned > *end))
                && !self.facts.died_with_the_store(self.call, end)
                && !self.tolerates_loss()
            {
                silent.push((end, format!("{phone} asked for video, and the call ends without an answer")));
            }
        }
        silent.into_iter().for_each(|(at, text)| self.blame("unanswered", at, text));
    }

    /// When the last word about the type had its effect at the latest.
    fn settled_type(&self, talk: &Talk<'_>) -> Option<u64> {
        let effects = talk.said.iter().map(|said| {
            if let Some((at, _)) = said.answer {
                return at;
            }
            let Some(session) = self.facts.sessions.get(&said.session) else { return said.at };
            // It may lie in the buffer of a node that stands still.
            let closed = self.facts.killed_at(session.node).unwrap_or(self.facts.end);
            let at_node = Session { node: session.node, acks: true, opened: said.at, closed, stalls: Vec::new() };
            self.facts.calm(&at_node, said.at, OBEYED_WITHIN).unwrap_or(closed)
        });
        effects.max()
    }

    /// Who stays connected in peace to a call that goes on knows its type.
    fn sides_have_one_type(&mut self, talk: &Talk<'_>) {
        let Some(settled) = self.settled_type(talk) else { return };
        let Some(callee) = self.only_winner() else { return };
        let caller = self.call.caller;
        let over = [caller, callee].into_iter().flat_map(|phone| {
            let freed = self.shares.get(phone).and_then(|share| share.freed).map(|(at, _)| at);
            [freed, self.facts.turned_from(phone, self.call)]
        });
        let over = over.chain([self.ended]).flatten().min().unwrap_or(u64::MAX);
        let pairs = self.sessions_of(caller).flat_map(|his| self.sessions_of(callee).map(move |hers| (his, hers)));
        let due = pairs.filter_map(|(his, hers)| {
            let [first, second] = [his, hers].map(|session| self.facts.calm(session, settled, HEARD_WITHIN));
            let due = first?.max(second?);
            (due <= his.closed && due <= hers.closed).then_some(due)
        });
        let Some(due) = due.min().filter(|due| *due < over) else { return };
        let [one, other] = [caller, callee].map(|phone| self.knows_video(phone, due));
        if one != other && !self.facts.died_with_the_store(self.call, due) {
            let name = |is_video| if is_video { "video" } else { "audio" };
            let text = format!("{caller} has {}, {callee} has {}", name(one), name(other));
            self.blame("two types", due, text);
        }
    }

    /// What a phone was told of the type by then.
    fn knows_video(&self, phone: &str, until: u64) -> bool {
        let mut is_video = false;
        // What it said and was not answered yet: whether that is a yes, and whether something later came first.
        let mut open: Vec<(&str, bool, bool)> = Vec::new();
        for line in self.call.lines.iter().filter(|line| line.at <= until) {
            let (told, overtaken) = match &line.what {
                What::Open { phone: by, call: Some(call), .. } if by == phone && call["callId"] == self.call.id => {
                    (Some(call["callType"] == "VIDEO"), open.len())
                }
                What::Heard { phone: by, event, payload, .. } if by == phone => match event.as_str() {
                    ANSWER if payload["accepted"] == true => (Some(true), open.len()),
                    WENT_BACK => (Some(false), open.len()),
                    _ => continue,
                },
                What::Sent { phone: by, event, accepted, .. } if by == phone => {
                    open.retain(|(said, ..)| said != event);
                    open.push((event, *accepted == Some(true), false));
                    continue;
                }
                What::Acked { phone: by, event, answer, .. } if by == phone && answer["success"] == true => {
                    let Some(place) = open.iter().position(|(said, ..)| said == event) else { continue };
                    let (_, is_yes, is_overtaken) = open.remove(place);
                    let told = match event.as_str() {
                        ANSWER if is_yes => Some(true),
                        BACK => Some(false),
                        _ => None,
                    };
                    // The answer may have been overtaken by what the other side did then; a later word of its own was not.
                    (told.filter(|_| !is_overtaken), place)
                }
                _ => continue,
            };
            if let Some(told) = told {
                is_video = told;
                open[..overtaken].iter_mut().for_each(|(.., is_overtaken)| *is_overtaken = true);
            }
        }
        is_video
    }

    /// What was done, as phones were told, is in the record. Judged where nobody asked twice.
    fn record_has_their_type(&mut self, talk: &Talk<'_>) {
        let recorded = self.call.lines.iter().find_map(|line| match &line.what {
            What::Record { call_type: Some(call_type), .. } => Some((line.at, call_type.as_str())),
            _ => None,
        });
        let Some((at, recorded)) = recorded else { return };
        let asks: Vec<&Saying<'_>> = talk.said.iter().filter(|said| said.event == ASK).collect();
        let is_twice = asks.iter().any(|one| asks.iter().filter(|other| other.phone == one.phone).count() > 1);
        let evidence = |is_it: &dyn Fn(&Saying<'_>) -> bool, is_told: &dyn Fn(&Hearing<'_>) -> bool| {
            let said = talk.said.iter().filter(|said| said.is_done() && is_it(said)).map(|said| said.at);
            let heard = talk.heard.iter().filter(|heard| is_told(heard)).map(|heard| heard.at);
            said.chain(heard).min()
        };
        let yes = evidence(&|said| said.is_yes(), &|heard| heard.event == ANSWER && heard.accepted);
        let back = evidence(&|said| said.event == BACK, &|heard| heard.event == WENT_BACK);
        let is_open = |is_it: &dyn Fn(&Saying<'_>) -> bool| talk.said.iter().any(|said| said.is_open() && is_it(said));
        let expected = match (yes, back) {
            (_, Some(_)) => "AUDIO",
            (Some(_), None) if is_open(&|said| said.event == BACK) => return,
            (Some(_), None) => "VIDEO",
            (None, None) if asks.len() > 1 || is_open(&|said| said.is_yes()) => return,
            (None, None) => "AUDIO",
        };
        let is_lost = [yes, back].into_iter().flatten().any(|at| self.facts.may_be_lost(at));
        if !is_twice
            && expected != recorded
            && !is_lost
            && !self.facts.died_with_the_store(self.call, at)
            && !self.tolerates_loss()
        {
            self.blame("two types", at, format!("{recorded} is recorded, and phones were told {expected}"));
        }
    }

    fn sessions_of(&self, phone: &str) -> impl Iterator<Item = &Session<'_>> {
        let sessions = self.facts.phones.get(phone).into_iter().flat_map(|phone| &phone.sessions);
        sessions.filter_map(|id| self.facts.sessions.get(id))
    }

    /// The phone whose accept won, where there is one and it knows.
    fn only_winner(&self) -> Option<&str> {
        let won = |line: &&Entry| match &line.what {
            What::Acked { event, answer, .. } => event == "call:accept" && answer["success"] == true,
            What::Answered { event, status, answer, .. } => {
                event == "call:accept" && *status == Some(200) && is_obeyed(answer)
            }
            _ => false,
        };
        let won = self.call.lines.iter().copied().filter(won);
        let winners: BTreeSet<&str> = won
            .filter_map(|line| match &line.what {
                What::Acked { phone, .. } | What::Answered { phone, .. } => Some(phone.as_str()),
                _ => None,
            })
            .collect();
        if winners.len() == 1 { winners.first().copied() } else { None }
    }

    pub(super) fn is_other_side(&self, one: &str, other: &str) -> bool {
        self.is_of_the_caller(one) != self.is_of_the_caller(other)
    }

    fn is_of_the_caller(&self, phone: &str) -> bool {
        phone == self.call.caller || self.user_of(phone) == self.user_of(self.call.caller)
    }

    /// The phone that dialled, and any that may have been the first to accept.
    fn is_in_the_call(&self, phone: &str) -> bool {
        let accepts = |line: &&Entry| match &line.what {
            What::Sent { phone: by, event, .. } | What::Said { phone: by, event, .. } => {
                by == phone && event == "call:accept"
            }
            _ => false,
        };
        phone == self.call.caller || self.call.lines.iter().any(accepts)
    }
}
