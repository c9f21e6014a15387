//! The attacks that hold, against real nodes, judged by success and bounds; latencies are for machines that do nothing
//! else. SECURITY.md says which do not hold yet.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// One attack with a cluster of its own.
fn start(name: &str) -> Child {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/onlycare-signaling");
    assert!(binary.exists(), "{} is not there: run `cargo build --bin onlycare-signaling` first", binary.display());
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["attack", "--no-p99", "--before", "1s", "--rate", "3", "--phones", "16", "--only", name, "--binary"])
        .arg(binary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("loadtest starts")
}

/// Runs attacks at the same time; each has to hold.
fn hold(names: &[&str]) {
    let runs: Vec<Child> = names.iter().map(|name| start(name)).collect();
    let mut fell = Vec::new();
    for run in runs {
        let output = run.wait_with_output().expect("loadtest ends");
        if !output.status.success() {
            fell.push([output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat());
        }
    }
    assert!(fell.is_empty(), "{}", fell.join("\n"));
}

#[test]
fn who_waits_is_cut() {
    hold(&["half-closed", "silent-transports", "half-frames", "dial-a-party"]);
}

#[test]
fn floods_are_borne() {
    for flood in ["other-users", "events", "api-flood"] {
        hold(&[flood]);
    }
}
