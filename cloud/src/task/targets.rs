//! Whom a selector means, and whether those are the agents that the caller was shown. Only the directory is read: nothing
//! is stored, sent or taken.

use std::collections::BTreeSet;

use opslink::{
    convert::InvalidMessage,
    problem::Problem,
    reason::Reason,
    selector::{NAMES_MAX, Selector},
};

use super::words::listed;
use crate::agents::{AgentView, Directory};

/// How alike two names are at least, from 0 to 1, before one is offered for the other: one slip in a short name.
const ALIKE: f64 = 0.8;

/// The agents that a selector of this actor means, in name order; there may be none. Names that nobody has are refused, those to
/// leave out too: otherwise a typo would run on the machine that was to be spared.
pub(crate) async fn meant(directory: &Directory, actor: &str, selector: Selector) -> Result<Vec<AgentView>, Problem> {
    let known = |name: &str| directory.find(name).is_some();
    let unknown = selector.unknown_names(known);
    if !unknown.is_empty() {
        return Err(Problem::new(Reason::AgentNotFound).with("agent", listed(unknown.iter().map(String::as_str))));
    }
    let unknown = selector.unknown_excluded(known);
    if let Some(first) = unknown.first() {
        return Err(Problem::new(Reason::ExcludedAgentNotFound)
            .with("agent", listed(unknown.iter().map(String::as_str)))
            .with(
                "similar",
                similar(directory, first).unwrap_or_else(|| "none".to_owned()),
            ));
    }
    Ok(directory.select(actor, selector).await)
}

/// Refuses agents that are not exactly those the caller was shown, if it says which.
pub(super) fn as_shown(
    directory: &Directory,
    agents: &[AgentView],
    expected: Option<&[String]>,
) -> Result<(), Problem> {
    let Some(expected) = expected else { return Ok(()) };
    if expected.len() > NAMES_MAX {
        let detail = format!("must have at most {NAMES_MAX} agents");
        return Err(InvalidMessage::new("expected_agents", detail).into());
    }
    let mut gone: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    let mut came = Vec::new();
    for view in agents {
        let by_id = gone.remove(view.agent.id.to_string().as_str());
        let by_name = gone.remove(view.agent.name.as_str());
        if !by_id && !by_name {
            came.push(view.agent.name.as_str());
        }
    }
    if came.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let name = |shown: &&str| {
        let known = directory.find(shown);
        known.map_or_else(|| (*shown).to_owned(), |view| view.agent.name.clone())
    };
    let gone: Vec<String> = gone.iter().map(name).collect();
    Err(Problem::new(Reason::TargetsChanged)
        .with("came", or_dash(listed(came.into_iter())))
        .with("gone", or_dash(listed(gone.iter().map(String::as_str)))))
}

fn or_dash(names: String) -> String {
    if names.is_empty() { "–".to_owned() } else { names }
}

/// The agent name that is nearest to a mistyped one, if any is near.
fn similar(directory: &Directory, name: &str) -> Option<String> {
    let alike = |view: AgentView| {
        let likeness = strsim::jaro_winkler(&view.agent.name, name);
        (likeness >= ALIKE).then(|| (likeness, view.agent.name.clone()))
    };
    let candidates = directory.list().into_iter().filter_map(alike);
    candidates.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
