//! `cloudctl agent list`.

use clap::Args;
use opslink::pb::ListAgentsRequest;

use crate::{
    app::App,
    commands::{agent, pages},
    exit::Exit,
    failure::Failure,
};

/// Arguments of `agent list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only agents that this label expression matches: env=prod,dc in (bj,sh),!legacy
    #[arg(
        short = 'l',
        long,
        value_name = "EXPRESSION",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
}

/// Runs `agent list`.
pub(super) async fn run(args: ListArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let agents = pages::collect(usize::MAX, |page_token| {
        let mut agents = client.agents();
        let request = ListAgentsRequest {
            filter: args.selector.clone(),
            page_size: 1_000,
            page_token,
        };
        async move {
            let page = agents.list_agents(request).await?.into_inner();
            Ok((page.agents, page.next_page_token))
        }
    })
    .await?;
    app.listing().list(&agents, agent::name, &agent::columns())?;
    Ok(Exit::Done)
}
