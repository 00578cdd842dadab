//! `cloudctl agent join-token create`: the line to paste goes to stdout, everything else to stderr.

use clap::Args;
use opslink::pb::CreateJoinTokenRequest;

use crate::{
    app::App,
    duration,
    exit::Exit,
    failure::Failure,
    input,
    output::{self, Format},
    terminal,
    text::text,
};

/// Arguments of `agent join-token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Label that the new agent gets (repeatable)
    #[arg(long = "label", value_name = "K=V", value_parser = input::key_value)]
    labels: Vec<(String, String)>,
    /// Name that the new agent gets; else its host name
    #[arg(long = "name", value_name = "NAME", default_value = "", hide_default_value = true)]
    agent_name: String,
    /// How long the token can be used: 30m, 1h (default), 7d (longest)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_secs)]
    ttl: Option<u32>,
}

/// Runs `agent join-token create`.
pub(super) async fn run(args: CreateArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let request = CreateJoinTokenRequest {
        labels: args.labels.into_iter().collect(),
        agent_name: args.agent_name,
        ttl_secs: args.ttl.unwrap_or_default(),
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    let answer = client.agents().create_join_token(request).await?.into_inner();
    let listing = app.listing();
    if listing.format == Format::Table {
        let expires = answer
            .join_token
            .as_ref()
            .map_or_else(|| "–".into(), |token| output::until(&token.expires_at));
        output::print(format!("{}\n", answer.command).as_bytes())?;
        terminal::say(&text("join-token-hint", &[("expires", &expires)]));
    } else {
        listing.object(
            &answer,
            |answer| answer.token.clone(),
            &[
                output::Column::new("TOKEN", |answer| answer.token.clone()),
                output::Column::new("COMMAND", |answer| answer.command.clone()),
            ],
        )?;
    }
    Ok(Exit::Done)
}
