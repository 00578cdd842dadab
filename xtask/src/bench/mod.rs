//! `cargo xtask bench`: builds what is measured, optimised, and runs `opslink-bench`.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Result;
use clap::Args;
use opslink_harness::process;

use crate::{lint::cargo, paths, tools::Tool};

#[derive(Args)]
pub(crate) struct Options {
    /// Figures to measure, by the beginning of their names (all when none is named).
    names: Vec<String>,
    /// Append one JSON line a figure to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    // The peer and the database are wished for; a figure that needs a missing one says so.
    for tool in [Tool::Ssh, Tool::Postgres] {
        if let Err(error) = tool.ensure() {
            println!("without {tool:?}: {error:#}");
        }
    }
    println!("building optimised binaries (the first time takes some minutes) …");
    let packages = [
        "-p",
        "opslink-cloud",
        "-p",
        "opslink-agent",
        "-p",
        "cloudctl",
        "-p",
        "opslink-bench",
    ];
    process::run(cargo().args(["build", "--release", "--bins"]).args(packages))?;
    let bins = paths::bins("release");
    let mut bench = Command::new(bins.join("opslink-bench"));
    bench.args(&options.names).env("OPSLINK_BIN_DIR", &bins);
    if let Some(json) = &options.json {
        bench.arg("--json").arg(json);
    }
    process::run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}
