//! `cloudctl agent join-token revoke ID…`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::RevokeJoinTokenRequest;

use super::list;
use crate::{
    app::App,
    commands::{completion, meant},
    exit::Exit,
    failure::Failure,
    terminal,
    text::text,
};

/// Arguments of `agent join-token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Ids, or their first characters, as `join-token list` shows them
    #[arg(required = true, value_name = "ID", add = ArgValueCompleter::new(completion::join_tokens))]
    tokens: Vec<String>,
}

/// Runs `agent join-token revoke`.
pub(super) async fn run(args: RevokeArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let known = list::known(&list::all(&client).await?);
    for token in meant::all(&args.tokens, &known)? {
        client
            .agents()
            .revoke_join_token(RevokeJoinTokenRequest { id: token.id.clone() })
            .await?;
        terminal::say(&text("token-revoked", &[("id", &token.shown())]));
    }
    Ok(Exit::Done)
}
