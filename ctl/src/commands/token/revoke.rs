//! `cloudctl token revoke TOKEN…`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::RevokeTokenRequest;

use super::list;
use crate::{
    app::App,
    commands::{completion, meant},
    exit::Exit,
    failure::Failure,
    terminal,
    text::text,
};

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Names or ids, or the first characters of an id, as `token list` shows them
    #[arg(required = true, value_name = "TOKEN", add = ArgValueCompleter::new(completion::tokens))]
    tokens: Vec<String>,
}

/// Runs `token revoke`.
pub(super) async fn run(args: RevokeArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let known = list::known(&list::all(&client).await?);
    for token in meant::all(&args.tokens, &known)? {
        client
            .tokens()
            .revoke_token(RevokeTokenRequest { id: token.id.clone() })
            .await?;
        terminal::say(&text("token-revoked", &[("id", &token.shown())]));
    }
    Ok(Exit::Done)
}
