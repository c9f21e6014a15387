//! A short chaos without and with faults, and bugs on purpose that it has to notice.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Condvar, Mutex, PoisonError};

use serde_json::Value;

fn node() -> PathBuf {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/onlycare-signaling");
    assert!(binary.exists(), "{} is not there: run `cargo build --bin onlycare-signaling` first", binary.display());
    binary
}

/// How many runs this machine plays without being late: who is late proves nothing.
const AT_ONCE: usize = 4;
/// A flood of dials takes the whole machine, and what is to break no rule runs beside nothing.
const ALONE: usize = AT_ONCE;

/// The part of the machine that a run takes.
struct Share(usize);

static FREE: Mutex<usize> = Mutex::new(AT_ONCE);
static FREED: Condvar = Condvar::new();

impl Share {
    fn take(share: usize) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED.wait_while(free, |free| *free < share).unwrap_or_else(PoisonError::into_inner);
        *free -= share;
        Self(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        FREED.notify_all();
    }
}

/// Runs a short chaos. Returns what it said and its figures.
fn chaos(name: &str, seed: &str, arguments: &[&str]) -> (Output, String, Value) {
    let is_alone = name == "clean" || arguments.contains(&"dial-flood");
    let _share = Share::take(if is_alone { ALONE } else { 1 });
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

/// Nodes with these bugs break, in one of three runs (whether a bug strikes where it shows is chance), one rule of each
/// of these lists.
fn are_noticed(faults: &[&str], bugs: &str, load: [&str; 3], rules: &[&[&str]]) {
    let [nodes, duration, rate] = load;
    let sabotage = format!("SABOTAGE={bugs}");
    let arguments = ["--nodes", nodes, "--duration", duration, "--rate", rate, "--settle", "20s"];
    let arguments = [&arguments[..], faults, &["--node-env", &sabotage]].concat();
    let mut unnoticed = rules.to_vec();
    let mut said = String::new();
    for seed in ["1", "2", "3"] {
        let (output, told, figures) = chaos(bugs, seed, &arguments);
        said += &told;
        let violations = figures["violations"].as_array().expect("a list");
        assert_eq!(output.status.code(), Some(i32::from(!violations.is_empty())), "{said}");
        unnoticed.retain(|rules| !violations.iter().any(|broken| rules.iter().any(|rule| broken["rule"] == *rule)));
        if unnoticed.is_empty() {
            return;
        }
    }
    panic!("{unnoticed:?} were not broken\n{said}");
}

const NO_FAULT: [&str; 1] = ["--no-faults"];

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
    are_noticed(&NO_FAULT, "drop_envelopes", ["3", "8s", "70"], &[&["unheard end", "silent ring", "endless"]]);
}

#[test]
fn a_swap_without_its_version_check_is_noticed() {
    are_noticed(&NO_FAULT, "skip_version_check", ["2", "12s", "25"], &[&["two accepts", "disagreement"]]);
}

#[test]
fn a_lost_deadline_is_noticed() {
    are_noticed(&NO_FAULT, "lose_deadline", ["2", "8s", "25"], &[&["endless", "overdue ring"]]);
}

#[test]
fn an_order_of_calls_by_the_clock_is_noticed() {
    let rules = ["silent ring", "overdue ring"];
    are_noticed(&["--faults", "dial-flood"], "order_by_clock", ["2", "14s", "25"], &[&rules]);
}

#[test]
fn a_word_that_is_dropped_with_its_client_is_noticed() {
    are_noticed(&["--faults", "impatient"], "drop_on_disconnect", ["2", "14s", "25"], &[&["lost word"]]);
}

#[test]
fn a_queue_that_is_forgotten_is_noticed() {
    let rules = ["lost word", "overdue ring", "silent ring", "unheard end"];
    are_noticed(&["--faults", "impatient,redis-pause"], "forget_queue", ["2", "24s", "25"], &[&rules]);
}

#[test]
fn a_ring_that_counts_as_said_is_noticed() {
    are_noticed(&NO_FAULT, "said_before_emit", ["2", "6s", "25"], &[&["silent ring"]]);
}

#[test]
fn a_node_that_gives_up_without_the_store_is_noticed() {
    are_noticed(&["--faults", "refuse-writes"], "give_up_early", ["2", "24s", "10"], &[&["died"]]);
}

#[test]
fn what_is_told_wrongly_is_noticed() {
    let rules: [&[&str]; 4] = [&["busy at rest"], &["twice"], &["late ring"], &["lost message"]];
    are_noticed(&NO_FAULT, "leak_line,emit_twice,late_incoming,lose_message", ["2", "10s", "25"], &rules);
}

#[test]
fn switches_to_video_that_go_wrong_are_noticed() {
    let rules: [&[&str]; 4] = [&["unanswered"], &["two types"], &["wrong answer"], &["stranger"]];
    are_noticed(&NO_FAULT, "lose_answer,unwritten_answer,assent,loud_request", ["2", "12s", "40"], &rules);
}
