//! Format and lint: the same commands for people and CI.

use std::process::{Command, ExitCode};

use anyhow::Result;
use opslink_harness::process;

use crate::{paths, tools::Tool};

/// Checks format, clippy with warnings denied, and that the protocol crate and the console compile for wasm32.
pub(crate) fn run() -> Result<ExitCode> {
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
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

/// Returns cargo, at the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}
