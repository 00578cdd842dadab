//! `cloudctl run …`: ask agents to do something, and watch them do it.

mod shell;
mod sql;
mod submit;
mod targets;

use clap::Subcommand;

use crate::{app::App, exit::Exit, failure::Failure};

/// What can be run.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Run a command or a script
    Shell(Box<shell::ShellArgs>),
    /// Run SQL through a connection of the agents
    Sql(Box<sql::SqlArgs>),
}

/// Runs it.
pub(crate) async fn run(command: RunCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        RunCommand::Shell(args) => shell::run(*args, app).await,
        RunCommand::Sql(args) => sql::run(*args, app).await,
    }
}
