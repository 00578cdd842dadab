//! `cloudctl agent remove AGENT…`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::RemoveAgentRequest;

use crate::{app::App, commands::completion, exit::Exit, failure::Failure, terminal, text::text};

/// Arguments of `agent remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Names or ids
    #[arg(required = true, add = ArgValueCompleter::new(completion::agents))]
    agents: Vec<String>,
}

/// Runs `agent remove`. Asks first: a removed agent must join again.
pub(super) async fn run(args: RemoveArgs, app: &App) -> Result<Exit, Failure> {
    let shown = args.agents.join(", ");
    if !app.globals.yes && !terminal::confirm(&text("agent-remove-sure", &[("agents", &shown)]), "--yes")? {
        terminal::say_always(&text("agent-kept", &[]));
        return Ok(Exit::Interrupted);
    }
    let client = app.client().await?;
    for agent in args.agents {
        client
            .agents()
            .remove_agent(RemoveAgentRequest { agent: agent.clone() })
            .await?;
        terminal::say(&text("agent-removed", &[("agent", &agent)]));
    }
    Ok(Exit::Done)
}
