//! The closed list of test groups. Adding one = one entry here.

use std::process::Command;

use anyhow::Result;
use opslink_harness::process;

use super::{build, build_console, cargo_test, targets};
use crate::{
    lint::{self, cargo},
    paths,
    tools::Tool,
};

/// Some tests that need the same real parts.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) needs: &'static [Tool],
    pub(crate) run: fn() -> Result<()>,
}

/// In the order of running: the quickest to fail first.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "lint",
        about: "format, the API's proto files, clippy, wasm check",
        needs: &[Tool::Buf, Tool::WasmTarget],
        run: lint_checks,
    },
    Group {
        name: "unit",
        about: "unit, property and conformance tests of every crate, the store on SQLite, PostgreSQL and in memory, and the conventions",
        needs: &[Tool::Postgres],
        run: unit,
    },
    Group {
        name: "sim",
        about: "the link under simulated faults, hundreds of seeds",
        needs: &[],
        run: sim,
    },
    Group {
        name: "e2e",
        about: "real processes, real databases, foreign gRPC clients",
        needs: &[Tool::Postgres, Tool::MariaDb, Tool::Grpcurl, Tool::PythonGrpc],
        run: e2e,
    },
    Group {
        name: "disk",
        about: "full disks, on small file systems that are mounted for it",
        needs: &[Tool::Mount],
        run: disk,
    },
    Group {
        name: "browser",
        about: "the console in a real browser against a real cloud",
        needs: &[Tool::WasmTarget, Tool::Chromium, Tool::BrowserTests],
        run: browser,
    },
];

fn lint_checks() -> Result<()> {
    lint::run().map(drop)
}

fn unit() -> Result<()> {
    // Every test of the host's packages but those of other groups: one that is added is not forgotten.
    let mut args = vec!["--lib".to_owned(), "--bins".to_owned()];
    for name in targets::tests()? {
        if !TESTS_OF_OTHER_GROUPS.contains(&name.as_str()) {
            args.extend(["--test".to_owned(), name]);
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // No tests of documentation: there are none, and a convention keeps it so.
    cargo_test(&args)?;
    process::run(cargo().args(["test", "-p", "opslink-ui", "--lib"]))
}

/// The test targets that `unit` leaves to groups of their own.
const TESTS_OF_OTHER_GROUPS: &[&str] = &["sim", "e2e"];

fn sim() -> Result<()> {
    cargo_test(&["--test", "sim", "--", "--nocapture"])
}

fn e2e() -> Result<()> {
    // Each test starts its own cloud and agents; two at a time is what two cores bear.
    let two_at_a_time = ["--test-threads", "2", "--skip", DISK_TESTS, "--skip", FLOOD_TESTS];
    cargo_test(&[&["--test", "e2e", "--"], two_at_a_time.as_slice()].concat())?;
    cargo_test(&["--test", "e2e", "--", "--test-threads", "1", FLOOD_TESTS])
}

/// The tests of `e2e` that compare times under a flood: a second flood beside theirs would be measured, too.
const FLOOD_TESTS: &str = "strangers::";

/// The tests of `e2e` that mount file systems.
const DISK_TESTS: &str = "disk_full::";

fn disk() -> Result<()> {
    cargo_test(&["--test", "e2e", "--", DISK_TESTS])
}

fn browser() -> Result<()> {
    build_console()?;
    build()?;
    let folder = paths::root().join("tests/browser");
    process::run(
        Command::new("npm")
            .args(["test", "--silent"])
            .current_dir(folder)
            .env("OPSLINK_BIN_DIR", paths::bins("dev")),
    )
}
