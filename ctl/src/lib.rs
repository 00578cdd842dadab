//! The command line of OpsLink.
//!
//! What it is for: everything that the console does is one line here, with data on stdout, talk on stderr and honest
//! exit codes ([`exit`]). It never keeps state beside its contexts and tokens ([`config`]), never prompts without a
//! terminal, and knows of the other programs only the protocol crate.
//!
//! Where to start reading: [`cli`] is the whole grammar; `commands/<noun>/<verb>.rs` is one file per command;
//! [`follow`] is the road that output comes back on; [`render`] is how it looks.

mod app;
mod cli;
mod commands;
mod config;
mod connect;
mod exit;
mod failure;
mod follow;
mod input;
mod interrupt;
mod output;
mod patience;
mod progress;
mod render;
mod terminal;
mod text;

use std::process::ExitCode;

use clap::{CommandFactory, error::ErrorKind};
use clap_complete::env::CompleteEnv;
use opslink::duration;

use crate::{app::App, cli::Cli, exit::Exit};

/// Runs one command and returns the code that the process ends with.
pub fn main() -> ExitCode {
    // A shell that asks for candidates sets COMPLETE; nothing else may be printed then.
    let here = std::env::current_dir().ok();
    match CompleteEnv::with_factory(Cli::command).try_complete(std::env::args_os(), here.as_deref()) {
        Ok(true) => return Exit::Done.into(),
        Ok(false) => {}
        Err(error) => return usage(&error),
    }
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    text::init(cli.globals.lang.as_deref());
    terminal::init(cli.globals.color, cli.globals.quiet);
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, failure::Failure> {
    let app = App::new(cli.globals);
    // One thread for the network: a command is one connection, and a pool of workers costs a millisecond to start.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failure::Failure::unexpected(&error.to_string()))?;
    let result = runtime.block_on(commands::run(cli.command, &app));
    // A write to a closed or blocked stdout may still sit on a helper thread: never wait for it.
    runtime.shutdown_background();
    result
}

/// Prints clap's own message: help and version to stdout with 0, mistakes to stderr with 2.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout while printing help is nobody's mistake.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done.into(),
        _ => Exit::Usage.into(),
    }
}
