//! `cloudctl token revoke ID…`.

use clap::Args;
use opslink::pb::RevokeTokenRequest;

use crate::{app::App, exit::Exit, failure::Failure, terminal, text::text};

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Ids, as `token list` shows them
    #[arg(required = true)]
    ids: Vec<String>,
}

/// Runs `token revoke`.
pub(super) async fn run(args: RevokeArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    for id in args.ids {
        client
            .tokens()
            .revoke_token(RevokeTokenRequest { id: id.clone() })
            .await?;
        terminal::say(&text("token-revoked", &[("id", &id)]));
    }
    Ok(Exit::Done)
}
