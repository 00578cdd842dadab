//! What Tab offers: files, contexts and methods out of this machine; agents, connections, tasks and tokens out of the cloud,
//! and nothing when it does not answer at once.
//!
//! # What is never offered
//! A shell puts a candidate into the line as it is. What others may name freely is offered only when no shell would read
//! anything into it ([`is_inert`]).

use std::{collections::BTreeMap, ffi::OsStr, time::Duration};

use clap_complete::{
    CompletionCandidate,
    engine::{PathCompleter, ValueCompleter},
};
use opslink::pb::{Agent, DESCRIPTOR_SET, Execution, ListAgentsRequest, ListTasksRequest, Task};
use prost_reflect::DescriptorPool;

use crate::{
    app::App,
    cli::{Globals, SaidBy},
    commands::{agent::join_token, api, meant::Known, task, token},
    connect::Client,
    failure::Failure,
    output,
    render::escape,
};

/// Longest time that pressing Tab may take.
const PATIENCE: Duration = Duration::from_millis(150);

/// How many tasks are offered, newest first: what is asked about is recent, and more would not fit a screen.
const TASKS: i32 = 50;

/// Most items that one page of a list has.
const PAGE: i32 = 1_000;

/// Something that may be offered.
struct Offer {
    value: String,
    about: String,
}

impl Offer {
    fn new(value: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            about: about.into(),
        }
    }
}

/// Agents by name; after commas the last of them.
pub(crate) fn agents(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let (before, last) = match current.rfind(',') {
        Some(at) => current.split_at(at + 1),
        None => ("", &*current),
    };
    let names = ask(newest_agents).into_iter().map(|agent| Offer::new(agent.name, ""));
    let fitting = fitting(last, names).into_iter();
    fitting.map(|candidate| candidate.add_prefix(before)).collect()
}

/// Connections of all agents by name.
pub(crate) fn connections(current: &OsStr) -> Vec<CompletionCandidate> {
    let all = ask(newest_agents).into_iter().flat_map(|agent| agent.connections);
    let kinds: BTreeMap<String, String> = all.map(|connection| (connection.name, connection.kind)).collect();
    fitting(
        &current.to_string_lossy(),
        kinds.into_iter().map(|(name, kind)| Offer::new(name, kind)),
    )
}

/// The newest tasks by id.
pub(crate) fn tasks(current: &OsStr) -> Vec<CompletionCandidate> {
    let offers = ask(newest_tasks).into_iter().map(|task| {
        let about = format!("{} · {}", output::task_state(task.state), task::what(&task));
        Offer::new(task.id, about)
    });
    fitting(&current.to_string_lossy(), offers)
}

/// The newest tasks by id; after a slash the agents of that task.
pub(crate) fn tasks_and_agents(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let Some((id, agent)) = text.split_once('/') else {
        return tasks(current);
    };
    let executions = ask(async |client: Client| -> Result<Vec<Execution>, Failure> {
        let task = task::get::task(&client, id).await?;
        task::get::executions(&client, &task.id).await
    });
    let names = executions
        .into_iter()
        .map(|execution| Offer::new(execution.agent_name, ""));
    let fitting = fitting(agent, names).into_iter();
    fitting
        .map(|candidate| candidate.add_prefix(format!("{id}/")))
        .collect()
}

/// API tokens that can be used, by name; by id once its beginning stands there.
pub(crate) fn tokens(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let usable = ask(known_tokens).into_iter().filter(|token| token.is_usable);
    let offers = usable.flat_map(|token| {
        let by_id = (!current.is_empty()).then(|| Offer::new(token.id.clone(), token.name.clone()));
        std::iter::once(Offer::new(token.name, "")).chain(by_id)
    });
    fitting(&current, offers)
}

/// Join tokens that can be used, by id.
pub(crate) fn join_tokens(current: &OsStr) -> Vec<CompletionCandidate> {
    let usable = ask(known_join_tokens).into_iter().filter(|token| token.is_usable);
    fitting(&current.to_string_lossy(), usable.map(|token| Offer::new(token.id, "")))
}

/// Contexts by name; asks nobody.
pub(crate) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let contexts = App::new(surroundings()).config.contexts().unwrap_or_default().contexts;
    let offers = contexts
        .into_iter()
        .map(|(name, context)| Offer::new(name, context.server));
    fitting(&current.to_string_lossy(), offers)
}

/// Methods of the API; asks nobody. With a slash in what stands there, with the names of their services.
pub(crate) fn methods(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let Ok(pool) = DescriptorPool::decode(DESCRIPTOR_SET) else {
        return Vec::new();
    };
    let rows = api::methods(&pool).into_iter().map(|method| {
        let service = method.parent_service().name().to_owned();
        if current.contains('/') {
            Offer::new(format!("{service}/{}", method.name()), "")
        } else {
            Offer::new(method.name(), service)
        }
    });
    fitting(&current, std::iter::once(Offer::new("list", "")).chain(rows))
}

/// Files and the folders on the way to them.
pub(crate) fn files(current: &OsStr) -> Vec<CompletionCandidate> {
    PathCompleter::file().complete(current)
}

/// `@` and a file.
pub(crate) fn at_files(current: &OsStr) -> Vec<CompletionCandidate> {
    match current.to_string_lossy().strip_prefix('@') {
        Some(path) => files(OsStr::new(path))
            .into_iter()
            .map(|candidate| candidate.add_prefix("@"))
            .collect(),
        None => Vec::new(),
    }
}

/// Those that begin with what stands there, in their order.
fn fitting(current: &str, offers: impl Iterator<Item = Offer>) -> Vec<CompletionCandidate> {
    offers
        .filter(|offer| offer.value.starts_with(current) && is_inert(&offer.value))
        .map(|offer| {
            let about = escape::plain(&offer.about);
            CompletionCandidate::new(offer.value).help((!about.is_empty()).then(|| about.into()))
        })
        .collect()
}

/// Says whether every shell takes a text for itself, unquoted: `$(…)`, `;` and blanks are no part of it.
fn is_inert(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain)
}

/// Asks the cloud of the current context.
fn ask<T, F>(question: impl FnOnce(Client) -> F) -> Vec<T>
where
    F: Future<Output = Result<Vec<T>, Failure>>,
{
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let asked = async {
        let client = App::new(surroundings()).client().await?;
        question(client).await
    };
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
    runtime.shutdown_background();
    answer.ok().and_then(Result::ok).unwrap_or_default()
}

/// The flags of the half-typed line are not known here: environment and current context must do.
fn surroundings() -> Globals {
    Globals {
        context: std::env::var("CLOUDCTL_CONTEXT").ok(),
        server: std::env::var("CLOUDCTL_SERVER").ok(),
        ca_sha256: std::env::var("CLOUDCTL_CA_SHA256").ok(),
        token_file: None,
        output: None,
        output_by: SaidBy::Surroundings,
        no_headers: false,
        quiet: true,
        yes: false,
        color: crate::terminal::ColorChoice::Never,
        lang: None,
    }
}

async fn newest_agents(client: Client) -> Result<Vec<Agent>, Failure> {
    let request = ListAgentsRequest {
        page_size: PAGE,
        ..Default::default()
    };
    Ok(client.agents().list_agents(request).await?.into_inner().agents)
}

async fn newest_tasks(client: Client) -> Result<Vec<Task>, Failure> {
    let request = ListTasksRequest {
        page_size: TASKS,
        ..Default::default()
    };
    Ok(client.tasks().list_tasks(request).await?.into_inner().tasks)
}

async fn known_tokens(client: Client) -> Result<Vec<Known>, Failure> {
    Ok(token::list::known(&token::list::all(&client).await?))
}

async fn known_join_tokens(client: Client) -> Result<Vec<Known>, Failure> {
    Ok(join_token::list::known(&join_token::list::all(&client).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(candidates: &[CompletionCandidate]) -> Vec<String> {
        let value = |candidate: &CompletionCandidate| candidate.get_value().to_string_lossy().into_owned();
        candidates.iter().map(value).collect()
    }

    #[test]
    fn methods_are_offered_by_their_short_names_and_after_a_slash_with_their_services() {
        let short = values(&methods(OsStr::new("ListA")));
        assert!(short.contains(&"ListAgents".to_owned()), "{short:?}");
        let long = values(&methods(OsStr::new("AgentService/ListA")));
        assert_eq!(long, ["AgentService/ListAgents"]);
        assert_eq!(values(&methods(OsStr::new("lis"))), ["list"]);
    }

    #[test]
    fn a_name_that_a_shell_would_obey_is_not_offered() {
        let names = [
            "main",
            "ma$(reboot)",
            "ma;reboot",
            "ma in",
            "ma\nin",
            "ma*",
            "-main",
            "上海",
        ];
        let offered = fitting("", names.into_iter().map(|name| Offer::new(name, "\u{1b}[2Jpostgres")));
        assert_eq!(values(&offered), ["main", "上海"]);
        let help = offered[0].get_help().unwrap().to_string();
        assert!(!help.contains('\u{1b}'), "{help:?}");
    }

    #[test]
    fn a_file_is_offered_behind_an_at_sign() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("request.json"), "{}").unwrap();
        let begun = format!("@{}/req", folder.path().display());
        let wanted = format!("@{}/request.json", folder.path().display());
        assert_eq!(values(&at_files(OsStr::new(&begun))), [wanted]);
        assert!(at_files(OsStr::new("req")).is_empty());
    }
}
