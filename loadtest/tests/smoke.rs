//! The real program against real nodes.

use std::path::Path;
use std::process::Command;

#[test]
fn twenty_calls_a_second_have_no_fault() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = folder.join("../target/debug/onlycare-signaling");
    assert!(binary.exists(), "{} is not there: run `cargo build --bin onlycare-signaling` first", binary.display());
    let json = std::env::temp_dir().join(format!("loadtest-smoke-{}.json", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["calls", "--rate", "20", "--duration", "3s", "--phones", "60", "--talk", "300ms", "--seed", "1"])
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
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let figures = &report["figures"];
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
