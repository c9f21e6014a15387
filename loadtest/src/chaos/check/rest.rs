//! The rules of a run as a whole: what is left when everything is over.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::facts::Facts;
use crate::chaos::history::{Entry, What};
use crate::chaos::wire::CLOSED;

pub fn judge(facts: &Facts<'_>, entries: &[Entry]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let users: BTreeSet<&str> = facts.phones.values().map(|phone| phone.user).collect();
    let mut dropped: BTreeMap<&str, usize> = BTreeMap::new();
    let mut answered: BTreeSet<&str> = BTreeSet::new();
    for Entry { at, what } in entries {
        let found = match what {
            What::Burnt { phone, why } => Some(("burnt", None, format!("{phone} may never come back: {why}"))),
            What::Died { node } => {
                (!facts.may_drain_itself(node, *at)).then(|| ("died", None, format!("{node} ended by itself")))
            }
            What::Close { phone, session, why } if why == CLOSED => {
                let trouble = facts.sessions.get(session).and_then(|session| facts.store_trouble_at(session, *at));
                trouble.and_then(|trouble| {
                    // One tells as much as all of them.
                    let count = dropped.entry(trouble).or_default();
                    *count += 1;
                    (*count == 1).then(|| ("dropped", None, format!("{phone} is closed during {trouble}")))
                })
            }
            What::Acked { phone, event, call, answer, .. } if is_probe(event, call) => {
                answered.insert(call);
                let called = facts.calls.get(call.as_str()).map_or("", |probe| probe.callee_user);
                let may_be_free = answer["success"] == true || answer["busy"] == true && facts.has_revived(called);
                (!may_be_free)
                    .then(|| ("busy at rest", Some(call.clone()), format!("{phone} probes and is told {answer}")))
            }
            What::Audit { node, active_calls, .. } if *active_calls > 0 => {
                Some(("busy at rest", None, format!("{node} counts {active_calls} live calls")))
            }
            What::Audit { node, users: counted, .. } if *counted != users.len() as u64 => {
                Some(("miscounted", None, format!("{node} counts {counted} users of {}", users.len())))
            }
            _ => None,
        };
        violations.extend(found.map(|(rule, call, text)| Violation { rule, at: *at, call, text }));
    }
    for call in facts.calls.values().filter(|call| call.id.starts_with("PROBE") && !answered.contains(call.id)) {
        let text = "a probe was not answered".to_owned();
        violations.push(Violation { rule: "busy at rest", at: call.began, call: Some(call.id.to_owned()), text });
    }
    violations
}

fn is_probe(event: &str, call: &str) -> bool {
    event == "call:initiate" && call.starts_with("PROBE")
}
