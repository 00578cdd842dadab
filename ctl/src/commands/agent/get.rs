//! `cloudctl agent get AGENT`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::GetAgentRequest;

use crate::{
    app::App,
    commands::{agent, completion},
    exit::Exit,
    failure::Failure,
};

/// Arguments of `agent get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Name or id
    #[arg(add = ArgValueCompleter::new(completion::agents))]
    agent: String,
}

/// Runs `agent get`.
pub(super) async fn run(args: GetArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let answer = client
        .agents()
        .get_agent(GetAgentRequest { agent: args.agent })
        .await?
        .into_inner();
    app.listing()
        .object(&answer.agent.unwrap_or_default(), agent::name, &agent::columns())?;
    Ok(Exit::Done)
}
