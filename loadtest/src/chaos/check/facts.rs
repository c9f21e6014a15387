//! A history put in order: sessions, phones, calls, and when there was peace.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::chaos::faults::Kind;
use crate::chaos::history::{Entry, Terms, What};

/// In the units of a history.
pub const SECOND: u64 = 1_000_000;
pub const MILLI: u64 = 1000;
/// After a fault nodes connect again, which takes up to 2 s and a command that times out in 2 s.
const RECOVERY: u64 = 5 * SECOND;
/// For so long nodes wait for those that have not put back anything.
const RESTORED: u64 = 4 * SECOND;

#[derive(Debug)]
pub struct Session<'a> {
    pub node: &'a str,
    pub acks: bool,
    pub opened: u64,
    /// The end of the history where it did not end before.
    pub closed: u64,
    /// When the phone did not read.
    pub stalls: Vec<(u64, u64)>,
}

#[derive(Debug, Default)]
pub struct Phone<'a> {
    pub user: &'a str,
    pub sessions: Vec<u64>,
    turns: Vec<Turn<'a>>,
}

/// A phone was told of a call, or was answered that its own rings.
#[derive(Debug)]
struct Turn<'a> {
    at: u64,
    call: &'a str,
    /// When that call began.
    began: u64,
    /// That it rings was told to this session, which hears that of no older call after a newer one.
    told: Option<u64>,
}

#[derive(Debug)]
pub struct Call<'a> {
    pub id: &'a str,
    /// The phone that initiated it.
    pub caller: &'a str,
    pub callee_user: &'a str,
    pub began: u64,
    /// All lines that name it.
    pub lines: Vec<&'a Entry>,
}

pub(super) struct Trouble<'a> {
    pub(super) kind: &'a str,
    /// A node; everything else concerns all.
    pub(super) target: &'a str,
    pub(super) from: u64,
    pub(super) until: u64,
    /// The store came back as it was so long before.
    pub(super) lost: u64,
}

pub struct Facts<'a> {
    pub terms: Terms,
    pub sessions: HashMap<u64, Session<'a>>,
    pub phones: BTreeMap<&'a str, Phone<'a>>,
    pub calls: BTreeMap<&'a str, Call<'a>>,
    pub end: u64,
    pub(super) troubles: Vec<Trouble<'a>>,
    pub(super) ups: Vec<(&'a str, u64)>,
    pub(super) downs: Vec<(&'a str, u64)>,
}

impl<'a> Facts<'a> {
    pub fn gather(entries: &'a [Entry]) -> Self {
        let mut facts = Self {
            terms: Terms { ring: 30_000, caller_grace: 10_000, call_grace: 60_000, lease: 10_000, asked: 30_000 },
            sessions: HashMap::new(),
            phones: BTreeMap::new(),
            calls: BTreeMap::new(),
            end: entries.iter().map(|entry| entry.at).max().unwrap_or(0),
            troubles: Vec::new(),
            ups: Vec::new(),
            downs: Vec::new(),
        };
        let mut faults: HashMap<usize, usize> = HashMap::new();
        for entry in entries {
            let at = entry.at;
            match &entry.what {
                What::Run { terms, .. } => facts.terms = *terms,
                What::Open { phone, user, acks, session, node, .. } => {
                    let opened = Session { node, acks: *acks, opened: at, closed: facts.end, stalls: Vec::new() };
                    facts.sessions.insert(*session, opened);
                    let known = facts.phones.entry(phone).or_default();
                    known.user = user;
                    known.sessions.push(*session);
                }
                What::Close { session, .. } => {
                    if let Some(session) = facts.sessions.get_mut(session) {
                        session.closed = session.closed.min(at);
                    }
                }
                What::Stopped { session, .. } => {
                    if let Some(session) = facts.sessions.get_mut(session) {
                        session.stalls.push((at, facts.end));
                    }
                }
                What::Reads { session, .. } => {
                    if let Some(stall) = facts.sessions.get_mut(session).and_then(|session| session.stalls.last_mut()) {
                        stall.1 = at;
                    }
                }
                What::Sent { phone, event, call, to: Some(to), .. } if event == "call:initiate" => {
                    let new = Call { id: call, caller: phone, callee_user: to, began: at, lines: Vec::new() };
                    facts.calls.entry(call).or_insert(new);
                }
                What::Begin { fault, kind, target, lost_ms, .. } => {
                    faults.insert(*fault, facts.troubles.len());
                    facts.troubles.push(Trouble { kind, target, from: at, until: facts.end, lost: lost_ms * MILLI });
                }
                What::Done { fault } => {
                    if let Some(trouble) = faults.get(fault).and_then(|place| facts.troubles.get_mut(*place)) {
                        trouble.until = at;
                    }
                }
                What::Up { node, .. } => facts.ups.push((node, at)),
                What::Down { node } | What::Died { node } => facts.downs.push((node, at)),
                _ => {}
            }
        }
        facts.sort_lines(entries);
        facts.find_turns();
        facts
    }

    fn find_turns(&mut self) {
        for call in self.calls.values() {
            for line in &call.lines {
                let (phone, told) = match &line.what {
                    What::Heard { phone, event, session, .. }
                        if matches!(event.as_str(), "call:incoming" | "call:ringing") =>
                    {
                        (phone, Some(*session))
                    }
                    What::Acked { phone, event, answer, .. }
                        if event == "call:initiate" && answer["success"] == true =>
                    {
                        (phone, None)
                    }
                    _ => continue,
                };
                if let Some(phone) = self.phones.get_mut(phone.as_str()) {
                    phone.turns.push(Turn { at: line.at, call: call.id, began: call.began, told });
                }
            }
        }
    }

    /// When the phone first had to do with a call newer than this one: one that began later, or one whose dial the server
    /// wrote later though it was sent before, as dials over HTTP may be.
    pub fn turned_from(&self, phone: &str, call: &Call<'_>) -> Option<u64> {
        let turns = &self.phones.get(phone)?.turns;
        let own = |turn: &&Turn<'_>| turn.call == call.id && turn.told.is_some();
        let is_newer = |turn: &&Turn<'_>| {
            let told_before = |own: &Turn<'_>| own.told == turn.told && own.at < turn.at;
            turn.began > call.began || turn.call != call.id && turns.iter().filter(own).any(told_before)
        };
        turns.iter().filter(is_newer).map(|turn| turn.at).min()
    }

    fn sort_lines(&mut self, entries: &'a [Entry]) {
        for entry in entries {
            match &entry.what {
                What::Sent { call, .. }
                | What::Acked { call, .. }
                | What::Heard { call, .. }
                | What::Said { call, .. }
                | What::Answered { call, .. }
                | What::Record { call, .. } => {
                    self.add_line(call, entry);
                }
                What::Open { call, ended, .. } => {
                    let named = call.iter().chain(ended).filter_map(|named| named["callId"].as_str());
                    for id in named {
                        self.add_line(id, entry);
                    }
                }
                _ => {}
            }
        }
    }

    fn add_line(&mut self, id: &str, entry: &'a Entry) {
        if let Some(call) = self.calls.get_mut(id) {
            call.lines.push(entry);
        }
    }

    /// The first moment at which the session had lived for `patience` without a fault that concerns it, not before
    /// `from`; none where it ended earlier.
    pub fn calm(&self, session: &Session<'_>, from: u64, patience: u64) -> Option<u64> {
        let mut begin = from.max(session.opened);
        loop {
            let end = begin + patience;
            if end > session.closed {
                return None;
            }
            let meets = |trouble: &&Trouble<'_>| {
                self.concerns(trouble, session.node) && trouble.from < end && self.over(trouble) > begin
            };
            let stalls = session.stalls.iter().filter(|(from, until)| *from < end && *until > begin);
            let troubles = self.troubles.iter().filter(meets).map(|trouble| self.over(trouble));
            match troubles.chain(stalls.map(|(_, until)| *until)).max() {
                Some(over) => begin = over,
                None => return Some(end),
            }
        }
    }

    fn concerns(&self, trouble: &Trouble<'_>, node: &str) -> bool {
        match trouble.kind {
            // These end the sessions of the node, and concern no other.
            "kill" | "drain" | "phones" | "deaf" | "jitter" => false,
            // These are no excuse.
            "clock-step" | "impatient" | "presence-flood" | "dial-flood" => false,
            "suspend" | "cut" | "delay" | "lost-replies" => trouble.target == node,
            _ => true,
        }
    }

    pub(super) fn over(&self, trouble: &Trouble<'_>) -> u64 {
        // No deadline fires for one lease after a loss.
        let rests = Kind::loses_data(trouble.kind) || self.prolongs_a_rest(trouble);
        let lease = if rests { self.terms.lease * MILLI } else { 0 };
        trouble.until + lease + RECOVERY
    }

    /// Whether the store refuses writes while nodes have the time to put back what it may have lost: they have it after that.
    fn prolongs_a_rest(&self, trouble: &Trouble<'_>) -> bool {
        let is_of = |earlier: &Trouble<'_>| earlier.from < trouble.from && trouble.from < self.rests_until(earlier);
        let rests = |earlier: &Trouble<'_>| {
            Kind::loses_data(earlier.kind) || earlier.kind == "redis-restart" || self.prolongs_a_rest(earlier)
        };
        trouble.kind == "refuse-writes" && self.troubles.iter().any(|earlier| is_of(earlier) && rests(earlier))
    }

    /// Whether no deadline had to fire yet: a server that began again with its data is one that may have lost some, and all
    /// nodes have the time to put that back.
    pub fn deadlines_rest(&self, at: u64) -> bool {
        let rests = |trouble: &&Trouble<'_>| trouble.kind == "redis-restart" || self.prolongs_a_rest(trouble);
        self.troubles.iter().filter(rests).any(|trouble| (trouble.from..self.rests_until(trouble)).contains(&at))
    }

    pub(super) fn rests_until(&self, trouble: &Trouble<'_>) -> u64 {
        trouble.until + self.terms.lease * MILLI + RESTORED + RECOVERY
    }

    /// Whether a node had reason to stop by itself: one that can't reach Redis for 15 s and knows a peer that can
    /// drains itself, which may take as long again. To have stood still is no reason, and what concerns all is none.
    pub fn may_drain_itself(&self, node: &str, at: u64) -> bool {
        self.troubles.iter().any(|trouble| {
            let is_cut_off = trouble.kind == "cut" && trouble.target == node;
            is_cut_off && trouble.from < at && at < self.over(trouble) + 30 * SECOND
        })
    }

    /// The fault of the store during which a session ended that had no other reason to: nobody's session ends because
    /// Redis is away or refuses writes.
    pub fn store_trouble_at(&self, session: &Session<'_>, at: u64) -> Option<&'a str> {
        let is_near = |trouble: &&Trouble<'_>| trouble.from < at && at < trouble.until + 2 * RECOVERY;
        let of_the_node = self.troubles.iter().any(|trouble| {
            let ends_sessions = matches!(trouble.kind, "kill" | "suspend" | "drain" | "cut" | "lost-replies" | "delay");
            ends_sessions && trouble.target == session.node && is_near(&trouble)
        });
        let is_down = self.downs.iter().any(|(node, down)| *node == session.node && *down < at + SECOND);
        let is_stalled = session.stalls.iter().any(|(from, until)| *from < at && at < until + RECOVERY);
        if of_the_node || is_down || is_stalled {
            return None;
        }
        let of_the_store =
            |kind: &str| matches!(kind, "refuse-writes" | "redis-pause" | "redis-restart" | "clock-step");
        self.troubles.iter().filter(is_near).map(|trouble| trouble.kind).find(|kind| of_the_store(kind))
    }

    /// When a node ended whose memory went with it; one that drains hands over first.
    pub fn killed_at(&self, node: &str) -> Option<u64> {
        let is_drained = |at: u64| {
            self.troubles.iter().any(|trouble| trouble.kind == "drain" && trouble.target == node && trouble.from <= at)
        };
        let downs = self.downs.iter().filter(|(down, at)| *down == node && !is_drained(*at));
        downs.map(|(_, at)| *at).min()
    }

    pub fn promised_acks(&self, phone: &str) -> bool {
        let sessions = self.phones.get(phone).into_iter().flat_map(|phone| &phone.sessions);
        sessions.filter_map(|id| self.sessions.get(id)).any(|session| session.acks)
    }

    /// Whether another call of one of its parties began in that time.
    pub fn is_followed(&self, call: &Call<'_>, within: Range<u64>) -> bool {
        let parties = |call: &Call<'_>| {
            let caller = self.phones.get(call.caller).map_or(call.caller, |phone| phone.user);
            [caller.to_owned(), call.callee_user.to_owned()]
        };
        let own = parties(call);
        let others = self.calls.values().filter(|other| other.id != call.id);
        let mut later = others.filter(|other| within.contains(&other.began));
        later.any(|other| parties(other).iter().any(|user| own.contains(user)))
    }

    /// The longest time before `until` for which the phone had no session, as far as it ended after `from`.
    pub fn longest_absence(&self, phone: &str, from: u64, until: u64) -> u64 {
        let Some(phone) = self.phones.get(phone) else { return until };
        // Whoever comes to a node that can't reach the store is known to nobody else before it can.
        let known = |session: &Session<'_>| {
            let cut = self.troubles.iter().find(|trouble| {
                trouble.kind == "cut"
                    && trouble.target == session.node
                    && (trouble.from..trouble.until).contains(&session.opened)
            });
            let since = cut.map_or(session.opened, |cut| cut.until + SECOND);
            (since < session.closed).then_some((since, session.closed))
        };
        let sessions = phone.sessions.iter().filter_map(|id| self.sessions.get(id));
        let sessions: Vec<(u64, u64)> = sessions.filter_map(known).collect();
        let mut longest = 0;
        for (place, (_, closed)) in sessions.iter().enumerate() {
            let next = sessions.get(place + 1).map_or(u64::MAX, |(next, _)| *next).min(until);
            if *closed < until && next > from {
                longest = longest.max(next.saturating_sub(*closed));
            }
        }
        longest
    }
}
