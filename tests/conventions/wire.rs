//! Wire types stop at the services: inside `cloud/src/task` requests and answers are the engine's own records, and only the
//! chunk, which is kept as it is all the way, and what an agent is told or says, is of the wire.

use std::fs;

use crate::{files, is_test_file, root, shown, source};

/// Where the rule holds.
const FOLDER: &str = "cloud/src/task";

/// Files that speak with agents, and the body of a task that goes to them. A file that is here and names nothing of the
/// wire any more is a fault too.
const SPEAK: &[&str] = &[
    "cloud/src/task/attach.rs",
    "cloud/src/task/info.rs",
    "cloud/src/task/outgoing.rs",
    "cloud/src/task/signer.rs",
];

/// What a source names of the wire, the chunk and tests aside.
fn of_the_wire(text: &str) -> Vec<String> {
    let named = source::named(text, &["here"])
        .into_iter()
        .filter(|named| !named.in_test);
    // Whoever imports a module has named nothing in it.
    let is_wire = |named: &source::Named| {
        named.path.starts_with("opslink::pb::") || named.may_bring("opslink::pb") || named.is_in("prost")
    };
    named
        .filter(|named| is_wire(named) && !named.is_in("opslink::pb::LogChunk"))
        .map(|named| format!("{}: {}", named.line, named.path))
        .collect()
}

#[test]
fn the_engine_knows_no_requests_and_answers_of_the_wire() {
    let mut faults = Vec::new();
    for path in files(&root().join(FOLDER), ".rs") {
        if is_test_file(&path) {
            continue;
        }
        let found = of_the_wire(&fs::read_to_string(&path).unwrap());
        let file = shown(&path);
        match (SPEAK.contains(&file.as_str()), found.first()) {
            (false, Some(first)) => faults.push(format!("{file}:{first}")),
            (true, None) => faults.push(format!("{file} is on the list and names nothing of the wire")),
            (true, Some(_)) | (false, None) => {}
        }
    }
    for file in SPEAK {
        if !root().join(file).exists() {
            faults.push(format!("{file} is on the list and does not exist"));
        }
    }
    assert!(faults.is_empty(), "wire types in the engine:\n{}", faults.join("\n"));
}

#[test]
fn a_wire_type_is_found_however_it_is_imported() {
    for text in [
        "use opslink::pb; fn f(request: pb::CreateTaskRequest) {}",
        "use opslink::{pb::{Task as Other}}; fn f(task: Other) {}",
        "fn f() -> opslink::pb::Task { todo() }",
        "use prost::Message;",
        "use opslink::pb::*; fn f(request: CreateTaskRequest) {}",
        "use opslink::*; fn f(task: pb::Task) {}",
    ] {
        assert!(!of_the_wire(text).is_empty(), "{text}");
    }
    for text in [
        "use opslink::{id::TaskId, pb}; fn f(chunk: &pb::LogChunk) {}",
        "#[cfg(test)] mod tests { use opslink::pb; fn f(task: pb::Task) {} }",
    ] {
        assert!(of_the_wire(text).is_empty(), "{text}");
    }
}
