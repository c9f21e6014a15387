//! A short chaos without and with faults, and bugs on purpose that it has to notice.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{PoisonError, RwLock};

use serde_json::Value;

fn node() -> PathBuf {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/onlycare-signaling");
    assert!(binary.exists(), "{} is not there: run `cargo build --bin onlycare-signaling` first", binary.display());
    binary
}

/// A flood of dials takes the whole machine: what runs beside it would find everything late. And what is to break no rule
/// runs beside nothing.
static MACHINE: RwLock<()> = RwLock::new(());

/// Runs a short chaos. Returns what it said and its figures.
fn chaos(name: &str, seed: &str, arguments: &[&str]) -> (Output, String, Value) {
    let (_alone, _beside_others) = if name == "clean" || arguments.contains(&"dial-flood") {
        (Some(MACHINE.write().unwrap_or_else(PoisonError::into_inner)), None)
    } else {
        (None, Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner)))
    };
    let json = std::env::temp_dir().join(format!("chaos-{name}-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["chaos", "--seed", seed, "--ring-timeout", "5s", "--sentinel", "false", "--phones", "240"])
        .args(arguments)
        .arg("--binary")
        .arg(node())
        .arg("--json")
        .arg(&json)
        .output()
        .expect("loadtest starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
    let _ = std::fs::remove_file(&json);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    (output, said, report["figures"].clone())
}

/// A node with this bug has to break one of these rules.
fn is_noticed(bug: &str, load: [&str; 3], rules: &[&str]) {
    is_noticed_with(&["--no-faults"], bug, load, rules);
}

fn is_noticed_with(faults: &[&str], bug: &str, load: [&str; 3], rules: &[&str]) {
    let bugs = format!("SABOTAGE={bug}");
    let [nodes, duration, rate] = load;
    let arguments = ["--nodes", nodes, "--duration", duration, "--rate", rate, "--settle", "20s"];
    // Whether it strikes where it shows is chance: it has to in one of three runs.
    let run = |seed| chaos(bug, seed, &[&arguments[..], faults, &["--node-env", &bugs]].concat());
    let is_quiet = |(output, ..): &(Output, String, Value)| output.status.success();
    let (output, said, figures) =
        ["1", "2"].into_iter().map(run).find(|run| !is_quiet(run)).unwrap_or_else(|| run("3"));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let violations = figures["violations"].as_array().expect("a list");
    let broken: Vec<&str> = violations.iter().filter_map(|violation| violation["rule"].as_str()).collect();
    assert!(broken.iter().any(|rule| rules.contains(rule)), "{broken:?} instead of {rules:?}\n{said}");
}

#[test]
fn a_short_chaos_breaks_no_rule() {
    let faults = ["--faults", "kill,phones,unsubscribe", "--duration", "12s", "--rate", "15", "--nodes", "3"];
    let (output, said, figures) = chaos("clean", "1", &faults);
    assert!(output.status.success(), "{said}");
    assert!(figures["calls"].as_u64().is_some_and(|calls| calls > 100), "{said}");
    assert!(figures["video"]["accepted"].as_u64().is_some_and(|accepted| accepted > 0), "{said}");
    assert!(figures["reconnects"].as_u64().is_some_and(|reconnects| reconnects > 0), "{said}");
}

#[test]
fn lost_envelopes_without_healing_are_noticed() {
    is_noticed("drop_envelopes", ["3", "8s", "70"], &["unheard end", "silent ring", "endless"]);
}

#[test]
fn a_swap_without_its_version_check_is_noticed() {
    is_noticed("skip_version_check", ["2", "6s", "25"], &["two accepts", "disagreement"]);
}

#[test]
fn a_lost_deadline_is_noticed() {
    is_noticed("lose_deadline", ["2", "8s", "25"], &["endless", "overdue ring"]);
}

#[test]
fn an_order_of_calls_by_the_clock_is_noticed() {
    is_noticed_with(
        &["--faults", "dial-flood"],
        "order_by_clock",
        ["2", "14s", "25"],
        &["silent ring", "overdue ring"],
    );
}

#[test]
fn a_word_that_is_dropped_with_its_client_is_noticed() {
    is_noticed_with(&["--faults", "impatient"], "drop_on_disconnect", ["2", "14s", "25"], &["lost word"]);
}

#[test]
fn a_queue_that_is_forgotten_is_noticed() {
    let rules = ["lost word", "overdue ring", "silent ring", "unheard end"];
    is_noticed_with(&["--faults", "impatient,redis-pause"], "forget_queue", ["2", "24s", "25"], &rules);
}

#[test]
fn a_ring_that_counts_as_said_is_noticed() {
    is_noticed("said_before_emit", ["2", "6s", "25"], &["silent ring"]);
}

#[test]
fn a_node_that_gives_up_without_the_store_is_noticed() {
    is_noticed_with(&["--faults", "refuse-writes"], "give_up_early", ["2", "24s", "10"], &["died"]);
}

/// Several bugs at once, without a fault: each of these rules has to be broken in one of three runs.
fn are_noticed(name: &str, bugs: &str, load: [&str; 3], rules: &[&str]) {
    let [nodes, duration, rate] = load;
    let bugs = format!("SABOTAGE={bugs}");
    let arguments = ["--nodes", nodes, "--duration", duration, "--rate", rate, "--settle", "20s"];
    let arguments = [&arguments[..], &["--no-faults", "--node-env", &bugs]].concat();
    let mut unnoticed = rules.to_vec();
    for seed in ["1", "2", "3"] {
        let (output, said, figures) = chaos(name, seed, &arguments);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let violations = figures["violations"].as_array().expect("a list");
        unnoticed.retain(|rule| violations.iter().all(|violation| violation["rule"] != *rule));
        if unnoticed.is_empty() {
            return;
        }
    }
    panic!("{unnoticed:?} were not broken");
}

#[test]
fn what_is_told_wrongly_is_noticed() {
    let rules = ["busy at rest", "twice", "late ring", "lost message"];
    are_noticed("told", "leak_line,emit_twice,late_incoming,lose_message", ["2", "6s", "25"], &rules);
}

#[test]
fn switches_to_video_that_go_wrong_are_noticed() {
    let rules = ["unanswered", "two types", "wrong answer", "stranger"];
    are_noticed("video", "lose_answer,unwritten_answer,assent,loud_request", ["2", "5s", "40"], &rules);
}
