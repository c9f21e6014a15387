//! Every attack against real nodes, judged by its own bounds, and less strictly by what honest phones notice, which is for
//! machines that do nothing else. Those that wait run at the same time, floods beside them, shorter than by hand.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// They do little, last as long as what they wait for, and share a cluster.
const WAITING: [&str; 11] = [
    "silent",
    "half-head",
    "drip-head",
    "idle",
    "half-closed",
    "half-poll",
    "drip-poll",
    "half-api",
    "silent-transports",
    "disconnected",
    "half-frames",
];
/// Likewise, each with a cluster of its own.
const WAITING_ALONE: [&str; 5] = ["large-head", "unread", "half-messages", "ring-again", "dial-a-party"];
/// One after the other, with the seconds after which their bound shows.
const FLOODS: [(&str, Option<u32>); 7] = [
    ("descriptors", Some(12)),
    ("handshakes", Some(6)),
    ("pings", Some(6)),
    ("subscriptions", Some(4)),
    ("events", Some(4)),
    ("events-polling", Some(4)),
    ("api-flood", Some(4)),
];
/// Beside those. What is kept of an id shows against what newcomers are worth only where many came.
const OTHER_FLOODS: [(&str, Option<u32>); 6] = [
    ("waf", Some(6)),
    ("unknown-tokens", Some(6)),
    ("refused-connect", Some(4)),
    ("other-users", Some(4)),
    ("made-up-ids", None),
    ("long-ids", None),
];

/// After those: 800 sockets beside all the others keep two cores so busy that its bound says nothing.
const AT_LAST: [(&str, Option<u32>); 1] = [("many-devices", None)];

fn start(names: &[&str], more: &[&str]) -> Child {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/onlycare-signaling");
    assert!(binary.exists(), "{} is not there: run `cargo build --bin onlycare-signaling` first", binary.display());
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["attack", "--no-p99", "--before", "1s", "--rate", "2", "--phones", "12", "--only", &names.join(",")])
        .args(more)
        .arg("--binary")
        .arg(binary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("loadtest starts")
}

/// What it said where something did not hold.
fn fell(run: Child) -> Option<String> {
    let output = run.wait_with_output().expect("loadtest ends");
    let said = || [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat();
    (!output.status.success()).then(said)
}

/// Each when the one before is over.
fn in_turn(floods: &[(&str, Option<u32>)]) -> Vec<String> {
    let run = |(name, seconds): &(&str, Option<u32>)| {
        let seconds = seconds.map(|seconds| format!("{seconds}s"));
        let more: Vec<&str> = seconds.iter().flat_map(|seconds| ["--seconds", seconds]).collect();
        fell(start(&[name], &more))
    };
    floods.iter().filter_map(run).collect()
}

#[test]
fn who_waits_is_cut() {
    let mut runs = vec![start(&WAITING, &["--together"])];
    runs.extend(WAITING_ALONE.iter().map(|name| start(&[name], &[])));
    let fell: Vec<String> = runs.into_iter().filter_map(fell).collect();
    assert!(fell.is_empty(), "{}", fell.join("\n"));
}

#[test]
fn floods_are_borne() {
    let other = thread::spawn(|| in_turn(&OTHER_FLOODS));
    let mut fell = in_turn(&FLOODS);
    fell.extend(other.join().expect("a flood"));
    fell.extend(in_turn(&AT_LAST));
    assert!(fell.is_empty(), "{}", fell.join("\n"));
}

#[test]
fn every_attack_is_made() {
    let list =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).args(["attack", "--list"]).output().expect("loadtest starts");
    let list = String::from_utf8(list.stdout).expect("text");
    let mut listed: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let floods = FLOODS.iter().chain(&OTHER_FLOODS).chain(&AT_LAST).map(|(name, _)| *name);
    let mut made: Vec<&str> = WAITING.into_iter().chain(WAITING_ALONE).chain(floods).collect();
    listed.sort_unstable();
    made.sort_unstable();
    assert_eq!(made, listed);
}
