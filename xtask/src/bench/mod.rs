//! `cargo xtask bench`: figures, never verdicts.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct Options {
    /// Figures to measure (all when none is named).
    names: Vec<String>,
    /// Append one JSON line a figure to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(_options: &Options) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
