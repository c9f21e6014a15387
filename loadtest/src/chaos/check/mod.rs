//! Whether a history is one that the rules allow (docs/chaos.md lists them). A pure function of its lines.

mod ends;
mod facts;
mod losses;
mod messages;
mod rest;
mod rules;
#[cfg(test)]
mod tests;
mod video;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::chaos::history::{Entry, What};
use ends::Ways;
use facts::{Call, Facts};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The rule's name, as in docs/chaos.md.
    pub rule: &'static str,
    pub at: u64,
    pub call: Option<String>,
    pub text: String,
}

/// How often a fault happened, and how many calls it met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struck {
    pub times: u64,
    pub ringing: usize,
    pub active: usize,
}

/// How phones learned of ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// By the answer to what they did.
    pub by_own_word: u64,
    pub by_event: u64,
    /// By `session:ready` after a reconnect.
    pub by_ready: u64,
    pub never: u64,
}

#[derive(Debug, Default)]
pub struct Verdict {
    pub seed: u64,
    pub calls: u64,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub faults: BTreeMap<String, Struck>,
    pub learned: Learned,
    /// Answers to requests for video that were told, by what they said.
    pub video: BTreeMap<String, u64>,
    pub reconnects: u64,
    pub gave_up: u64,
    pub violations: Vec<Violation>,
}

/// Judges a history.
pub fn judge(entries: &[Entry]) -> Verdict {
    let facts = Facts::gather(entries);
    let mut verdict = Verdict { video: video::answers(entries), ..Verdict::default() };
    let mut seen = BTreeSet::new();
    for entry in entries {
        match &entry.what {
            What::Run { seed, .. } => verdict.seed = *seed,
            What::Open { phone, .. } => verdict.reconnects += u64::from(!seen.insert(phone)),
            What::GaveUp { .. } => verdict.gave_up += 1,
            What::Begin { kind, ringing, active, .. } => {
                let struck = verdict.faults.entry(kind.clone()).or_default();
                struck.times += 1;
                struck.ringing += ringing;
                struck.active += active;
            }
            _ => {}
        }
    }
    for call in facts.calls.values() {
        let judged = rules::judge(&facts, call);
        if !is_probe(call) {
            verdict.calls += 1;
            *verdict.outcomes.entry(outcome(call, &judged)).or_default() += 1;
            verdict.learned.add(&judged.learned);
        }
        verdict.violations.extend(judged.violations);
    }
    verdict.violations.extend(rest::judge(&facts, entries));
    verdict.violations.sort_by_key(|violation| violation.at);
    verdict
}

/// All lines of a history about one call.
pub fn story(entries: &[Entry], call: &str) -> Vec<String> {
    let facts = Facts::gather(entries);
    let lines = facts.calls.get(call).map(|call| call.lines.clone()).unwrap_or_default();
    lines.into_iter().filter_map(|line| serde_json::to_string(line).ok()).collect()
}

impl Learned {
    fn add(&mut self, other: &Self) {
        self.by_own_word += other.by_own_word;
        self.by_event += other.by_event;
        self.by_ready += other.by_ready;
        self.never += other.never;
    }

    pub fn to_json(&self) -> Value {
        json!({
            "by_own_word": self.by_own_word, "by_event": self.by_event, "by_ready": self.by_ready, "never": self.never,
        })
    }
}

fn is_probe(call: &Call<'_>) -> bool {
    call.id.starts_with("PROBE")
}

fn outcome(call: &Call<'_>, judged: &rules::Judged) -> &'static str {
    if judged.is_over {
        return judged.ways.name();
    }
    let refused = |entry: &&&Entry| matches!(&entry.what, What::Acked { event, answer, .. } if event == "call:initiate" && answer["success"] == false && answer["useFcmFallback"] != true);
    if judged.ways != Ways::ANY || judged.is_known {
        "no end known"
    } else if call.lines.iter().find(refused).is_some() {
        "refused"
    } else {
        "never began"
    }
}
