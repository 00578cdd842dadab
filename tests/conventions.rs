//! The conventions that rustc and clippy cannot see: file length, who may know whom, pure modules, tests that wait
//! instead of sleeping, documents that name what exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Longest a source file may be; generated code is not in the tree.
const MAX_LINES: usize = 400;

/// Which of our packages each package may name: everything else is a boundary.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    (".", &[]),
    ("cloud", &["opslink"]),
    ("agent", &["opslink"]),
    ("ctl", &["opslink"]),
    ("ui-leptos", &["opslink"]),
    ("tests/harness", &[]),
    ("tests/bench", &["opslink", "opslink-harness"]),
    ("xtask", &["opslink-harness"]),
];

/// Modules that decide and do nothing else: no runtime, no clock, no database, no files.
const PURE: &[&str] = &[
    "cloud/src/task/machine.rs",
    "cloud/src/authz.rs",
    "cloud/src/link/lineage.rs",
    "proto/selector.rs",
    "proto/task.rs",
    "proto/event.rs",
    "proto/session",
    "proto/chunk",
    "agent/src/executor/sql/split",
];
const IMPURE_WORDS: &[&str] = &[
    "tokio::",
    "sea_orm",
    "sqlx",
    "SystemTime::now",
    "Instant::now",
    "std::fs",
    "std::net",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder with this ending, build output and packages of others aside.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "node_modules" | "dist" | ".git") {
                found.extend(files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn every_source_file_has_one_job() {
    let long: Vec<String> = files(&root(), ".rs")
        .iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(path).unwrap().lines().count();
            (lines > MAX_LINES).then(|| format!("{} has {lines} lines", shown(path)))
        })
        .collect();
    assert!(
        long.is_empty(),
        "files over {MAX_LINES} lines: split them\n{}",
        long.join("\n")
    );
}

#[test]
fn packages_know_only_whom_they_may() {
    let ours: BTreeSet<&str> = [
        "opslink",
        "opslink-cloud",
        "opslink-agent",
        "cloudctl",
        "opslink-ui",
        "opslink-harness",
    ]
    .into();
    for (folder, allowed) in DEPENDENCIES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest.get("dependencies").and_then(|table| table.as_table());
        for name in dependencies.into_iter().flat_map(|table| table.keys()) {
            let is_ours = ours.contains(name.as_str());
            assert!(
                !is_ours || allowed.contains(&name.as_str()),
                "{folder} must not depend on {name}"
            );
        }
    }
}

#[test]
fn pure_modules_stay_pure() {
    for place in PURE {
        let path = root().join(place);
        assert!(
            path.exists(),
            "{place} is on the list of pure modules and does not exist"
        );
        let sources = if path.is_dir() { files(&path, ".rs") } else { vec![path] };
        for source in sources {
            let text = fs::read_to_string(&source).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for (number, line) in code
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                let word = IMPURE_WORDS.iter().find(|word| line.contains(**word));
                assert!(
                    word.is_none(),
                    "{}:{}: {} in a pure module",
                    shown(&source),
                    number + 1,
                    word.unwrap()
                );
            }
        }
    }
}

#[test]
fn the_store_keeps_its_database_to_itself() {
    for source in files(&root().join("cloud/src"), ".rs") {
        let inside = source.starts_with(root().join("cloud/src/store"));
        let text = fs::read_to_string(&source).unwrap();
        assert!(
            inside || !text.contains("sea_orm::"),
            "{} knows sea_orm",
            shown(&source)
        );
    }
    for source in files(&root().join("cloud/src/link"), ".rs") {
        let text = fs::read_to_string(&source).unwrap();
        let imports = text
            .lines()
            .any(|line| line.starts_with("use ") && line.contains("Store"));
        assert!(
            !imports,
            "{}: the link carries frames and never imports the store",
            shown(&source)
        );
    }
}

/// Returns the milliseconds of a line such as `sleep(Duration::from_millis(5))`.
fn pause_ms(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("from_millis(")?;
    rest.split(')').next()?.parse().ok()
}

/// What is allowed: the pause between two looks at a condition (20 ms at most), and time that only the test moves.
#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    let is_test = |path: &Path| {
        let text = shown(path);
        let ours = ["tests/harness", "tests/bench", "tests/conventions.rs"]
            .iter()
            .any(|place| text.starts_with(place));
        !ours && (text.starts_with("tests/") || text.contains("/tests/") || text.ends_with("tests.rs"))
    };
    for source in files(&root(), ".rs").into_iter().filter(|path| is_test(path)) {
        let text = fs::read_to_string(&source).unwrap();
        if text.contains("start_paused = true") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let sleeps = line.contains("thread::sleep") || line.contains("time::sleep(");
            let looks_again = pause_ms(line).is_some_and(|pause| pause <= 20);
            assert!(
                !sleeps || looks_again,
                "{}:{} sleeps: wait for a named condition",
                shown(&source),
                number + 1
            );
        }
    }
}

#[test]
fn nothing_is_ignored() {
    for source in files(&root(), ".rs")
        .into_iter()
        .chain(files(&root().join("tests"), ".mjs"))
    {
        if source.ends_with("conventions.rs") {
            continue;
        }
        let text = fs::read_to_string(&source).unwrap();
        for word in ["#[ignore", "test.skip(", "it.skip("] {
            assert!(
                !text.contains(word),
                "{} holds `{word}`: a skipped test is a defect",
                shown(&source)
            );
        }
    }
}

#[test]
fn documents_name_what_exists() {
    let tops = [
        "proto/",
        "cloud/",
        "agent/",
        "ctl/",
        "ui-leptos/",
        "xtask/",
        "tests/",
        "docs/",
        "examples/",
        "deploy/",
    ];
    for document in files(&root(), ".md") {
        let text = fs::read_to_string(&document).unwrap();
        // Between backticks, beginning with one of our folders: a path.
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = tops.iter().any(|top| quoted.starts_with(top)) && !quoted.contains([' ', '<', '*', '{', '…']);
            let path = quoted.trim_end_matches('/').split(':').next().unwrap_or_default();
            assert!(
                !is_path || root().join(path).exists(),
                "{} names `{quoted}`, which does not exist",
                shown(&document)
            );
        }
    }
}
