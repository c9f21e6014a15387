//! What both sides of a call wrote: each session hears it once, in its order, and nothing that is kept is passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Court, HEARD_WITHIN};
use crate::chaos::history::What;

pub(super) const MESSAGE: &str = "call:message";

/// A message that the server has kept.
struct Kept<'a> {
    by: &'a str,
    order: u64,
    at: u64,
}

/// A message that a phone was told.
struct Told {
    order: u64,
    at: u64,
}

impl Court<'_> {
    pub(super) fn messages(&mut self) {
        let mut kept: BTreeMap<u64, Kept<'_>> = BTreeMap::new();
        let mut told: BTreeMap<(&str, u64), Vec<Told>> = BTreeMap::new();
        for line in &self.call.lines {
            match &line.what {
                What::Acked { phone, event, answer, .. } if event == MESSAGE && answer["kept"] == true => {
                    if let Some(order) = answer["order"].as_u64() {
                        kept.entry(order).or_insert(Kept { by: phone, order, at: line.at });
                    }
                }
                What::Heard { phone, session, event, payload, .. } if event == MESSAGE => {
                    let order = payload["order"].as_u64().unwrap_or(0);
                    told.entry((phone, *session)).or_default().push(Told { order, at: line.at });
                }
                _ => {}
            }
        }
        for ((phone, _), told) in &told {
            self.come_once_in_order(phone, told);
        }
        let kept: Vec<Kept<'_>> = kept.into_values().collect();
        if !kept.is_empty() {
            self.none_is_passed_over(&kept, &told);
        }
    }

    fn come_once_in_order(&mut self, phone: &str, told: &[Told]) {
        let mut known = BTreeSet::new();
        for (place, one) in told.iter().enumerate() {
            if !known.insert(one.order) {
                self.blame("twice", one.at, format!("{phone} is told message {} twice in a session", one.order));
            } else if place > 0 && one.order < told[place - 1].order {
                self.blame(
                    "message order",
                    one.at,
                    format!("{phone} is told message {} behind a later one", one.order),
                );
            }
        }
    }

    /// Whoever hears a message has heard all that the other side had kept before it, in the same session; and whoever is
    /// connected to a call that goes on hears what is kept.
    fn none_is_passed_over(&mut self, kept: &[Kept<'_>], told: &BTreeMap<(&str, u64), Vec<Told>>) {
        let mut lost = Vec::new();
        let phones = self.facts.phones.iter().filter(|(phone, known)| {
            **phone == self.call.caller
                || known.user == self.call.callee_user
                || Some(known.user) == self.user_of(self.call.caller)
        });
        for (phone, known) in phones {
            let turned = self.facts.turned_from(phone, self.call);
            let freed = self.shares.get(phone).and_then(|share| share.freed).map(|(at, _)| at);
            let over = [turned, freed, self.ended].into_iter().flatten().min().unwrap_or(u64::MAX);
            let heard_of_end = self.call.lines.iter().find(|line| match &line.what {
                What::Heard { phone: who, event, .. } => who == phone && event == "call:ended",
                _ => false,
            });
            let heard_over = heard_of_end.map(|line| line.at).into_iter().chain(self.ended);
            let heard_over = heard_over.chain(self.end_was_said()).min().unwrap_or(u64::MAX);
            for id in &known.sessions {
                let Some(session) = self.facts.sessions.get(id) else { continue };
                let told = told.get(&(*phone, *id)).map(Vec::as_slice).unwrap_or_default();
                for one in kept.iter().filter(|one| self.is_other_side(one.by, phone)) {
                    if told.iter().any(|told| told.order == one.order) {
                        continue;
                    }
                    // One may come behind the end, and what is kept went with that.
                    let later = told.iter().find(|told| told.order > one.order).map(|told| told.at);
                    let later = later.filter(|at| *at < heard_over);
                    let sure = one.at.max(self.facts.unsure_until(session.node, self.call));
                    let calm = self.facts.calm(session, sure, HEARD_WITHIN).filter(|due| *due < over);
                    let Some(due) = later.into_iter().chain(calm).min() else { continue };
                    // What is kept goes with the data of the store.
                    let is_lost = self.facts.lost_between(one.at, due) || self.facts.may_be_lost(one.at);
                    if !is_lost && !self.facts.died_with_the_store(self.call, due) {
                        lost.push((due, format!("{phone} is not told message {}, which was kept", one.order)));
                    }
                }
            }
        }
        lost.into_iter().for_each(|(at, text)| self.blame("lost message", at, text));
    }

    /// When a party first said the end that somebody learned of later: from then on it may be written, before anybody is told.
    fn end_was_said(&self) -> Option<u64> {
        let ended = self.ended?;
        let said = self.call.lines.iter().filter(|line| match &line.what {
            What::Sent { event, .. } | What::Said { event, .. } => matches!(event.as_str(), "call:end" | "call:cancel"),
            _ => false,
        });
        said.map(|line| line.at).find(|at| *at <= ended)
    }
}
