//! `cloudctl agent join-token revoke ID…`.

use clap::Args;
use opslink::pb::RevokeJoinTokenRequest;

use crate::{app::App, exit::Exit, failure::Failure, terminal, text::text};

/// Arguments of `agent join-token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Ids, as `join-token list` shows them
    #[arg(required = true)]
    ids: Vec<String>,
}

/// Runs `agent join-token revoke`.
pub(super) async fn run(args: RevokeArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    for id in args.ids {
        client
            .agents()
            .revoke_join_token(RevokeJoinTokenRequest { id: id.clone() })
            .await?;
        terminal::say(&text("token-revoked", &[("id", &id)]));
    }
    Ok(Exit::Done)
}
