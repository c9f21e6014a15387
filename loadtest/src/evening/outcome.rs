//! What an evening was like: its slices beside the arithmetic, and what went wrong without a cause.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::slice::{HEAD, Slice};
use super::stage::Tally;
use crate::calls::Board;
use crate::cluster::{Cluster, Usage};
use crate::figures::{self, round};
use crate::options::Evening;
use crate::report::Report;

pub fn report(
    options: &Evening,
    cluster: &Cluster,
    board: &Board,
    slices: &[Slice],
    tally: &Tally,
    [before, after]: [&Usage; 2],
) -> Report {
    let state = board.state();
    let (judge, no_idle_pair) = (&state.judge, state.no_idle_pair);
    let (offered, cut) = (judge.started + no_idle_pair, judge.abandoned - judge.given_up.len() as u64);
    let mut lost = BTreeMap::<String, u64>::new();
    for call in judge.given_up.iter().filter(|call| !tally.excuses(call.began, call.at)) {
        *lost.entry(call.why.clone()).or_default() += 1;
    }
    let calls_lost: u64 = lost.values().sum();
    let phones_lost = tally.lost.iter().filter(|at| !tally.excuses(**at, **at)).count();
    let seconds = (after.at - before.at).as_secs_f64();
    let core_share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / seconds;
    let (own, others) = (core_share(after.own(before)), core_share(after.others(before)));
    let failures: BTreeMap<&str, u64> =
        tally.failures.iter().map(|(failure, count)| (failure.0.as_str(), *count)).collect();
    let (whole, dead) = (Slice::whole(slices), cluster.dead());

    let mut lines = vec![HEAD.to_owned()];
    lines.extend(slices.iter().chain(&whole).map(Slice::row));
    lines.extend([
        String::new(),
        format!("calls offered                      {offered}, of them without an idle pair {no_idle_pair}"),
        format!("  completed                        {}", judge.settled),
        format!("  broken by a phone that was cut   {cut}"),
        format!("  given up                         {}", judge.given_up.len()),
        String::new(),
        "with no fault under way".to_owned(),
        format!("  calls lost                       {calls_lost}"),
    ]);
    lines.extend(lost.iter().map(|(why, count)| format!("    {count} {why}")));
    lines.extend([
        format!("  phones that lost the connection  {phones_lost} of {}", tally.lost.len()),
        format!("phones not back at the end         {}", tally.stranded),
        format!("failed tries to connect            {}", failures.values().sum::<u64>()),
    ]);
    lines.extend(failures.iter().map(|(failure, count)| format!("  {count} {failure}")));
    lines.extend([String::new(), figures::HEAD.to_owned(), tally.back.row("lost→back"), String::new()]);
    lines.push("all that calls missed, faults under way or not".to_owned());
    lines.extend(judge.faults.lines().into_iter().map(|line| format!("  {line}")));
    lines.extend([
        String::new(),
        format!("load generator, % of a core        {own:.0}"),
        format!("rest of the machine, % of a core   {others:.0}"),
    ]);
    Report {
        mode: "evening",
        text: lines.join("\n"),
        settings: json!({
            "users": options.users, "peak": options.peak, "duration_s": options.duration.as_secs_f64(),
            "compress": options.compress, "reconnects": options.reconnects, "nodes": options.nodes,
            "transport": options.transport.name(), "node_env": options.node_env,
        }),
        cluster: cluster.describe(),
        node_log: cluster.troubles(),
        figures: json!({
            "slices": slices.iter().map(Slice::to_json).collect::<Vec<_>>(),
            "evening": whole.as_ref().map(Slice::to_json),
            "calls": {
                "offered": offered, "no_idle_pair": no_idle_pair, "started": judge.started, "completed": judge.settled,
                "cut": cut, "given_up": judge.given_up.len(), "lost": calls_lost, "lost_by_cause": lost,
            },
            "phones": {
                "lost": phones_lost, "lost_in_all": tally.lost.len(), "stranded": tally.stranded, "failures": failures,
            },
            "lost_to_back": tally.back.to_json(),
            "faults": judge.faults.to_json(),
            "generator_core_percent": round(own),
            "others_core_percent": round(others),
        }),
        clean: calls_lost == 0 && phones_lost == 0 && tally.stranded == 0 && dead.is_empty(),
        died: dead.into_iter().map(str::to_owned).collect(),
    }
}
