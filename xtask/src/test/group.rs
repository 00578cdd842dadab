//! The closed list of test groups. Adding one = one entry here.

use std::process::Command;

use anyhow::Result;
use opslink_harness::process;

use super::{build_binaries, build_console, cargo_test};
use crate::{lint, paths, tools::Tool};

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
        about: "format, clippy, wasm check",
        needs: &[Tool::WasmTarget],
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
    cargo_test(&["--workspace", "--exclude", "opslink", "--exclude", "opslink-ui"])?;
    cargo_test(&["-p", "opslink", "--all-features", "--lib", "--test", "conventions"])?;
    cargo_test(&["-p", "opslink-ui", "--lib"])
}

fn sim() -> Result<()> {
    cargo_test(&["-p", "opslink", "--test", "sim", "--", "--nocapture"])
}

fn e2e() -> Result<()> {
    build_binaries()?;
    // Each test starts its own cloud and agents; two at a time is what two cores bear.
    let args = [
        "-p",
        "opslink",
        "--test",
        "e2e",
        "--",
        "--test-threads",
        "2",
        "--skip",
        DISK_TESTS,
    ];
    cargo_test(&args)
}

/// The tests of `e2e` that mount file systems.
const DISK_TESTS: &str = "disk_full::";

fn disk() -> Result<()> {
    build_binaries()?;
    cargo_test(&["-p", "opslink", "--test", "e2e", "--", DISK_TESTS])
}

fn browser() -> Result<()> {
    build_console()?;
    build_binaries()?;
    let folder = paths::root().join("tests/browser");
    process::run(
        Command::new("npm")
            .args(["test", "--silent"])
            .current_dir(folder)
            .env("OPSLINK_BIN_DIR", paths::bins("dev")),
    )
}
