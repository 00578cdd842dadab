//! Words that only some files may name: what they stand for has one place.

use std::{collections::BTreeSet, fs};

use crate::{
    files, is_test_file, root, shown,
    source::{self, Named},
};

/// A word, and the files and folders of the cloud that may name it.
struct Row {
    /// A method, whatever it is called on; or a path, for everything in it, itself aside.
    word: &'static str,
    places: &'static [&'static str],
}

const WORDS: &[Row] = &[
    // Whoever makes a status makes it with its reason and its details: `status::to_status`.
    Row {
        word: "tonic::Status",
        places: &["cloud/src/status.rs"],
    },
    // An execution changes in one place, a cancel's wish and ends in another.
    Row {
        word: "execution_apply",
        places: &[
            "cloud/src/store/",
            "cloud/src/task/cancel.rs",
            "cloud/src/task/commit.rs",
        ],
    },
    // A wish to cancel changes executions, too.
    Row {
        word: "task_request_cancel",
        places: &["cloud/src/store/", "cloud/src/task/cancel.rs"],
    },
    // It makes them.
    Row {
        word: "task_create",
        places: &["cloud/src/store/", "cloud/src/task/submit.rs"],
    },
];

/// Says whether this is the word of a row.
fn is_word(word: &str, named: &Named) -> bool {
    if word.contains("::") {
        return (named.is_in(word) && named.path != word) || named.may_bring(word);
    }
    named.path.trim_start_matches('.').rsplit("::").next() == Some(word)
}

/// Lines of a source that name the word, tests aside.
fn lines(word: &str, text: &str) -> Vec<String> {
    let last = word.rsplit("::").next().unwrap_or(word);
    // It cannot be written without.
    if !text.contains(last) {
        return Vec::new();
    }
    let named = source::named(text, &["here"])
        .into_iter()
        .filter(|named| !named.in_test);
    named
        .filter(|named| is_word(word, named))
        .map(|named| format!("{}: {}", named.line, named.path))
        .collect()
}

/// Says whether a place is this file, or the folder around it.
fn holds(place: &str, file: &str) -> bool {
    place == file || (place.ends_with('/') && file.starts_with(place))
}

#[test]
fn words_stand_only_where_they_may() {
    let mut faults = Vec::new();
    for row in WORDS {
        let mut used = BTreeSet::new();
        for source in files(&root().join("cloud/src"), ".rs") {
            let file = shown(&source);
            if is_test_file(&source) {
                continue;
            }
            let found = lines(row.word, &fs::read_to_string(&source).unwrap());
            let place = row.places.iter().find(|place| holds(place, &file));
            match (place, found.first()) {
                (Some(place), Some(_)) => {
                    used.insert(*place);
                }
                (None, Some(first)) => faults.push(format!("{file}:{first} may not stand there")),
                (Some(_) | None, None) => {}
            }
        }
        let unused = row.places.iter().filter(|place| !used.contains(*place));
        faults.extend(unused.map(|place| format!("{place} names no `{}` any more: take it out of the row", row.word)));
    }
    assert!(faults.is_empty(), "words in the wrong place:\n{}", faults.join("\n"));
}

#[test]
fn a_word_in_the_wrong_place_is_found_however_it_is_written() {
    for text in [
        "use tonic::Status; fn f() -> Status { Status::internal(\"x\") }",
        "use tonic::Status as Answer; fn f() { g(Answer::not_found) }",
        "fn f() { h!(tonic::Status::new(code, \"x\")) }",
        "use tonic::*; fn f() -> Status { Status::internal(\"x\") }",
        "use tonic::Status::*;",
    ] {
        assert_eq!(lines("tonic::Status", text).len(), 1, "{text}");
    }
    let innocent = "use tonic::Status; fn f(status: &Status) -> Result<(), Status> { g(status.code()) }
        #[cfg(test)] mod tests { use tonic::Status; fn f() { Status::ok(\"x\") } }";
    assert!(lines("tonic::Status", innocent).is_empty());
    for text in [
        "async fn f(tx: &mut Tx) { tx.execution_apply(&writes, &None).await; }",
        "fn f() { tokio::select! { _ = store.execution_apply(writes, None) => {} } }",
        "fn f() { Store::execution_apply(store, writes) }",
    ] {
        assert_eq!(lines("execution_apply", text).len(), 1, "{text}");
    }
    assert!(
        lines(
            "execution_apply",
            "fn f() { tx.execution_apply_later() } // execution_apply"
        )
        .is_empty()
    );
    assert!(holds("cloud/src/store/", "cloud/src/store/tx.rs") && !holds("cloud/src/store/", "cloud/src/stores.rs"));
}
