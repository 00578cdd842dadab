//! What is found in a source, however it is written.

use super::{module_of, named};

#[test]
fn nested_and_renamed_imports_are_resolved() {
    let text = "
        use std::{fs as disk, io::{self, Read}};
        use super::book::Info;
        use std::{net::*, path::{self, *}};
        fn f() { disk::read(1); io::stdin(); Info::new(); select! { _ = disk::write(x) => {} } }
        fn g(at: T) { at.elapsed(); h!(at.began(), 0..path::MAX) }
        #[cfg(test)] mod tests { use tokio::time::sleep as nap; #[test] fn t() { nap(9); } }
    ";
    let named = named(text, &["task", "submit"]);
    let has = |path: &str, in_test| named.iter().any(|named| named.path == path && named.in_test == in_test);
    for path in [
        "std::fs",
        "std::fs::read",
        "std::fs::write",
        "std::io::stdin",
        "crate::task::book::Info::new",
        "std::net::*",
        "std::path::*",
        "std::path::MAX",
        ".elapsed",
        ".began",
    ] {
        assert!(has(path, false), "{path} is not among {named:?}");
    }
    assert!(has("tokio::time::sleep", true));
    assert_eq!(module_of("task/mod.rs"), ["task"]);
    assert_eq!(module_of("lib.rs"), <[&str; 0]>::default());
}
