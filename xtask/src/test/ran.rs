//! Whether a group has any tests at all: one whose filter matches nothing any more, since a module has another name, would
//! pass.

use anyhow::{Result, bail};

/// Reads what libtest lists.
///
/// # Errors
/// No test is among it.
pub(super) fn are_some(list: &str, description: &[&str]) -> Result<()> {
    if list.lines().any(|line| line.ends_with(": test")) {
        return Ok(());
    }
    bail!(
        "no test is run by `{}`: is it called something else now?",
        description.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_that_no_test_has_is_a_failure() {
        let some = "\ndisk_full::a_full_disk_stops_nobody: test\nother::x: test\n\n2 tests, 0 benchmarks\n";
        are_some(some, &["--test", "e2e"]).unwrap();
        for none in [
            "",
            "\n0 tests, 0 benchmarks\n",
            "a: benchmark\n\n0 tests, 1 benchmark\n",
        ] {
            let error = are_some(none, &["--test", "e2e", "--", "disk_full::"]).unwrap_err();
            assert!(error.to_string().contains("--test e2e -- disk_full::"), "{error}");
        }
    }
}
