//! Modules that decide and do nothing else: no runtime, no clock, no database, no files, no luck, however imported, and
//! nobody beside themselves who has them. But one: admission asks the policy, which looks up the program of a task on disk
//! when it lists programs.

use std::{collections::BTreeSet, fs};

use crate::{
    files, is_test_file, root, shown,
    source::{self, Named},
};

/// Where the crates begin.
const CRATES: &[&str] = &["proto", "cloud/src", "agent/src", "ui-leptos/src"];

/// The modules, each a folder, or a file with the folder of its name.
const PURE: &[&str] = &[
    "cloud/src/task/machine.rs",
    "cloud/src/task/life.rs",
    "cloud/src/authz.rs",
    "cloud/src/link/generation.rs",
    "cloud/src/link/lineage.rs",
    "cloud/src/pki/expired.rs",
    "proto/selector.rs",
    "proto/task.rs",
    "proto/event.rs",
    "proto/duration.rs",
    "proto/session",
    "proto/chunk",
    "proto/convert",
    "proto/kind",
    "agent/src/executor/sql/read_only.rs",
    "agent/src/executor/sql/split",
    "agent/src/journal/fence/entry.rs",
    "agent/src/journal/frame.rs",
    "agent/src/link/admission.rs",
    "agent/src/link/command.rs",
    "agent/src/link/control.rs",
    "agent/src/link/courier.rs",
    "agent/src/link/liveness.rs",
    "agent/src/link/time_to_start.rs",
    "agent/src/link/track.rs",
    "agent/src/runner/conclude.rs",
    "ui-leptos/src/logic",
];

/// What they may name of their own crate beside each other: data, and what computes.
const MAY_NAME: &[(&str, &[&str])] = &[
    (
        "proto",
        &[
            "crate::id",
            "crate::pb",
            "crate::problem::Problem",
            "crate::reason::Reason",
            "crate::time::UnixMicros",
        ],
    ),
    (
        "cloud/src",
        &[
            "crate::pki::AgentIdentity",
            "crate::pki::IdentityError",
            "crate::pki::agent",
            "crate::pki::ca::Ca",
            "crate::store::record::Execution",
            "crate::store::record::Role",
        ],
    ),
    (
        "agent/src",
        &[
            "crate::executor::Failure",
            "crate::executor::Finish",
            "crate::executor::PROCESSES_LEFT",
            "crate::executor::STATEMENT_LEFT",
            "crate::executor::sql::session::Quoting",
            "crate::launch::Known",
            "crate::launch::Order",
            "crate::launch::Phase",
            "crate::launch::Refusal",
            "crate::policy::Policy",
        ],
    ),
    ("ui-leptos/src", &[]),
];

/// What they never name; with a dot, a method of whatever there is.
const IMPURE: &[&str] = &[
    "tokio",
    "sea_orm",
    "sqlx",
    "nix",
    "rustix",
    "fastrand",
    "getrandom",
    "rand",
    "tracing",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    // Of an `Instant` or a `SystemTime`: it asks for the time.
    ".elapsed",
    // Of a `Path`: it asks the disk.
    ".canonicalize",
    ".exists",
    ".is_dir",
    ".is_file",
    ".is_symlink",
    ".metadata",
    ".read_dir",
    ".read_link",
    ".symlink_metadata",
    ".try_exists",
    "crate::policy::Policy::load",
    "gloo_timers",
    "js_sys",
    "leptos",
    "wasm_bindgen",
    "web_sys",
];

/// Our own ids; a new one is a number that nobody chose, and a reading of the clock.
const IDS: &[&str] = &["AgentId", "TaskId", "AttemptId", "UserId", "TokenId"];

/// Says whether a path reads a clock or draws luck, whoever gave it its name on the way: ours, or that of new UUIDs.
fn is_clock_or_luck(path: &str) -> bool {
    let mut ends = path.rsplit("::");
    match (ends.next(), ends.next()) {
        (Some("now"), Some("UnixMicros")) => true,
        (Some("new" | "default"), Some(id)) => IDS.contains(&id),
        (Some(function), Some("Uuid")) => function.starts_with("now_v") || function == "new_v4",
        _ => false,
    }
}

/// What pure modules of this crate may name beside each other.
fn listed_names(crate_root: &str) -> impl Iterator<Item = &'static str> {
    let rows = MAY_NAME.iter().filter(move |(root, _)| *root == crate_root);
    rows.flat_map(|(_, paths)| paths.iter().copied())
}

/// Says whether a path below the crate is a pure module, in one, or on the list of what else may be named.
fn may_name(crate_root: &str, named: &Named) -> bool {
    let is_pure = PURE
        .iter()
        .filter_map(|place| place.strip_prefix(crate_root)?.strip_prefix('/'))
        .map(|below| format!("crate::{}", source::module_of(below).join("::")))
        .any(|module| named.is_in(&module));
    is_pure || listed_names(crate_root).any(|path| named.is_in(path))
}

/// What a source at this place in its crate names, tests aside.
fn names(module: &[&str], text: &str) -> Vec<Named> {
    let named = source::named(text, module);
    named.into_iter().filter(|named| !named.in_test).collect()
}

/// What a source of this crate, at this place in it, names and should not, tests aside.
fn impure(crate_root: &str, module: &[&str], text: &str) -> Vec<String> {
    names(module, text)
        .iter()
        .filter(|named| {
            IMPURE.iter().any(|path| named.is_in(path) || named.may_bring(path))
                || is_clock_or_luck(&named.path)
                || (named.path.starts_with("crate::") && !may_name(crate_root, named))
        })
        .map(|named| format!("{}: {}", named.line, named.path))
        .collect()
}

/// Says whether a source is on the list: a file or a folder of it, or in the folder of a file's name.
fn is_listed(source: &str) -> bool {
    PURE.iter().any(|place| {
        let folder = place.trim_end_matches(".rs");
        source == *place || source.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    })
}

/// Says whether a module's documentation calls it pure.
fn calls_itself_pure(text: &str) -> bool {
    let docs = text.lines().take_while(|line| line.starts_with("//!"));
    docs.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()))
        .any(|word| word == "Pure")
}

#[test]
fn pure_modules_stay_pure() {
    for place in PURE {
        let exists = root().join(place).exists();
        assert!(exists, "{place} is on the list of pure modules and does not exist");
    }
    let mut faults = Vec::new();
    for crate_root in CRATES {
        let mut needed = BTreeSet::new();
        let src = root().join(crate_root);
        for source in files(&src, ".rs").iter().filter(|source| !is_test_file(source)) {
            let below = source.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(source).unwrap();
            let shown = shown(source);
            if is_listed(&shown) {
                let module = source::module_of(&below);
                let names = names(&module, &text);
                needed.extend(listed_names(crate_root).filter(|path| names.iter().any(|named| named.is_in(path))));
                let found = impure(crate_root, &module, &text);
                faults.extend(found.iter().map(|fault| format!("{shown}:{fault}")));
            } else if calls_itself_pure(&text) {
                faults.push(format!("{shown} says that it is pure and is not on the list"));
            }
        }
        let unneeded = listed_names(crate_root).filter(|path| !needed.contains(path));
        faults
            .extend(unneeded.map(|path| format!("{crate_root}: no pure module names {path}: take it out of the list")));
    }
    assert!(faults.is_empty(), "pure modules do something:\n{}", faults.join("\n"));
}

#[test]
fn every_id_is_known_to_the_rule() {
    let text = fs::read_to_string(root().join("proto/id.rs")).unwrap();
    let made = text.split("id_type!(").skip(1).filter_map(|call| {
        let lines = call.lines().map(str::trim);
        lines.take_while(|line| *line != ");").last()
    });
    assert_eq!(made.collect::<Vec<_>>(), IDS);
}

#[test]
fn an_impure_module_is_found_whatever_its_imports_are_called() {
    let impure = |text: &str| impure("agent/src", &["link", "admission"], text);
    assert_eq!(impure("use std::{fs as disk}; fn f() {}").len(), 1);
    assert_eq!(impure("use std::time::Instant as T; fn f() { g!(T::now()); }").len(), 1);
    assert_eq!(impure("fn f() { tokio::time::sleep(x); }").len(), 1);
    for glob in [
        "use std::*;",
        "use std::time::*;",
        "use std::io::{self, *};",
        "use tokio::time::*;",
    ] {
        assert_eq!(impure(glob).len(), 1, "{glob}");
    }
    let innocent = "use std::{io, collections::*, time::{Duration, Instant}};
        fn f(at: Instant) -> io::Result<()> { g(at) }
        #[cfg(test)] mod tests { use std::fs; }";
    assert_eq!(impure(innocent), Vec::<String>::new());
}

#[test]
fn a_look_at_the_disk_that_a_path_takes_is_found() {
    let impure = |text: &str| impure("agent/src", &["link", "admission"], text).len();
    for method in [
        "canonicalize",
        "exists",
        "is_dir",
        "is_file",
        "is_symlink",
        "metadata",
        "read_dir",
        "read_link",
        "symlink_metadata",
        "try_exists",
    ] {
        for call in [format!("at.{method}()"), format!("g!(at.{method}())")] {
            assert_eq!(impure(&format!("fn f(at: &Path) {{ {call}; }}")), 1, "{call}");
        }
    }
    let innocent = "use std::path::Path; fn f(at: &Path, exists: bool) { g!(exists, at.parent()); at.join(name); }";
    assert_eq!(impure(innocent), 0);
}

#[test]
fn our_own_clock_and_luck_are_found() {
    let impure = |text: &str| impure("cloud/src", &["task", "machine"], text).len();
    assert_eq!(
        impure("use opslink::time::UnixMicros; fn f() { UnixMicros::now(); }"),
        1
    );
    assert_eq!(impure("use opslink::time; fn f() { g(time::UnixMicros::now) }"), 1);
    assert_eq!(impure("use opslink::id::AttemptId as Id; fn f() { Id::new(); }"), 1);
    assert_eq!(impure("use opslink::id::TaskId; fn f() { TaskId::default(); }"), 1);
    assert_eq!(impure("fn f() { uuid::Uuid::now_v7(); }"), 1);
    assert_eq!(impure("use uuid::Uuid; fn f() { g!(Uuid::new_v4()); }"), 1);
    assert_eq!(impure("fn f(began: Instant) { began.elapsed(); }"), 1);
    assert_eq!(impure("fn f(began: Instant) { g!(began.elapsed() > LIMIT); }"), 1);
    let innocent = "use opslink::{id::AttemptId, time::UnixMicros};
        fn f(id: AttemptId, now: UnixMicros) { AttemptId::from_uuid(id.uuid()); UnixMicros(now.0); }
        fn g(elapsed: Duration) { h!(elapsed > LIMIT) }";
    assert_eq!(impure(innocent), 0);
}

#[test]
fn a_pure_module_that_names_another_of_its_crate_is_found() {
    let admission = |text: &str| impure("agent/src", &["link", "admission"], text).len();
    assert_eq!(admission("use crate::policy_file::PolicyFile;"), 1);
    assert_eq!(admission("use super::super::policy_file as file;"), 1);
    assert_eq!(
        admission("use crate::policy::Policy; fn f() { Policy::load(path); }"),
        1
    );
    assert_eq!(admission("use super::*;"), 1, "a glob may be anything");
    let innocent = "use crate::{launch::Order, policy::Policy}; use super::track::Track;
        pub(super) fn f(order: Order) {} pub(in crate::link) fn g() {}";
    assert_eq!(admission(innocent), 0);
    let machine = |text: &str| impure("cloud/src", &["task", "machine", "event"], text).len();
    assert_eq!(machine("use crate::store::Store;"), 1);
    assert_eq!(machine("use super::super::commit::Commit;"), 1);
    assert_eq!(machine("use super::Life; use crate::store::record::Execution;"), 0);
}

#[test]
fn a_file_covers_the_folder_of_its_name_and_the_word_binds() {
    assert!(is_listed("cloud/src/task/machine.rs"));
    assert!(is_listed("cloud/src/task/machine/event.rs"));
    assert!(is_listed("proto/session/flow.rs"));
    assert!(!is_listed("cloud/src/task/machines.rs"));
    assert!(!is_listed("cloud/src/task/commit.rs"));
    assert!(calls_itself_pure("//! How it ends. Pure.\n\nuse x;"));
    assert!(calls_itself_pure(
        "//! What it knows.\n//!\n//! Pure: the time is an argument.\n"
    ));
    assert!(!calls_itself_pure("//! Purely a clock.\n\n/// Pure.\nfn f() {}"));
}
