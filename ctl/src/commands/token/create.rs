//! `cloudctl token create NAME --role ROLE`: the secret goes to stdout, everything else to stderr.

use clap::{Args, ValueEnum};
use opslink::pb::{CreateTokenRequest, Role as PbRole};

use crate::{
    app::App,
    duration,
    exit::Exit,
    failure::Failure,
    output::{self, Format},
    terminal,
    text::text,
};

/// What the token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Read everything.
    Viewer,
    /// Run, cancel and retry tasks.
    Operator,
    /// Agents, join tokens, API tokens, users.
    Admin,
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name, shown in the audit trail as token:NAME
    name: String,
    /// What it may do; never more than you
    #[arg(long, default_value = "operator")]
    role: Role,
    /// How long it can be used: 12h, 30d (default), 365d (longest)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_secs)]
    ttl: Option<u32>,
}

/// Runs `token create`.
pub(super) async fn run(args: CreateArgs, app: &App) -> Result<Exit, Failure> {
    let role = match args.role {
        Role::Viewer => PbRole::Viewer,
        Role::Operator => PbRole::Operator,
        Role::Admin => PbRole::Admin,
    };
    let client = app.client().await?;
    let request = CreateTokenRequest {
        name: args.name,
        role: role.into(),
        ttl_secs: args.ttl.unwrap_or_default(),
    };
    let answer = client.tokens().create_token(request).await?.into_inner();
    let listing = app.listing();
    if listing.format == Format::Table {
        let expires = answer
            .token
            .as_ref()
            .map_or_else(|| "–".into(), |token| output::until(&token.expires_at));
        output::print(format!("{}\n", answer.secret).as_bytes())?;
        terminal::say(&text("token-hint", &[("expires", &expires)]));
    } else {
        listing.object(
            &answer,
            |answer| answer.secret.clone(),
            &[output::Column::new("SECRET", |answer| answer.secret.clone())],
        )?;
    }
    Ok(Exit::Done)
}
