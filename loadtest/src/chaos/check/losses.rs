//! What a loss of the store excuses: what went with it, and what nobody can tell from an old copy.

use std::ops::Range;

use super::facts::{Call, Facts, MILLI, SECOND, Trouble};
use crate::chaos::faults::Kind;

/// How much a store that lost data may have lost: what replication had not sent.
const UNREPLICATED: u64 = 2 * SECOND;

impl<'a> Facts<'a> {
    fn losses(&self) -> impl Iterator<Item = &Trouble<'a>> {
        self.troubles.iter().filter(|trouble| Kind::loses_data(trouble.kind))
    }

    /// Whether what was written at `at` may have been lost with the store before anybody else had it.
    pub fn may_be_lost(&self, at: u64) -> bool {
        self.losses()
            .any(|loss| (loss.from.saturating_sub(UNREPLICATED.max(loss.lost))..=loss.until + SECOND).contains(&at))
    }

    /// Whether the store lost its data between two moments.
    pub fn lost_between(&self, from: u64, until: u64) -> bool {
        self.losses().any(|loss| loss.until >= from && loss.from <= until)
    }

    pub fn loss_began_between(&self, from: u64, until: u64) -> bool {
        self.losses().any(|loss| (from..=until).contains(&loss.from))
    }

    /// Whether no node could put the call back after a loss of the store before the others went on without it.
    pub fn died_with_the_store(&self, call: &Call, until: u64) -> bool {
        self.taken_by_a_loss(call, until).is_some()
    }

    /// From when a store was lost around which all nodes through which phones had spoken or heard of a call died, stood still
    /// or were cut off, so that no other held its record, until one of them may have put it back.
    pub fn taken_by_a_loss(&self, call: &Call, until: u64) -> Option<Range<u64>> {
        let during = self.losses().filter(|loss| loss.until >= call.began && loss.from <= until);
        let taken = during.filter_map(|loss| {
            let settled = self.over(loss);
            let told = call.lines.iter().filter(|line| line.at < settled).filter_map(|line| line.what.session());
            let holders = told.filter_map(|session| self.sessions.get(&session));
            let holders = holders.filter(|session| session.opened < loss.from && session.closed > loss.from);
            let back = holders.filter_map(|session| self.back_at(session.node, loss.from, settled)).min();
            (back != Some(loss.from)).then(|| loss.from.max(call.began)..back.unwrap_or(self.end))
        });
        taken.min_by_key(|taken| taken.start)
    }

    /// Whether a call of this user ended within what a loss of the store took with it, and no node on which its phones were
    /// lived on: it is live again, and nobody is left who knows better.
    pub fn has_revived(&self, user: &str) -> bool {
        let of_user = |call: &&Call<'_>| {
            call.callee_user == user || self.phones.get(call.caller).is_some_and(|phone| phone.user == user)
        };
        let mut lost = self.losses().flat_map(|loss| self.calls.values().filter(of_user).map(move |call| (loss, call)));
        lost.any(|(loss, call)| {
            let lines = || call.lines.iter().filter(|line| line.at < loss.until);
            let Some(last) = lines().map(|line| line.at).max() else { return false };
            let mut nodes = lines()
                .filter_map(|line| self.sessions.get(&line.what.session()?))
                .filter(|session| session.opened <= last)
                .map(|session| session.node);
            last + loss.lost + UNREPLICATED >= loss.from && !nodes.any(|node| self.holds_out(node, last, loss.until))
        })
    }

    fn holds_out(&self, node: &str, from: u64, until: u64) -> bool {
        self.back_at(node, from, until) == Some(from)
    }

    /// When a node may have put back what it held: at `from`, or after what kept it from that between then and `until`; absent
    /// where it died meanwhile.
    fn back_at(&self, node: &str, from: u64, until: u64) -> Option<u64> {
        let is_down = self.downs.iter().any(|(down, at)| *down == node && (from..=until).contains(at));
        let kept_it = |trouble: &&Trouble<'_>| {
            trouble.target == node && trouble.kind != "delay" && trouble.from < until && trouble.until > from
        };
        let over = self.troubles.iter().filter(kept_it).map(|trouble| self.over(trouble)).max();
        (!is_down).then(|| over.unwrap_or(from))
    }

    /// Until when a node that begins while the others rest after a loss can't tell this call, which began before it, from one of an
    /// old copy of the store: it tells nothing of it. It vouches for what it knows, as all do, and looks again one and a half
    /// leases later.
    pub fn unsure_until(&self, node: &str, call: &Call<'_>) -> u64 {
        let began = self.ups.iter().filter(|(up, at)| *up == node && *at > call.began).map(|(_, at)| *at);
        let rests = |at: &u64| self.losses().any(|loss| (loss.from..self.rests_until(loss)).contains(at));
        began.filter(rests).map(|at| at + self.terms.lease * MILLI * 3 / 2 + SECOND).max().unwrap_or(0)
    }
}
