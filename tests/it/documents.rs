//! Documents say what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

/// What the inspector may say is where an operator looks it up.
#[test]
fn each_cause_is_on_the_page_of_symptoms() {
    let page = read("docs/troubleshooting.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for cause in onlycare_signaling::call::Cause::ALL {
        let name = format!("`{}`", cause.name());
        assert!(rows.iter().any(|row| row.split(" | ").next().unwrap().contains(&name)), "{name} has no row");
    }
}

/// Each promise names tests that exist, and says what is not promised.
#[test]
fn promises_name_their_tests() {
    let page = read("docs/guarantees.md");
    let sources: String = texts().into_iter().filter(|(name, _)| name.ends_with(".rs")).map(|(_, text)| text).collect();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let rows: Vec<&&str> =
        rows.iter().filter(|row| !row.starts_with("| promise ") && !row.starts_with("| ---")).collect();
    assert!(rows.len() >= 28, "{} promises", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, limits, tests] = cells[..] else { panic!("a promise has four cells: {row}") };
        assert!(limits.len() > 10, "what is not promised? {row}");
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test is named: {row}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "{test} does not exist: {row}");
        }
    }
}

/// What is released together has one version (docs/releasing.md).
#[test]
fn there_is_one_version() {
    let own = env!("CARGO_PKG_VERSION");
    for (file, said) in [
        ("loadtest/Cargo.toml", format!("\nversion = \"{own}\"\n")),
        ("helm/Chart.yaml", format!("\nversion: {own}\nappVersion: {own}\n")),
        ("Dockerfile", format!("\nARG VERSION={own}\n")),
        ("clients/js/package.json", format!("\"version\": \"{own}\"")),
        ("clients/kotlin/pom.xml", format!("\n  <version>{own}</version>\n")),
    ] {
        assert!(read(file).contains(&said), "{file} is not of version {own}");
    }
}

/// The words between double quotes that `is_one` picks out of the code of a folder.
fn literals(folder: &str, is_one: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let code = sources().into_iter().filter(|(file, _)| file.starts_with(folder)).map(|(_, text)| text);
    let code: Vec<String> = code.map(|text| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()).collect();
    let words = code.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with("//"));
    words.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|word| is_one(word)).map(str::to_owned).collect()
}

#[test]
fn events_and_routes_are_in_the_protocol() {
    let protocol = read("docs/protocol.md");
    let is_name = |word: &str| word.chars().all(|c| c.is_ascii_alphabetic() || c == ':' || c == '_');
    let families = ["call:", "presence:", "session:", "user:"];
    let is_event = |word: &str| is_name(word) && families.iter().any(|family| word.starts_with(family));
    let events = &literals("socket/", is_event) | &literals("wire/", is_event);
    let routes = literals("http/", |word| word.starts_with("/api/") && !word.contains(' '));
    assert!(events.len() > 15 && routes.len() > 10, "{events:?} {routes:?}");
    for name in events.iter().chain(&routes) {
        assert!(protocol.contains(&format!("`{name}`")), "docs/protocol.md does not know {name}");
    }
}

/// What others made, and what is built.
const NOT_OURS: [&str; 6] = ["target", "node_modules", "vendor", "build", "dist", "bin"];

/// Every text file of the tree, by its path from the root.
fn texts() -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or(".");
            let is_ours = !name.starts_with('.')
                && !NOT_OURS.contains(&name)
                && !name.ends_with(".lock")
                && name != "package-lock.json";
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && is_ours => walk(&entry.path(), found),
                kind if kind.is_file() && is_ours => found.push(entry.path()),
                _ => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, &mut found);
    // What is no text names no page.
    let read =
        |path: PathBuf| Some((path.strip_prefix(root).ok()?.to_str()?.to_owned(), fs::read_to_string(path).ok()?));
    found.into_iter().filter_map(read).collect()
}

/// The pages that a line names, each with the heading behind `#`, if any.
fn pages_named(line: &str) -> Vec<(String, Option<String>)> {
    let of_a_path = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let mut named = Vec::new();
    for (end, _) in line.match_indices(".md") {
        let rest = &line[end + 3..];
        let begin = line[..end].rfind(|c: char| !of_a_path(c)).map_or(0, |place| place + 1);
        let path = &line[begin..end + 3];
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric()) || path.ends_with("/.md") || path == ".md" {
            continue;
        }
        // Addresses, but for those of this tree.
        let path = match path.split_once("/blob/main/") {
            Some((_, path)) => path,
            None if path.starts_with("//") => continue,
            None => path.trim_start_matches('/'),
        };
        let heading = rest
            .strip_prefix('#')
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').collect());
        // Without a name it is made up by whoever reads it.
        named.push((path.to_owned(), heading.filter(|heading: &String| !heading.is_empty())));
    }
    named
}

/// The name that a heading has in an address.
fn slug(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// Beside the file that names it or in a folder above; code may name it from the folder that it runs in.
fn found(root: &Path, file: &str, path: &str) -> Option<PathBuf> {
    let above = Path::new(file).ancestors().skip(1).map(|folder| folder.join(path));
    let inner = path.match_indices('/').map(|(place, _)| PathBuf::from(&path[place + 1..]));
    let inner = inner.filter(|_| !file.ends_with(".md"));
    above.chain(inner).find(|page| root.join(page).is_file())
}

/// A page that is named is in the tree, with the heading.
#[test]
fn pages_that_are_named_exist() {
    let texts = texts();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    let mut named = 0;
    for (file, text) in texts.iter().filter(|(file, _)| file != "tests/it/documents.rs") {
        for (number, line) in text.lines().enumerate() {
            for (path, heading) in pages_named(line) {
                named += 1;
                let page = found(root, file, &path);
                let Some(page) = page else {
                    missing.push(format!("{file}:{}: {path} is not in the tree", number + 1));
                    continue;
                };
                let Some(heading) = heading else { continue };
                let text = fs::read_to_string(root.join(page)).unwrap();
                if !text.lines().any(|line| line.starts_with('#') && slug(line) == heading) {
                    missing.push(format!("{file}:{}: {path} has no heading {heading}", number + 1));
                }
            }
        }
    }
    assert!(named > 100, "{named} pages are named");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// A blank line cuts a table in two, and a missing cell shifts a row.
#[test]
fn tables_are_whole() {
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let is_rule = |line: &str| line.contains("---") && line.chars().all(|c| "|-: ".contains(c));
    let mut broken = Vec::new();
    for (file, text) in texts().into_iter().filter(|(file, _)| file.ends_with(".md")) {
        let mut table: Vec<&str> = Vec::new();
        let mut in_code = false;
        for (number, line) in text.lines().chain([""]).enumerate() {
            in_code ^= line.starts_with("```");
            if line.starts_with('|') && !in_code {
                table.push(line);
                continue;
            }
            if let [head, rest @ ..] = &table[..] {
                let is_whole = rest.first().is_some_and(|rule| is_rule(rule))
                    && rest.iter().all(|row| cells(row) == cells(head) && row.trim_end().ends_with('|'));
                if !is_whole {
                    broken.push(format!("{file}: the table that ends in line {number}"));
                }
            }
            table.clear();
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
