//! Which module may use which (CONTRIBUTING.md), read off the `use` lines.

use std::fs;
use std::path::{Path, PathBuf};

/// Module, and what it may name of `crate::`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("call", &["call"]),
    ("shapes", &["shapes", "call"]),
    ("clock", &["call"]),
    ("fault_injection", &[]),
    ("store", &["store", "call", "clock", "fault_injection", "telemetry"]),
    ("bus", &["bus", "call", "clock", "telemetry"]),
    ("signaling", &["signaling", "call", "shapes", "clock", "fault_injection", "store", "bus", "telemetry"]),
    ("wire", &["wire", "signaling", "call", "shapes", "telemetry"]),
    ("socket", &["socket", "wire", "signaling", "call", "clock", "fairness", "telemetry"]),
    (
        "http",
        &["http", "wire", "signaling", "call", "telemetry", "config", "clock", "fairness", "socket", "fault_injection"],
    ),
    ("laravel", &["laravel", "dispatcher", "call", "clock", "fairness", "store", "telemetry"]),
    ("fairness", &[]),
    ("dispatcher", &["call", "clock", "store", "telemetry"]),
    ("webhook", &["webhook", "dispatcher", "call", "clock", "store", "telemetry"]),
    ("config", &["config", "call", "signaling", "socket", "store", "telemetry", "webhook"]),
    ("telemetry", &["telemetry", "call", "clock"]),
];

/// Libraries that stay in their place.
const HOMES: &[(&str, &[&str])] = &[
    ("fred::", &["store/redis", "bus/redis.rs", "app.rs", "app/shared.rs"]),
    ("socketioxide::", &["socket/", "app.rs"]),
    ("axum::", &["http/", "app.rs", "app/admin.rs"]),
    ("utoipa", &["http/", "shapes/", "wire/"]),
    ("reqwest::", &["laravel/", "webhook/", "telemetry/trace/"]),
    ("opentelemetry", &["telemetry/trace/"]),
    (
        "tokio::",
        &[
            "app.rs",
            "app/",
            "bus/",
            "clock.rs",
            "dispatcher.rs",
            "http/",
            "laravel/",
            "main.rs",
            "fault_injection.rs",
            "shutdown.rs",
            "signaling/",
            "socket/",
            "store/",
            "telemetry/",
            "webhook/",
        ],
    ),
];

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

pub fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    found
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().display().to_string(), fs::read_to_string(&path).unwrap()))
        .filter(|(name, _)| !name.ends_with("tests.rs") && !name.ends_with("contract.rs"))
        .collect()
}

#[test]
fn modules_use_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| *known == module) else {
            assert!(["app", "lib", "main", "shutdown"].contains(&module), "{name} has no place in the layering");
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (place, _) in code.match_indices("crate::") {
                let used = code[place + 7..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if !allowed.contains(&used) {
                    wrong.push(format!("{name}:{}: {module} must not use {used}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_home() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (library, homes) in HOMES {
                if code.contains(library) && !homes.iter().any(|home| name.starts_with(home)) {
                    wrong.push(format!("{name}:{}: {library} does not belong here", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is in `Cargo.toml` and named nowhere is compiled by everybody for nothing.
#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut code = String::new();
    for folder in ["src", "tests/it"] {
        let mut found = Vec::new();
        files(&root.join(folder), &mut found);
        found.iter().for_each(|path| code.push_str(&fs::read_to_string(path).unwrap()));
    }
    let sections = manifest.split("\n[").filter(|section| {
        let name = section.split(']').next().unwrap_or_default();
        name.ends_with("dependencies") && !name.starts_with("workspace")
    });
    let mut counted = 0;
    for line in sections.flat_map(|section| section.lines().skip(1)) {
        let Some((name, rest)) = line.split_once(" = ") else { continue };
        counted += 1;
        let used = code.contains(&format!("{}::", name.replace('-', "_")));
        // One that another library brings may be named for its version alone.
        assert!(used || rest.contains("# pinned"), "{name} is used nowhere");
    }
    assert!(counted > 20, "dependencies are read: {counted}");
}

#[test]
fn the_rules_of_a_call_never_await() {
    for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("call/")) {
        assert!(!text.contains(".await") && !text.contains("async "), "{name} is not pure");
    }
}

#[test]
fn files_can_be_read_in_a_sitting() {
    for (name, text) in sources() {
        let lines = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        assert!(lines <= 400, "{name} has {lines} lines");
    }
}

/// Whatever changes something runs in a task of the node: the interfaces leave the transports no other way.
#[test]
fn what_changes_something_outlives_who_asked() {
    let sources = sources();
    let rooms = &sources.iter().find(|(name, _)| name == "signaling/mod.rs").expect("it exists").1;
    let open: Vec<&str> = rooms.lines().filter(|line| line.starts_with("pub mod ")).collect();
    assert!(open.is_empty(), "a transport reaches a room beside the interfaces: {open:?}");
    let only_reads = [
        "is_own_live_call",
        "who_is_online",
        "session_id",
        "connected_users",
        "connected_page",
        "counts",
        "statistics",
        "live_page",
        "person",
    ];
    let harmless = ["dead_letters", "renew_once_more", "address_of"];
    let mut asked = 0;
    for (name, interface) in sources.iter().filter(|(name, _)| name.starts_with("signaling/interface/")) {
        for way in interface.split("    pub async fn ").skip(1) {
            let known = way.split('(').next().unwrap_or_default();
            let is_question = only_reads.iter().chain(&harmless).any(|question| *question == known);
            assert!(
                is_question || way.contains("self.node.to_its_end("),
                "{name}: it may be broken off half way: {way}"
            );
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked} ways in");
}
