//! Tests wait for named conditions and never sleep for luck; none is skipped, and none stands where nobody runs it.

use std::{fs, path::Path};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::{
    files, is_test_file, root, shown,
    source::{self, Argument, Named},
};

/// Whatever they are imported as.
const SLEEPS: &[&str] = &[
    "std::thread::sleep",
    "std::thread::park_timeout",
    "tokio::time::sleep",
    "tokio::time::sleep_until",
];
/// Longest pause between two looks at a condition.
const LOOK_AGAIN_MS: u64 = 20;

/// Lines of a source whose tests sleep; all of it is a test when `whole` says so. Time that only the test moves is
/// free, in the test and, when all tests of a file have such a clock, in what they share.
fn sleeps(text: &str, whole: bool) -> Vec<usize> {
    // No import can be made without the word.
    if !text.contains("sleep") && !text.contains("park_timeout") {
        return Vec::new();
    }
    let all_paused = text.contains("start_paused = true")
        && text.matches("#[tokio::test").count() == text.matches("start_paused = true").count();
    let is_sleep = |named: &Named| SLEEPS.contains(&named.path.as_str()) && named.argument.is_some();
    let named = source::named(text, &["here"]).into_iter().filter(is_sleep);
    named
        .filter(|named| (whole || named.in_test) && !named.paused && !all_paused)
        .filter(|named| !matches!(named.argument, Some(Argument::Millis(0..=LOOK_AGAIN_MS))))
        .map(|named| named.line)
        .collect()
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    // The harness holds the loops that wait; figures are taken, not tested; the simulation moves its clock itself.
    let others = |path: &Path| {
        let text = shown(path);
        let folders = ["tests/harness", "tests/bench", "tests/conventions", "tests/sim"];
        folders.iter().any(|folder| text.starts_with(folder))
    };
    let mut faults = Vec::new();
    for source in files(&root(), ".rs").into_iter().filter(|path| !others(path)) {
        let text = fs::read_to_string(&source).unwrap();
        let lines = sleeps(&text, is_test_file(&source));
        faults.extend(lines.iter().map(|line| format!("{}:{line}", shown(&source))));
    }
    for source in files(&root().join("tests/browser"), ".mjs") {
        let text = fs::read_to_string(&source).unwrap();
        if text.contains("waitForTimeout") {
            faults.push(shown(&source));
        }
    }
    assert!(
        faults.is_empty(),
        "these sleep: wait for a named condition\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_sleep_is_found_whatever_its_import() {
    let test = |import: &str, call: &str| {
        let text = format!("#[cfg(test)] mod tests {{ {import} #[test] fn t() {{ {call}; }} }}");
        sleeps(&text, false).len()
    };
    assert_eq!(test("use std::thread;", "thread::sleep(Duration::from_secs(1))"), 1);
    assert_eq!(
        test(
            "use tokio::time::{sleep as nap};",
            "nap(Duration::from_millis(500)).await"
        ),
        1
    );
    assert_eq!(test("use std::thread::sleep;", "sleep(PAUSE)"), 1);
    assert_eq!(
        test("use tokio::time;", "tokio::select! { _ = time::sleep(LONG) => {} }"),
        1
    );
    assert_eq!(
        test("use tokio::time::sleep;", "tokio::select! { _ = sleep(LONG,) => {} }"),
        1
    );
    assert_eq!(
        test("use std::thread;", "g!(thread::sleep(Duration::from_millis(20),))"),
        0
    );
    assert_eq!(test("use std::thread;", "thread::sleep(Duration::from_millis(20))"), 0);
    assert_eq!(sleeps("fn f() { std::thread::sleep(PAUSE); }", false).len(), 0);
    assert_eq!(sleeps("fn f() { std::thread::sleep(PAUSE); }", true).len(), 1);
    let paused = "#[tokio::test(start_paused = true)] async fn t() { tokio::time::sleep(LONG).await }";
    assert_eq!(sleeps(paused, true).len(), 0);
}

/// How a script says that a test is left out, or that only some are run. Compared without spaces.
const LEAVES_OUT: &[&str] = &[
    ".skip(", ".only(", ".todo(", ".fixme(", "{skip:", ",skip:", "{only:", ",only:", "{todo:", ",todo:",
];

/// What leaves out tests in a script.
fn left_out_of_script(text: &str) -> Vec<&'static str> {
    let text: String = text.split_whitespace().collect();
    LEAVES_OUT.iter().copied().filter(|word| text.contains(word)).collect()
}

/// Says whether an attribute, or one in it, leaves a test out: `ignore`, also by `cfg_attr`, or a `cfg` that is never
/// true.
fn leaves_out(attribute: &str) -> bool {
    let words: String = attribute.split_whitespace().collect();
    let names = |word: &str| {
        words
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|part| part == word)
    };
    words == "ignore"
        || words.starts_with("ignore=")
        || (words.starts_with("cfg_attr(") && names("ignore"))
        || words == "cfg(any())"
        || words == "cfg(false)"
}

/// Attributes of a source that leave a test out, those in macros too.
fn left_out(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_after_hash = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let is_attribute = is_after_hash && group.delimiter() == Delimiter::Bracket;
                let text = group.stream().to_string();
                if is_attribute && leaves_out(&text) {
                    found.push(text);
                }
                found.extend(left_out(group.stream()));
                is_after_hash = false;
            }
            TokenTree::Punct(punct) => {
                is_after_hash = punct.as_char() == '#' || (is_after_hash && punct.as_char() == '!')
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => is_after_hash = false,
        }
    }
    found
}

#[test]
fn nothing_is_ignored() {
    let mut faults = Vec::new();
    for source in files(&root(), ".rs") {
        let text = fs::read_to_string(&source).unwrap();
        // An attribute cannot be written without one of these.
        if !["ignore", "any()", "false"].iter().any(|word| text.contains(word)) {
            continue;
        }
        let tokens: TokenStream = text.parse().expect("a source file that compiles");
        faults.extend(
            left_out(tokens)
                .iter()
                .map(|found| format!("{}: #[{found}]", shown(&source))),
        );
    }
    for source in files(&root().join("tests"), ".mjs") {
        let text = fs::read_to_string(&source).unwrap();
        faults.extend(
            left_out_of_script(&text)
                .iter()
                .map(|found| format!("{}: {found}", shown(&source))),
        );
    }
    assert!(faults.is_empty(), "a skipped test is a defect:\n{}", faults.join("\n"));
}

#[test]
fn a_test_that_is_left_out_is_found_however_it_is_written() {
    let rust = |text: &str| left_out(text.parse().unwrap()).len();
    assert_eq!(rust("#[test] #[ignore] fn t() {}"), 1);
    assert_eq!(rust("#[ignore = \"later\"] fn t() {}"), 1);
    assert_eq!(rust("#[cfg_attr(target_os = \"linux\", ignore)] fn t() {}"), 1);
    assert_eq!(rust("#[cfg_attr(unix, ignore = \"slow\")] fn t() {}"), 1);
    assert_eq!(rust("proptest! { #[test] #[ignore] fn t(x in 0..1) {} }"), 1);
    assert_eq!(rust("#![cfg(any())] fn t() {}"), 1);
    assert_eq!(
        rust("#[cfg_attr(unix, path = \"a.rs\")] mod ignore; fn f() { ignore(\"#[ignore]\"); }"),
        0
    );
    assert_eq!(left_out_of_script("describe.skip('x', () => {});").len(), 1);
    assert_eq!(left_out_of_script("test.only ('x', () => {});").len(), 1);
    assert_eq!(left_out_of_script("it.todo('x');").len(), 1);
    assert_eq!(left_out_of_script("test('x', { skip: true }, () => {});").len(), 1);
    assert_eq!(
        left_out_of_script("test('x', () => list.map(x => x.skipped));").len(),
        0
    );
}

/// What a block of documentation is called that rustdoc takes for a test.
const DOC_TESTS: &[&str] = &[
    "",
    "rust",
    "no_run",
    "should_panic",
    "compile_fail",
    "ignore",
    "test_harness",
];

/// Lines where a block of documentation begins that would be a test: none of our commands runs those.
fn doc_tests(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let Some(said) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            is_open = false;
            continue;
        };
        let Some(word) = said.trim_start().strip_prefix("```") else {
            continue;
        };
        is_open = !is_open;
        let is_test = |word: &str| DOC_TESTS.contains(&word) || word.starts_with("edition");
        if is_open && word.split([',', ' ']).all(|word| is_test(word.trim())) {
            found.push(number);
        }
    }
    found
}

#[test]
fn no_test_hides_in_documentation() {
    let mut faults = Vec::new();
    for source in files(&root(), ".rs") {
        let lines = doc_tests(&fs::read_to_string(&source).unwrap());
        faults.extend(lines.iter().map(|line| format!("{}:{line}", shown(&source))));
    }
    assert!(
        faults.is_empty(),
        "blocks that rustdoc takes for tests, and nobody runs: say what they are (```text)\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_test_in_documentation_is_found() {
    let tests = "/// ```\n/// f();\n/// ```\nfn f() {}\n    //! ```rust,no_run\n    //! g();\n    //! ```\n";
    assert_eq!(doc_tests(tests), [1, 5]);
    let others = "//! ```text\n//! a ──► b\n//! ```\n\n/// ```toml\n/// a = 1\n/// ```\nfn f() { g(\"```\") } // ```\n";
    assert_eq!(doc_tests(others), Vec::<usize>::new());
}
