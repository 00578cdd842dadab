//! `cloudctl agent …`: the machines.

mod get;
pub(crate) mod join_token;
mod label;
mod list;
mod remove;
mod watch;

use clap::Subcommand;
use opslink::pb::{Agent, AgentStatus};

use crate::{
    app::App,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
};

/// Verbs of `agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// List agents
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show one agent
    Get(get::GetArgs),
    /// Print agents as they come, change and go
    Watch,
    /// Remove agents: their certificates are revoked, their links closed
    #[command(visible_alias = "rm")]
    Remove(remove::RemoveArgs),
    /// Set (k=v) and remove (k-) labels of an agent
    Label(label::LabelArgs),
    /// Tokens that let a new machine join
    #[command(subcommand)]
    JoinToken(join_token::JoinTokenCommand),
}

/// Runs a verb.
pub(crate) async fn run(command: AgentCommand, app: &App) -> Result<Exit, Failure> {
    match command {
        AgentCommand::List(args) => list::run(args, app).await,
        AgentCommand::Get(args) => get::run(args, app).await,
        AgentCommand::Watch => watch::run(app).await,
        AgentCommand::Remove(args) => remove::run(args, app).await,
        AgentCommand::Label(args) => label::run(args, app).await,
        AgentCommand::JoinToken(command) => join_token::run(command, app).await,
    }
}

fn name(agent: &Agent) -> String {
    agent.name.clone()
}

fn status(agent: &Agent, word: fn(&str) -> String) -> String {
    match AgentStatus::try_from(agent.status) {
        Ok(AgentStatus::Online) => word("online"),
        Ok(AgentStatus::Offline) => match &agent.last_seen_at {
            Some(_) => format!("{} {}", word("offline"), output::ago(&agent.last_seen_at)),
            None => word("offline"),
        },
        Ok(AgentStatus::Unspecified) | Err(_) => word("unknown"),
    }
}

fn fact(agent: &Agent, pick: impl Fn(&opslink::pb::Facts) -> String) -> String {
    agent
        .facts
        .as_ref()
        .map(pick)
        .filter(|fact| !fact.is_empty())
        .unwrap_or_else(|| "–".to_owned())
}

fn columns() -> [Column<Agent>; 11] {
    [
        Column::new("NAME", name),
        Column::new("STATUS", |agent: &Agent| status(agent, str::to_owned))
            .people(|agent| status(agent, output::state)),
        Column::new("LABELS", |agent| output::labels(&agent.labels)),
        Column::new("CAPABILITIES", |agent| {
            fact(agent, |facts| output::list(&facts.capabilities))
        }),
        Column::new("CONNECTIONS", connections),
        Column::new("VERSION", |agent| fact(agent, |facts| facts.agent_version.clone())),
        Column::wide("HOST", |agent| fact(agent, |facts| facts.hostname.clone())),
        Column::wide("SYSTEM", |agent| {
            fact(agent, |facts| format!("{}/{} {}", facts.os, facts.arch, facts.kernel))
        }),
        Column::wide("MACHINE", |agent| {
            fact(agent, |facts| {
                format!(
                    "{} CPU, {}",
                    facts.cpu_count,
                    crate::input::show_bytes(facts.memory_bytes)
                )
            })
        }),
        Column::wide("ENROLLED", |agent| output::time(&agent.enrolled_at)),
        Column::wide("ID", |agent| agent.id.clone()),
    ]
}

fn connections(agent: &Agent) -> String {
    let mut shown: Vec<String> = Vec::new();
    for connection in &agent.connections {
        let star = if connection.is_default { "*" } else { "" };
        shown.push(format!("{}{star} ({})", connection.name, connection.kind));
    }
    output::list(&shown)
}

/// Says what only some of the callers want to know: an agent that nobody can use yet.
fn describe(agent: &Agent) -> String {
    format!(
        "{}  {}  {}",
        agent.name,
        status(agent, output::state),
        output::labels(&agent.labels)
    )
}
