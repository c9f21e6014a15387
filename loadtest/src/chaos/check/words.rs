//! A word over HTTP that was not refused takes effect, whether its client waited for the answer or not.

use super::ends::Ways;
use super::facts::{SECOND, Session};
use super::rules::{Court, HEARD_WITHIN, HELD};
use crate::chaos::history::What;
use crate::chaos::world::is_obeyed;

/// Words are retried for this long.
const BUDGET: u64 = 60 * SECOND;
/// A node that has the store back obeys what it kept within this.
const OBEYED_WITHIN: u64 = 2 * SECOND;

impl Court<'_> {
    pub(super) fn words(&mut self) {
        let mut lost = Vec::new();
        for (place, line) in self.call.lines.iter().enumerate() {
            let What::Said { phone, node, event, .. } = &line.what else { continue };
            let answer = self.call.lines[place..].iter().find_map(|later| match &later.what {
                What::Answered { phone: by, event: said, status, answer, .. } if by == phone && said == event => {
                    Some((*status, answer))
                }
                _ => None,
            });
            let is_refused = match answer {
                Some((Some(200), answer)) => !is_obeyed(answer),
                Some((Some(status), _)) => status != 503,
                Some((None, _)) | None => false,
            };
            // What it is to do has to be done once its node has had some peace.
            let closed = self.facts.killed_at(node).unwrap_or(self.facts.end);
            let at_node = Session { node, acks: true, opened: line.at, closed, stalls: Vec::new() };
            let Some(obeyed) = self.facts.calm(&at_node, line.at, OBEYED_WITHIN) else { continue };
            // What was obeyed just before a loss went with it; what is said during one waits.
            let is_lost =
                self.facts.loss_began_between(line.at, obeyed) || self.facts.died_with_the_store(self.call, obeyed);
            if is_refused || is_lost || obeyed - line.at > BUDGET {
                continue;
            }
            let took_effect = if event == "call:accept" { self.accepted_before(obeyed) } else { false };
            let settled = self.ended.into_iter().chain(took_effect.then_some(line.at)).min();
            if settled.is_some_and(|at| at <= obeyed) {
                continue;
            }
            if event != "call:accept"
                && let Some((at, other)) = self.hung_up_instead(phone, line.at, obeyed)
            {
                lost.push((at, format!("{phone} said {event} over HTTP, and {other} had to hang up later")));
                break;
            }
            if self.ways == Ways::NO_ANSWER {
                lost.push((obeyed, format!("{phone} said {event} over HTTP, and it rang to its end")));
                break;
            }
            if let Some(due) = self.somebody_should_know(phone, obeyed)
                && settled.is_none_or(|at| at > due)
                && !(event == "call:accept" && self.accepted_before(due))
            {
                lost.push((due, format!("{phone} said {event} over HTTP, and nobody was told")));
                break;
            }
        }
        lost.into_iter().for_each(|(at, text)| self.blame("lost word", at, text));
    }

    /// Who ended the call with a word that he began to say when the phone's own, of the moment `said`, had to be obeyed.
    fn hung_up_instead(&self, phone: &str, said: u64, obeyed: u64) -> Option<(u64, &str)> {
        let (at, by) = self.call.lines.iter().find_map(|line| match &line.what {
            What::Heard { event, payload, .. } if event == "call:ended" => {
                Some((line.at, payload["endedBy"].as_str()?))
            }
            _ => None,
        })?;
        let is_his = |who: &str| self.user_of(who) == Some(by);
        let began = self.call.lines.iter().find(|line| match &line.what {
            What::Sent { phone, event, .. } | What::Said { phone, event, .. } => is_his(phone) && is_an_end(event),
            _ => false,
        })?;
        let is_another = !is_his(phone) && began.at > obeyed && began.at <= at;
        (is_another && !self.facts.loss_began_between(said, at)).then_some((at, by))
    }

    /// Whether anybody was told by then that the call was accepted.
    pub(super) fn accepted_before(&self, until: u64) -> bool {
        self.call.lines.iter().filter(|line| line.at <= until).any(|line| match &line.what {
            What::Heard { event, .. } => event == "call:accepted",
            What::Open { call, .. } => {
                call.as_ref().is_some_and(|call| call["callId"] == self.call.id && call["state"] == "active")
            }
            What::Acked { event, answer, .. } => event == "call:accept" && answer["success"] == true,
            _ => false,
        })
    }

    /// The first moment by which another phone that knows the call, and is not done with it, had been connected in
    /// peace for long enough to be told.
    fn somebody_should_know(&self, but: &str, from: u64) -> Option<u64> {
        let others = self.shares.iter().filter(|(phone, share)| {
            let turned = self.facts.turned_from(phone, self.call).is_some_and(|at| at <= from + HEARD_WITHIN + HELD);
            **phone != but && !turned && share.knows.is_some_and(|knows| knows <= from)
        });
        let waits = others.flat_map(|(phone, share)| {
            let sessions = self.facts.phones.get(phone).into_iter().flat_map(|phone| &phone.sessions);
            let sessions = sessions.filter_map(|id| self.facts.sessions.get(id));
            sessions.filter_map(move |session| {
                let patience = if session.acks { HEARD_WITHIN } else { HEARD_WITHIN + HELD };
                let due = self.facts.calm(session, from, patience)?;
                share.freed.is_none_or(|(freed, _)| freed > due).then_some(due)
            })
        });
        waits.min()
    }
}

fn is_an_end(event: &str) -> bool {
    matches!(event, "call:end" | "call:cancel" | "call:reject")
}
