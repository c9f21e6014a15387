//! Documents say what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use onlycare_signaling::config::options_table;

use crate::layering::sources;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_configuration_table_is_generated() {
    let table = options_table();
    assert!(
        read("docs/configuration.md").contains(table.trim_end()),
        "docs/configuration.md is old: put the output of `cargo run -- --print-options` into it"
    );
}

#[test]
fn the_metrics_table_is_generated() {
    let table = onlycare_signaling::telemetry::metrics::metrics_table();
    assert!(
        read("docs/metrics.md").contains(table.trim_end()),
        "docs/metrics.md is old: put the output of `cargo run -- --print-metrics` into it"
    );
}

/// Log fields have the names that the documents list, each the same everywhere, and users only one that hides them.
#[test]
fn log_fields_have_the_listed_names() {
    let operations = read("docs/operations.md");
    let section = operations.split("## Traces and logs").nth(1).expect("a section").split("\n## ").next().unwrap();
    let listed: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let mut lines = 0;
    for (file, text) in sources() {
        let code = text.split("#[cfg(test)]\n").next().unwrap_or_default();
        for call in code.split("tracing::").skip(1) {
            let Some((level, rest)) = call.split_once("!(") else { continue };
            if !["error", "warn", "info", "debug", "trace"].contains(&level) {
                continue;
            }
            lines += 1;
            let fields = rest.split('"').next().unwrap_or_default();
            let mut depth = 0;
            let split = |c: char| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ',' && depth == 0
            };
            for field in fields.split(split).map(str::trim).filter(|field| !field.is_empty()) {
                let (name, value) = field.split_once(" = ").unwrap_or((field.trim_start_matches(['%', '?']), field));
                assert!(listed.contains(name), "{file}: {name} is no field of docs/operations.md");
                assert!(name != "user" || value.starts_with("%Who("), "{file}: {field} names a user in plain");
            }
        }
    }
    assert!(lines > 60, "{lines} lines are read");
}

/// Each promise of the README names tests that exist.
#[test]
fn promises_name_their_tests() {
    let readme = read("README.md");
    let table = readme.split("## Promises").nth(1).expect("a table of promises");
    let table = table.split("\n## ").next().unwrap_or_default();
    let mut sources = String::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    sources.push_str(&read("src/call/tests.rs"));
    sources.push_str(&read("src/call/tests/absence_tests.rs"));
    sources.push_str(&read("src/store/contract.rs"));
    sources.push_str(&read("src/store/outbox_contract.rs"));
    sources.push_str(&read("src/config/mod.rs"));
    sources.push_str(&read("src/clock/estimate.rs"));
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() >= 12, "{} promises", rows.len());
    for row in rows {
        let named: BTreeSet<&str> = row.split('`').skip(1).step_by(2).collect();
        let tests: Vec<&&str> =
            named.iter().filter(|name| name.contains('_') && !name.contains([':', ' ', '/'])).collect();
        assert!(!tests.is_empty(), "no test is named: {row}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{test} does not exist: {row}");
        }
    }
}
