//! The walls between the files of `src`: no circles, structs that stay in their folder, none that does everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::layering::sources;

/// Folders in which files still name each other: how many circles at most, and why. No other folder has any, and none
/// leaves its folder. The numbers only go down.
const CIRCLES: &[(&str, usize, &str)] = &[
    ("app", 5, "the error of a failed start is defined where it is wired"),
    ("call", 5, "the record names types that stand beside the rules about them"),
    ("config", 1, "places are read by the reader that lists them"),
    ("http", 16, "handlers name what they share in `mod.rs`, which routes to them"),
    ("socket", 8, "what handlers share stands in them; news and the emitter speak over one socket"),
    ("store/memory", 4, "one struct, one trait implemented in each file"),
    ("telemetry", 1, "the table of metrics and those of calls share its macro"),
];

/// Structs with methods in more than one folder, and why.
const IN_TWO_FOLDERS: &[(&str, &str)] = &[("Reader", "options of access are read below the reader of all")];

/// Structs with methods and more than [`FIELDS`] fields or [`METHODS`] methods, and why.
const LARGE: &[(&str, &str, &str)] = &[
    ("call", "Call", "the stored record: its fields are its format, its methods derive from them alone"),
    ("call", "Party", "a part of the stored record"),
    ("config", "Reader", "a method for each kind of value an option has"),
    ("signaling", "Policy", "the options that rooms need; one method derives the timeouts of a call"),
    ("app", "App", "what a running node is stopped by, in its order"),
    ("http", "Relay", "to be split: whom to ask, how to pass on, what came back"),
    ("laravel", "Account", "to be split: counts of a client and what it is owed"),
    ("laravel", "LaravelVerifier", "to be split: what is remembered, what is being asked"),
    ("store", "Calls", "the memory store of calls: a map for each key of the Redis store"),
    ("store", "MemoryOutbox", "the memory store of the outbox: a map for each key of the Redis store"),
    ("webhook", "Endpoint", "one over: secrets, address and client of a receiver"),
];

const FIELDS: usize = 8;
const METHODS: usize = 25;

/// A file is 250 lines as a rule: so many are longer. The number only goes down.
const LONGER: usize = 27;

/// What is code in a file: without comments and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        lines.push(if bare.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() });
    }
    lines.join("\n")
}

/// The module that a file is: `signaling/calls/mod.rs` is `signaling::calls`.
fn module_of(file: &str) -> Vec<String> {
    let bare = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if bare == "lib" { Vec::new() } else { bare.split('/').map(str::to_owned).collect() }
}

/// The paths that an `use` names, each in full: `a::{b, c::D as E}` is `a::b` and `a::c::D`.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|part| part.trim().to_owned()).collect()];
    };
    let inner = rest.trim_end().trim_end_matches('}');
    let prefix: Vec<String> =
        prefix.trim().trim_end_matches("::").split("::").map(|part| part.trim().to_owned()).collect();
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(paths)
        .map(|path| prefix.iter().cloned().chain(path).filter(|part| part != "self").collect())
        .collect()
}

/// The `use` statements of a file with the line each begins at, and whether others may use what it names.
fn uses(code: &str) -> Vec<(usize, bool, String)> {
    let (mut found, mut open): (Vec<(usize, bool, String)>, bool) = (Vec::new(), false);
    for (number, line) in code.lines().enumerate() {
        let bare = line.trim_start();
        if !open {
            let public = bare
                .strip_prefix("pub")
                .and_then(|rest| rest.split_once("use "))
                .filter(|(vis, _)| vis.trim().is_empty() || vis.trim_start().starts_with('('));
            let statement = public.map(|(_, rest)| rest).or_else(|| bare.strip_prefix("use "));
            let Some(statement) = statement else { continue };
            found.push((number + 1, public.is_some(), statement.to_owned()));
        } else if let Some((_, _, statement)) = found.last_mut() {
            statement.push(' ');
            statement.push_str(bare);
        }
        open = !line.trim_end().ends_with(';');
        if !open && let Some((_, _, statement)) = found.last_mut() {
            *statement = statement.trim_end_matches(';').to_owned();
        }
    }
    found
}

/// The files of `src` and who names whom.
struct Tree {
    /// By module path.
    files: HashMap<Vec<String>, String>,
    /// What a module passes on: its path and a name, and the path that this is.
    passed_on: HashMap<(Vec<String>, String), Vec<String>>,
    code: BTreeMap<String, String>,
}

impl Tree {
    fn read() -> Self {
        let code: BTreeMap<_, _> = sources().into_iter().map(|(name, text)| (name, code(&text))).collect();
        let files = code.keys().map(|file| (module_of(file), file.clone())).collect();
        let mut tree = Self { files, passed_on: HashMap::new(), code };
        let mut passed_on = HashMap::new();
        for (file, code) in &tree.code {
            for (_, public, statement) in uses(code) {
                for path in paths(&statement).iter().filter(|_| public) {
                    let Some(path) = tree.absolute(file, path) else { continue };
                    passed_on.insert((module_of(file), path.last().cloned().unwrap_or_default()), path);
                }
            }
        }
        tree.passed_on = passed_on;
        tree
    }

    /// A path from the root of the crate; absent for another crate's.
    fn absolute(&self, file: &str, path: &[String]) -> Option<Vec<String>> {
        let mut at = module_of(file);
        let mut rest = path;
        match rest.first().map(String::as_str) {
            Some("crate") => at.clear(),
            Some("super") => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
                return Some(at.into_iter().chain(rest.iter().cloned()).collect());
            }
            Some("self") => {}
            Some(first) => {
                let mut child = at.clone();
                child.push(first.to_owned());
                if !self.files.contains_key(&child) {
                    return None;
                }
                return Some(at.into_iter().chain(path.iter().cloned()).collect());
            }
            None => return None,
        }
        Some(at.into_iter().chain(rest[1..].iter().cloned()).collect())
    }

    /// The file in which that is defined which a path names.
    fn defined_in(&self, path: &[String]) -> Option<&String> {
        let mut at: Vec<String> = Vec::new();
        for (depth, part) in path.iter().enumerate() {
            let mut next = at.clone();
            next.push(part.clone());
            let is_last = depth + 1 == path.len();
            if self.files.contains_key(&next) && !is_last {
                at = next;
                continue;
            }
            if let Some(target) = self.passed_on.get(&(at.clone(), part.clone())) {
                let target: Vec<String> = target.iter().cloned().chain(path[depth + 1..].iter().cloned()).collect();
                return if target == path { self.files.get(&at) } else { self.defined_in(&target) };
            }
            if self.files.contains_key(&next) {
                at = next;
            }
            break;
        }
        self.files.get(&at)
    }

    /// The paths that begin with a module below the file's own.
    fn children_named(&self, file: &str) -> Vec<(usize, Vec<String>)> {
        let own = module_of(file);
        let is_child = |module: &Vec<String>| module.len() == own.len() + 1 && module.starts_with(&own);
        let mut named = Vec::new();
        for child in self.files.keys().filter(|module| is_child(module)).filter_map(|module| module.last()) {
            let start = format!("{child}::");
            for (number, line) in self.code[file].lines().enumerate().filter(|(_, line)| !line.contains("use ")) {
                for (at, _) in line.match_indices(&start) {
                    let end = line[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                    let path = &line[at..end.map_or(line.len(), |end| at + end)];
                    if !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_:\"/".contains(c)) {
                        let parts = path.trim_end_matches(':').split("::").map(str::to_owned);
                        named.push((number + 1, parts.collect()));
                    }
                }
            }
        }
        named
    }

    /// What a file names, and in which line: what it passes on is named by whoever uses it.
    fn named_by(&self, file: &str) -> BTreeMap<String, usize> {
        let code = &self.code[file];
        let mut named: Vec<(usize, Vec<String>)> = Vec::new();
        for (line, public, statement) in uses(code) {
            named.extend(paths(&statement).into_iter().filter(|_| !public).map(|path| (line, path)));
        }
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("use ")) {
            for start in ["crate::", "super::"] {
                for (at, _) in line.match_indices(start) {
                    let end = line[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                    let path = &line[at..end.map_or(line.len(), |end| at + end)];
                    if at == 0 || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                        let parts = path.trim_end_matches(':').split("::").map(str::to_owned);
                        named.push((number + 1, parts.collect()));
                    }
                }
            }
        }
        named.extend(self.children_named(file));
        let mut files = BTreeMap::new();
        for (line, path) in named {
            let target = self.absolute(file, &path).and_then(|path| self.defined_in(&path).cloned());
            if let Some(target) = target.filter(|target| target != file && target != "lib.rs") {
                files.entry(target).or_insert(line);
            }
        }
        files
    }
}

/// The shortest way from a file back to itself.
fn way_back(from: &str, named: &BTreeMap<String, BTreeMap<String, usize>>) -> Option<Vec<String>> {
    let mut came_from: HashMap<&str, &str> = HashMap::new();
    let mut edge = vec![from];
    while !edge.is_empty() {
        let mut next = Vec::new();
        for file in edge {
            for target in named[file].keys() {
                if target == from {
                    let mut way = vec![from.to_owned()];
                    let mut at = file;
                    while at != from {
                        way.push(at.to_owned());
                        at = came_from[at];
                    }
                    way.push(from.to_owned());
                    way.reverse();
                    return Some(way);
                }
                if !came_from.contains_key(target.as_str()) {
                    came_from.insert(target, file);
                    next.push(target.as_str());
                }
            }
        }
        edge = next;
    }
    None
}

#[test]
fn files_name_each_other_in_one_direction() {
    let tree = Tree::read();
    let named: BTreeMap<String, BTreeMap<String, usize>> =
        tree.code.keys().map(|file| (file.clone(), tree.named_by(file))).collect();
    assert!(named.values().map(BTreeMap::len).sum::<usize>() > 500, "the paths are not read any more");
    let (mut circles, mut seen): (Vec<(String, String)>, BTreeSet<BTreeSet<String>>) = Default::default();
    for way in named.keys().filter_map(|file| way_back(file, &named)) {
        if seen.insert(way.iter().cloned().collect()) {
            let steps =
                way.windows(2).map(|step| format!("{}:{} names {}", step[0], named[&step[0]][&step[1]], step[1]));
            circles.push((folder_of(&way), steps.collect::<Vec<_>>().join(", ")));
        }
    }
    let bound = |folder: &str| {
        let of = |known: &str| folder == known || folder.starts_with(&format!("{known}/"));
        CIRCLES.iter().find(|(known, ..)| of(known)).map(|(known, at_most, _)| (*known, *at_most))
    };
    let mut wrong = Vec::new();
    for (folder, steps) in &circles {
        let Some((known, at_most)) = bound(folder) else {
            wrong.push(steps.clone());
            continue;
        };
        let count = circles.iter().filter(|(folder, _)| bound(folder).is_some_and(|(other, _)| other == known)).count();
        if count > at_most {
            wrong.push(format!("{known} has {count} circles: {steps}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The folder that all these files lie in; a file beside a folder of its name lies in that.
fn folder_of(files: &[String]) -> String {
    let parts = |file: &String| file.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
    let mut common = parts(&files[0]);
    for file in files {
        let other = parts(file);
        let same = common.iter().zip(&other).take_while(|(one, other)| one == other).count();
        common.truncate(same);
    }
    common.join("/")
}

#[test]
fn a_circle_is_found_however_it_is_spelled() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(paths("super::{b::C, d::{self, E as F}}"), [path("super::b::C"), path("super::d"), path("super::d::E")]);
    let statements = uses("pub(super) use a::B;\nuse c::{\n    D,\n};\nlet used = 1;\n");
    assert_eq!(
        statements.iter().map(|(line, public, _)| (*line, *public)).collect::<Vec<_>>(),
        [(1, true), (2, false)]
    );
    let names = |target: &str| BTreeMap::from([(target.to_owned(), 1)]);
    let named = [("a.rs", "b.rs"), ("b.rs", "c.rs"), ("c.rs", "a.rs"), ("d.rs", "a.rs")];
    let named: BTreeMap<_, _> = named.into_iter().map(|(file, target)| (file.to_owned(), names(target))).collect();
    assert_eq!(way_back("a.rs", &named).expect("there is a way"), ["a.rs", "b.rs", "c.rs", "a.rs"]);
    assert_eq!(way_back("d.rs", &named), None, "it leads into a circle and is in none");
}

/// A struct as it is written.
#[derive(Default)]
struct Struct {
    fields: usize,
    defined: Vec<String>,
    /// Methods by file.
    methods: BTreeMap<String, usize>,
}

/// The structs with methods, by name and the topmost folder they are defined in.
fn structs() -> BTreeMap<(String, String), Struct> {
    let tree = Tree::read();
    let mut found: BTreeMap<(String, String), Struct> = BTreeMap::new();
    let top = |file: &str| file.split(['/', '.']).next().unwrap_or_default().to_owned();
    let name =
        |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    for (file, code) in &tree.code {
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            let bare = line.split_once("struct ").filter(|(vis, _)| vis.is_empty() || vis.starts_with("pub"));
            let Some((_, rest)) = bare else { continue };
            let entry = found.entry((top(file), name(rest))).or_default();
            entry.defined.push(file.clone());
            if line.ends_with('{') {
                let body = lines.by_ref().take_while(|line| *line != "}");
                let is_field = |line: &&str| {
                    line.starts_with("    ")
                        && !line.starts_with("     ")
                        && line.contains(':')
                        && !line.trim_start().starts_with('#')
                };
                entry.fields = entry.fields.max(body.filter(is_field).count());
            }
        }
    }
    for (file, code) in &tree.code {
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            let Some(rest) = line.strip_prefix("impl") else { continue };
            if line.contains(" for ") || !line.ends_with('{') {
                continue;
            }
            // The parameters of the block, if any, end before its type.
            let rest = if rest.starts_with('<') { rest.split_once("> ").map_or("", |(_, rest)| rest) } else { rest };
            let is_method = |line: &&str| {
                let bare = line.strip_prefix("    ").unwrap_or_default();
                !bare.starts_with(' ')
                    && (bare.starts_with("fn ") || bare.contains(" fn "))
                    && !bare.starts_with("where")
            };
            let methods = lines.by_ref().take_while(|line| *line != "}").filter(is_method).count();
            if let Some(entry) = found.get_mut(&(top(file), name(rest.trim_start()))) {
                *entry.methods.entry(file.clone()).or_default() += methods;
            }
        }
    }
    found.retain(|_, found| found.methods.values().sum::<usize>() > 0);
    found
}

#[test]
fn a_struct_stays_in_its_folder() {
    let mut wrong = Vec::new();
    for ((_, name), found) in structs() {
        let folder = |file: &String| file.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        let folders: BTreeSet<String> = found.methods.keys().map(folder).collect();
        if found.defined.len() == 1 && folders.len() > 1 && !IN_TWO_FOLDERS.iter().any(|(known, _)| *known == name) {
            wrong.push(format!("{name} has methods in {folders:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_struct_does_everything() {
    let structs = structs();
    assert!(structs.len() > 150, "{} structs: they are not read any more", structs.len());
    let mut wrong = Vec::new();
    for ((room, name), found) in &structs {
        let methods: usize = found.methods.values().sum();
        let known = LARGE.iter().any(|(of, known, _)| of == room && known == name);
        let is_large = found.fields > FIELDS || methods > METHODS;
        if is_large && !known {
            wrong.push(format!("{name} in {:?} has {} fields and {methods} methods", found.defined, found.fields));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (room, known, _) in LARGE {
        let found = structs.get(&((*room).to_owned(), (*known).to_owned()));
        let is_large = |found: &Struct| found.fields > FIELDS || found.methods.values().sum::<usize>() > METHODS;
        assert!(found.is_some_and(is_large), "{known} is small by now");
    }
}

#[test]
fn files_are_short_as_a_rule() {
    let lines = |text: &str| text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
    let longer: Vec<String> =
        sources().into_iter().filter(|(_, text)| lines(text) > 250).map(|(name, _)| name).collect();
    assert!(longer.len() <= LONGER, "{} files have more than 250 lines: {longer:?}", longer.len());
}
