//! `cloudctl context …`: the clouds that this machine knows.

mod current;
mod list;
mod remove;
mod switch;

use clap::Subcommand;
use clap_complete::ArgValueCompleter;

use crate::{app::App, commands::completion, exit::Exit, failure::Failure};

/// Verbs of `context`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List the contexts
    #[command(visible_alias = "ls")]
    List,
    /// Make a context the one in use
    Use {
        /// Its name
        #[arg(add = ArgValueCompleter::new(completion::contexts))]
        name: String,
    },
    /// Print the name of the context in use; asks nobody, fit for a prompt
    Current,
    /// Forget a context and its token
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        #[arg(add = ArgValueCompleter::new(completion::contexts))]
        name: String,
    },
}

/// Runs a verb.
pub(crate) fn run(command: ContextCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        ContextCommand::List => list::run(app),
        ContextCommand::Use { name } => switch::run(&name, app),
        ContextCommand::Current => current::run(app),
        ContextCommand::Remove { name } => remove::run(&name, app),
    }
}
