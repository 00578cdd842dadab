//! `cloudctl audit …`: who did what.

mod list;

use clap::Subcommand;

use crate::{app::App, exit::Exit, failure::Failure};

/// Verbs of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done, newest first
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
}

/// Runs a verb.
pub(crate) async fn run(command: AuditCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        AuditCommand::List(args) => list::run(args, app).await,
    }
}
