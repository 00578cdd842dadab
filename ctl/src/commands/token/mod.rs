//! `cloudctl token …`: API tokens.

mod create;
pub(crate) mod list;
mod revoke;

use clap::Subcommand;

use crate::{app::App, exit::Exit, failure::Failure};

/// Verbs of `token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print its secret, once
    Create(create::CreateArgs),
    /// List tokens, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// Make tokens unusable at once
    Revoke(revoke::RevokeArgs),
}

/// Runs a verb.
pub(crate) async fn run(command: TokenCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create(args) => create::run(args, app).await,
        TokenCommand::List => list::run(app).await,
        TokenCommand::Revoke(args) => revoke::run(args, app).await,
    }
}
