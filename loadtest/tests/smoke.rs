//! The real program against real nodes.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What the program said, and its figures.
fn run(name: &str, arguments: &[&str]) -> (String, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = folder.join("../target/debug/onlycare-signaling");
    assert!(binary.exists(), "{} is not there: run `cargo build --bin onlycare-signaling` first", binary.display());
    let json = std::env::temp_dir().join(format!("loadtest-{name}-{}.json", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(arguments)
        .arg("--binary")
        .arg(&binary)
        .arg("--json")
        .arg(&json)
        .output()
        .expect("loadtest starts");
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    let report = std::fs::read_to_string(&json).expect("a report");
    let _ = std::fs::remove_file(&json);
    let mut report: Value = serde_json::from_str(&report).expect("JSON");
    (said, report["figures"].take())
}

#[test]
fn twenty_calls_a_second_have_no_fault() {
    let calls = ["calls", "--rate", "20", "--duration", "3s", "--phones", "60", "--talk", "300ms", "--seed", "1"];
    let (said, figures) = run("calls", &calls);
    let kinds = ["lost", "doubled", "late", "wrong ack", "unexpected", "disconnected"];
    for kind in kinds {
        assert_eq!(figures["faults"][kind]["count"], 0, "{said}");
    }
    let started = figures["calls"]["started"].as_u64().expect("a count");
    assert!((30..=100).contains(&started), "{said}");
    assert_eq!(figures["calls"]["completed"], started, "{said}");
    assert_eq!(figures["latency"]["initiate→incoming"]["count"], started, "{said}");
    assert!(figures["redis_commands_per_call"].as_f64().expect("a figure") > 1.0, "{said}");
}

/// What a session holds while nothing happens, as the node's resident set: docs/adr/0017 says of what it is made.
#[test]
fn an_idle_session_takes_little_memory() {
    for (transport, at_most) in [("websocket", 24.0), ("polling", 24.0)] {
        let node = ["connect", "--no-redis", "--start-nodes", "1", "--transport", transport];
        let phones = ["--phones", "1200", "--rate", "250", "--warm", "500", "--hold", "1s"];
        let (said, figures) = run(transport, &[&node[..], &phones].concat());
        assert_eq!(figures["connected"], 1200, "{said}");
        let kib = figures["node_memory_kib_per_further_session"].as_f64().expect("a figure");
        assert!(kib < at_most, "{transport}: {kib} KiB for each session\n{said}");
    }
}

#[test]
fn sessions_of_several_processes_are_held_beside_calls() {
    let phones = ["idle", "--phones", "60", "--per-process", "25", "--rate", "100", "--hold", "1500ms"];
    let (said, figures) = run("idle", &[&phones[..], &["--calls-rate", "10", "--before", "1s"]].concat());
    assert_eq!(figures["connected"], 60, "{said}");
    assert_eq!(figures["sessions"], 60 + 2 * 40, "{said}");
    assert!(said.contains("60 phones come from 3 processes"), "{said}");
    assert!(figures["calls"]["beside"]["p50_ms"].as_f64().expect("a figure") > 0.0, "{said}");
    assert_eq!(figures["lost"], serde_json::json!({}), "{said}");
}

#[test]
fn the_most_calls_are_found() {
    let (said, figures) = run("max", &["max", "--pairs", "1,4", "--duration", "500ms"]);
    let steps = figures["steps"].as_array().expect("steps");
    let calls: Vec<f64> = steps.iter().filter_map(|step| step["calls_per_second"].as_f64()).collect();
    assert!(calls.len() == 2 && calls.iter().all(|calls| *calls > 0.0), "{said}");
    assert_eq!(figures["best"]["calls_per_second"], calls[0].max(calls[1]), "{said}");
    assert!(figures["best"]["bound"].is_string(), "{said}");
}

#[test]
fn watchers_hear_who_comes_and_who_goes() {
    let presence = ["presence", "--watchers", "10", "--watched", "6", "--phones", "20"];
    let (said, figures) = run("presence", &[&presence[..], &["--changes", "10", "--duration", "1s"]].concat());
    let made = figures["changes"]["made"].as_u64().expect("a count");
    assert!(made > 0, "{said}");
    // Each user is watched by three.
    assert_eq!(figures["watchers_told"], 3 * made, "{said}");
    assert_eq!(figures["latency"]["come→ready"]["count"], figures["changes"]["came"], "{said}");
}
