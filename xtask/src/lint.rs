//! Format and lint: the same commands for people and CI.

use std::process::{Command, ExitCode};

use anyhow::Result;
use opslink_harness::process;

use crate::{paths, tools::Tool};

/// The API as the last released version had it: what `buf build --exclude-source-info -o` made of its proto files. A
/// release adds its own and this name changes; until then nothing in it may break.
const RELEASED: &str = "proto/released/0.1.0.binpb";

/// Checks format, the proto files, clippy with warnings denied, and that the protocol crate and the console compile for
/// wasm32.
pub(crate) fn run() -> Result<ExitCode> {
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    Tool::Buf.ensure()?;
    process::run(buf().arg("lint"))?;
    process::run(buf().args(["breaking", "--against", RELEASED]))?;
    process::run(cargo().args([
        "clippy",
        "--workspace",
        "--exclude",
        "opslink-ui",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    Tool::WasmTarget.ensure()?;
    process::run(cargo().args([
        "clippy",
        "-p",
        "opslink-ui",
        "--target",
        "wasm32-unknown-unknown",
        "--",
        "--deny",
        "warnings",
    ]))?;
    Ok(ExitCode::SUCCESS)
}

/// Formats everything.
pub(crate) fn format() -> Result<ExitCode> {
    process::run(cargo().args(["fmt", "--all"]))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the linter of proto files, at the root of the checkout, where its settings are.
fn buf() -> Command {
    let mut command = Command::new(paths::root().join("xtask/buf/node_modules/.bin/buf"));
    command.current_dir(paths::root());
    command
}

/// Returns cargo, at the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}
