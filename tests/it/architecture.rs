//! The walls of the house, read from the sources: who may import whom, where outside crates stop, how long a file may grow.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use onefive::config::DEFAULTS;
use onefive::{provider, sink};

/// Which areas an area may name besides itself. The composition root and the command line may name everything.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("channel", &["domain"]),
    ("clock", &["domain"]),
    ("config", &[]),
    ("metrics", &[]),
    ("web", &["domain", "channel"]),
    ("provider", &["domain", "channel", "clock"]),
    ("provider/*", &["provider", "domain", "channel", "clock"]),
    ("sink", &["domain"]),
    ("sink/*", &["sink", "domain"]),
    ("store", &["domain", "clock"]),
    (
        "journey",
        &[
            "domain", "channel", "provider", "sink", "store", "clock", "metrics",
        ],
    ),
    (
        "http",
        &[
            "journey", "domain", "channel", "provider", "store", "web", "clock", "metrics",
        ],
    ),
    ("app", EVERYTHING_BELOW_APP),
    (
        "cli",
        &["app", "channel", "clock", "config", "domain", "store"],
    ),
];
const EVERYTHING_BELOW_APP: &[&str] = &[
    "domain", "channel", "clock", "config", "metrics", "web", "provider", "sink", "store",
    "journey", "http",
];
/// The page of pretend devices shows the sandbox itself.
const EXCEPTIONS: &[(&str, &str)] = &[("http/sandbox.rs", "provider/sandbox")];
/// Where a crate from outside may be named.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("sqlx", &["store/"]),
    ("axum", &["http/", "app.rs"]),
    ("lettre", &["provider/smtp/"]),
    ("mail_parser", &["provider/smtp/"]),
    ("hyper", &["http/server.rs", "provider/"]),
    ("hyper_util", &["http/server.rs", "provider/", "sink/"]),
    ("hyper_rustls", &["provider/", "sink/"]),
    ("async_nats", &["sink/nats.rs"]),
    ("prost", &["sink/remote_write.rs"]),
];
const LINES_MAX: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A source file without its comments and its tests.
struct Source {
    /// Below `src`, such as `provider/twilio/mod.rs`.
    path: String,
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    assert!(found.len() > 50, "the sources are not where they were");
    found
}

fn walk(folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let only_tests = name == "tests.rs" || name.ends_with("_tests.rs") || name == "conformance";
        if only_tests || name == "conformance.rs" {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text
                .find("\n#[cfg(test)]\nmod tests {")
                .map_or(text.as_str(), |at| &text[..at]);
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.push(Source {
                path: path
                    .strip_prefix(root().join("src"))
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                code: code.join("\n"),
                lines: text.lines().count(),
            });
        }
    }
}

/// The module that a file is, as segments: `provider/twilio/mod.rs` is `[provider, twilio]`.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The area that a module belongs to. Each folder of a provider and each file of a sink is its own.
fn area(module: &[String]) -> String {
    match module {
        [first, second, ..]
            if first == "provider"
                && root().join("src/provider").join(second).is_dir()
                && provider::ALL.iter().any(|row| row.name == second) =>
        {
            format!("provider/{second}")
        }
        [first, second, ..]
            if first == "sink" && sink::ALL.iter().any(|row| row.name == second) =>
        {
            format!("sink/{second}")
        }
        [first, ..] => first.clone(),
        [] => String::new(),
    }
}

/// Every module of ours that a file names through `crate::` or `super::`.
fn named(source: &Source) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in source.code.match_indices(start) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut rest = &source.code[at..];
            let mut base = module(&source.path);
            if let Some(after) = rest.strip_prefix("crate::") {
                (rest, base) = (after, Vec::new());
            }
            while let Some(after) = rest.strip_prefix("super::") {
                rest = after;
                base.pop();
            }
            for path in paths(rest) {
                all.push(base.iter().cloned().chain(path).collect());
            }
        }
    }
    all
}

/// The paths that begin here: one, or those of a group in braces, to the depth of their first two names.
fn paths(text: &str) -> Vec<Vec<String>> {
    let Some(group) = text.strip_prefix('{') else {
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(text.len());
        let names = text[..end].split("::").filter(|name| !name.is_empty());
        return vec![names.take(2).map(str::to_owned).collect()];
    };
    let (mut depth, mut inside) = (0_i32, String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 0 => inside.push(c),
            _ => {}
        }
    }
    inside
        .split(',')
        .flat_map(|part| paths(part.trim()))
        .collect()
}

#[test]
fn nobody_imports_what_lies_beyond_its_wall() {
    let (mut wrong, mut areas) = (Vec::new(), BTreeSet::new());
    for source in sources() {
        if ["main.rs", "lib.rs"].contains(&source.path.as_str()) {
            continue;
        }
        let own = area(&module(&source.path));
        let row = match own.split_once('/') {
            Some(("provider", _)) => "provider/*",
            Some(("sink", _)) => "sink/*",
            _ => own.as_str(),
        };
        let (_, allowed) = MAY_NAME
            .iter()
            .find(|(name, _)| *name == row)
            .unwrap_or_else(|| panic!("{own}: a new area needs its row"));
        areas.insert(own.clone());
        for path in named(&source) {
            let other = area(&path);
            let excepted = EXCEPTIONS.contains(&(source.path.as_str(), other.as_str()));
            let inside = other == own || other.is_empty();
            if !inside && !excepted && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{} names {}", source.path, path.join("::")));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let providers = provider::ALL.iter();
    let providers = providers.map(|row| format!("provider/{}", row.name));
    let sinks = sink::ALL.iter().map(|row| format!("sink/{}", row.name));
    for row in providers.chain(sinks) {
        assert!(areas.contains(&row), "{row}");
    }
}

#[test]
fn crates_from_outside_stop_at_their_adapters() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, places) in OUTSIDE {
            let used = source
                .code
                .match_indices(&format!("{name}::"))
                .any(|(at, _)| {
                    let before = source.code[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                });
            if used && !places.iter().any(|place| source.path.starts_with(place)) {
                wrong.push(format!("{} uses {name}", source.path));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_file_is_longer_than_four_hundred_lines_without_its_tests() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.lines > LINES_MAX)
        .map(|source| format!("{}: {}", source.path, source.lines))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn each_migration_exists_for_both_databases() {
    let names = |database: &str| -> BTreeSet<String> {
        std::fs::read_dir(root().join("migrations").join(database))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

#[test]
fn the_readme_names_every_setting() {
    // A checkout for building alone may come without it.
    let Ok(readme) = std::fs::read_to_string(root().join("README.md")) else {
        return;
    };
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let missing: Vec<String> = defaults
        .iter()
        .flat_map(|(section, keys)| {
            let keys = keys.as_table().unwrap().keys();
            keys.map(move |key| format!("{section}.{key}"))
        })
        .filter(|key| !readme.contains(&format!("`{key}`")))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
