//! Crash points and the tests that die at them: each is met by its name, and each name that a test has is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use proc_macro2::{TokenStream, TokenTree};

use crate::{files, is_test_file, root, shown};

/// Texts of a source, whatever they stand in, and names of the crash points in it.
#[derive(Default)]
struct Found {
    texts: BTreeSet<String>,
    points: Vec<String>,
}

impl Found {
    fn of(text: &str) -> Self {
        Self::of_tokens(text.parse().expect("a source file that compiles"))
    }

    fn of_tokens(tokens: TokenStream) -> Self {
        let mut found = Self::default();
        // Of `crashpoint!(…)`, what has come so far.
        let mut before = (false, false);
        for token in tokens {
            let is_call = before == (true, true);
            let mut now = (false, false);
            match token {
                TokenTree::Group(group) => {
                    let inside = Self::of_tokens(group.stream());
                    if is_call {
                        found.points.extend(inside.texts.iter().cloned());
                    }
                    found.texts.extend(inside.texts);
                    found.points.extend(inside.points);
                }
                TokenTree::Ident(ident) => now.0 = ident == "crashpoint",
                TokenTree::Punct(punct) => now = (before.0, before.0 && punct.as_char() == '!'),
                TokenTree::Literal(literal) => {
                    let text = syn::parse_str::<syn::LitStr>(&literal.to_string());
                    found.texts.extend(text.map(|text| text.value()));
                }
            }
            before = now;
        }
        found
    }
}

/// The name of a crash point out of what a test says: `task.created`, `ingest.chunks_stored:3`.
fn name(text: &str) -> Option<&str> {
    let name = text.split(':').next()?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    name.split_once('.')
        .is_some_and(|(part, what)| is_word(part) && is_word(what))
        .then_some(name)
}

#[test]
fn every_crash_point_is_died_at_by_a_test_and_every_name_of_a_test_is_one() {
    let mut points: BTreeMap<String, String> = BTreeMap::new();
    let mut texts = BTreeSet::new();
    let mut faults = Vec::new();
    for folder in ["cloud/src", "agent/src"] {
        for source in files(&root().join(folder), ".rs") {
            if is_test_file(&source) {
                continue;
            }
            let found = Found::of(&fs::read_to_string(&source).unwrap());
            texts.extend(found.texts);
            for point in found.points {
                if let Some(other) = points.insert(point.clone(), shown(&source)) {
                    faults.push(format!("{point} stands twice: {other} and {}", shown(&source)));
                }
            }
        }
    }
    let of_e2e = files(&root().join("tests/e2e"), ".rs")
        .into_iter()
        .filter(|path| shown(path).starts_with("tests/e2e/crash_"));
    let mut died_at = BTreeSet::new();
    for test in of_e2e.chain(files(&root().join("agent/tests"), ".rs")) {
        let found = Found::of(&fs::read_to_string(&test).unwrap());
        for name in found.texts.iter().filter_map(|text| name(text)) {
            // Actions of the audit log are named in the same form.
            if shown(&test).starts_with("tests/e2e/") && !texts.contains(name) {
                faults.push(format!("{} dies at {name}, which is no crash point", shown(&test)));
            }
            died_at.insert(name.to_owned());
        }
    }
    let missed = points.iter().filter(|(point, _)| !died_at.contains(*point));
    faults.extend(missed.map(|(point, file)| format!("{file}: no test dies at {point}")));
    assert!(points.len() >= 20, "the rule sees the points: {points:?}");
    assert!(faults.is_empty(), "crash points:\n{}", faults.join("\n"));
}

#[test]
fn crash_points_and_names_are_found() {
    let found = Found::of("fn f() { if x { crate::crashpoint!(\"a.written\"); } g(\"b.c\"); } // crashpoint!(\"d.e\")");
    assert_eq!(found.points, ["a.written"]);
    assert_eq!(found.texts, BTreeSet::from(["a.written".to_owned(), "b.c".to_owned()]));
    assert_eq!(name("ingest.chunks_stored:{}"), Some("ingest.chunks_stored"));
    assert_eq!(name("opslink.v1.TaskService/CreateTask"), None);
    assert_eq!(name("it did not die at {place}:\n"), None);
    assert_eq!(name("-o"), None);
}
