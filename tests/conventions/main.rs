//! The conventions that rustc and clippy cannot see: file length, who may know whom, which words have one place, where
//! wire types stop, pure modules, handlers that begin with the gate, crates that may be there, workers that are told apart,
//! tests that wait instead of sleeping, crash points that are died at, messages that are complete, documents that name what
//! exists. Each rule is a function over text, and each is shown to fail once.

#![allow(clippy::indexing_slicing, clippy::expect_used, reason = "the texts are ours")]

use std::{
    fs,
    path::{Path, PathBuf},
};

mod crash_points;
mod crates;
mod gates;
mod layers;
mod messages;
mod packages;
mod pure;
mod source;
mod waiting;
mod wire;
mod words;
mod workers;

/// Longest a source file may be; generated code is not in the tree.
const MAX_LINES: usize = 400;

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

/// Files that exist for tests only, by their names.
fn is_test_file(path: &Path) -> bool {
    let text = shown(path);
    let ends = ["tests.rs", "testing.rs", "conformance.rs", "logic/catalogue.rs"];
    let inside = ["/tests/", "/conformance/"];
    text.starts_with("tests/")
        || ends.iter().any(|end| text.ends_with(end))
        || inside.iter().any(|folder| text.contains(folder))
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
