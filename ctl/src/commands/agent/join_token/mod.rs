//! `cloudctl agent join-token …`: what lets a new machine join.

mod create;
pub(crate) mod list;
mod revoke;

use clap::Subcommand;

use crate::{app::App, exit::Exit, failure::Failure};

/// Verbs of `agent join-token`.
#[derive(Debug, Subcommand)]
pub(crate) enum JoinTokenCommand {
    /// Make a token and print the line to paste on the new machine
    Create(create::CreateArgs),
    /// List tokens, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// Make tokens unusable
    Revoke(revoke::RevokeArgs),
}

/// Runs a verb.
pub(super) async fn run(command: JoinTokenCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        JoinTokenCommand::Create(args) => create::run(args, app).await,
        JoinTokenCommand::List => list::run(app).await,
        JoinTokenCommand::Revoke(args) => revoke::run(args, app).await,
    }
}
