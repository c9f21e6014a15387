//! What a run hands over.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::check::{self, Verdict, Violation};
use super::history::Entry;
use crate::options::Chaos;
use crate::report::Report;

/// Violations whose story is printed; the JSON has all.
const TOLD: usize = 5;

pub fn report(
    options: &Chaos,
    entries: &[Entry],
    schedule: &[Value],
    cluster: Value,
    node_log: BTreeMap<String, u64>,
) -> Report {
    let verdict = check::judge(entries);
    let mut text = table(&verdict);
    for violation in verdict.violations.iter().take(TOLD) {
        text.push_str(&format!("\n\n{}", line(violation)));
        let story = violation.call.as_deref().map(|call| check::story(entries, call)).unwrap_or_default();
        story.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
    }
    if verdict.violations.len() > TOLD {
        text.push_str(&format!("\n\nand {} more", verdict.violations.len() - TOLD));
        for violation in &verdict.violations[TOLD..] {
            text.push_str(&format!("\n  {}", line(violation)));
        }
    }
    Report {
        mode: "chaos",
        text,
        settings: json!({
            "seed": verdict.seed, "duration_s": options.duration.as_secs_f64(), "rate": options.rate,
            "phones": options.phones, "nodes": options.nodes, "ring_timeout_s": options.ring_timeout.as_secs(),
            "node_env": options.node_env, "schedule": schedule,
        }),
        cluster,
        node_log,
        figures: figures(&verdict, entries),
        died: Vec::new(),
        clean: verdict.violations.is_empty(),
    }
}

fn table(verdict: &Verdict) -> String {
    let mut lines =
        vec![format!("seed                  {}", verdict.seed), format!("calls                 {}", verdict.calls)];
    lines.extend(verdict.outcomes.iter().map(|(outcome, count)| format!("  {outcome:<20}{count}")));
    let learned = &verdict.learned;
    lines.push(format!(
        "ends learned          {} by own word, {} by event, {} by session:ready, {} never",
        learned.by_own_word, learned.by_event, learned.by_ready, learned.never
    ));
    let answers: Vec<String> = verdict.video.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
    lines.push(format!("asked for video       {}", answers.join(", ")));
    lines.push(format!("reconnects            {}, {} phones used up five tries", verdict.reconnects, verdict.gave_up));
    lines.push(String::new());
    lines.push("fault                 times    ringing calls met    active calls met".into());
    for (kind, struck) in &verdict.faults {
        lines.push(format!("{kind:<20}{:>7}{:>21}{:>20}", struck.times, struck.ringing, struck.active));
    }
    lines.push(String::new());
    lines.push(format!("violations            {}", verdict.violations.len()));
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    verdict.violations.iter().for_each(|violation| *by_rule.entry(violation.rule).or_default() += 1);
    lines.extend(by_rule.iter().map(|(rule, count)| format!("  {rule:<20}{count}")));
    lines.join("\n")
}

fn line(violation: &Violation) -> String {
    let at = violation.at as f64 / 1e6;
    let call = violation.call.as_deref().unwrap_or("-");
    format!("{}: {} at {at:.3} s: {}", violation.rule, call, violation.text)
}

fn figures(verdict: &Verdict, entries: &[Entry]) -> Value {
    let faults: BTreeMap<&String, Value> = verdict
        .faults
        .iter()
        .map(|(kind, struck)| {
            (kind, json!({"times": struck.times, "ringing": struck.ringing, "active": struck.active}))
        })
        .collect();
    let violations: Vec<Value> = verdict
        .violations
        .iter()
        .map(|violation| {
            json!({
                "rule": violation.rule, "call": violation.call, "at_s": violation.at as f64 / 1e6,
                "text": violation.text,
                "story": violation.call.as_deref().map(|call| check::story(entries, call)),
            })
        })
        .collect();
    json!({
        "calls": verdict.calls, "outcomes": verdict.outcomes, "learned": verdict.learned.to_json(),
        "video": verdict.video, "reconnects": verdict.reconnects, "gave_up": verdict.gave_up, "faults": faults, "violations": violations,
    })
}
