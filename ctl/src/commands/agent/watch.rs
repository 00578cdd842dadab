//! `cloudctl agent watch`: one line per change, until Ctrl-C.

use std::collections::HashMap;

use opslink::pb::{Agent, WatchAgentsRequest, watch_agents_response::Event};
use tokio_stream::StreamExt;

use crate::{
    app::App,
    commands::agent,
    exit::Exit,
    failure::Failure,
    output::{self, Format},
    patience,
    render::escape,
};

/// Runs `agent watch`.
pub(super) async fn run(app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let mut stream = patience::opened(async || client.agents().watch_agents(WatchAgentsRequest {}).await).await?;
    let json = matches!(app.listing().format, Format::Json | Format::Jsonl);
    let mut names: HashMap<String, String> = HashMap::new();
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        };
        let Some(message) = message else { return Ok(Exit::Done) };
        match message?.event {
            Some(Event::Snapshot(snapshot)) => {
                for agent in snapshot.agents {
                    show("=", &agent, json)?;
                    names.insert(agent.id, agent.name);
                }
            }
            Some(Event::Changed(agent)) => {
                let sign = if names.contains_key(&agent.id) { "~" } else { "+" };
                show(sign, &agent, json)?;
                names.insert(agent.id, agent.name);
            }
            Some(Event::Removed(id)) => {
                let name = names.remove(&id).unwrap_or_else(|| id.clone());
                let line = if json {
                    serde_json::json!({ "removed": id }).to_string()
                } else {
                    format!("- {name}")
                };
                output::print(format!("{line}\n").as_bytes())?;
            }
            Some(Event::Heartbeat(_)) | None => {}
        }
    }
}

fn show(sign: &str, agent: &Agent, json: bool) -> Result<(), Failure> {
    let line = if json {
        serde_json::to_string(agent).map_err(|error| Failure::unexpected(&error.to_string()))?
    } else {
        format!("{sign} {}", escape::visible(&agent::describe(agent)))
    };
    output::print(format!("{line}\n").as_bytes())
}
