//! `cloudctl agent label AGENT k=v k-`.

use std::collections::HashMap;

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::{GetAgentRequest, SetAgentLabelsRequest};

use crate::{
    app::App,
    commands::{agent, completion},
    exit::Exit,
    failure::Failure,
};

/// Arguments of `agent label`.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Name or id
    #[arg(add = ArgValueCompleter::new(completion::agents))]
    agent: String,
    /// `key=value` sets, `key-` removes; what is not named stays
    #[arg(required = true, value_parser = change)]
    changes: Vec<Change>,
}

/// One change of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Set(String, String),
    Remove(String),
}

fn change(text: &str) -> Result<Change, String> {
    if let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) {
        return Ok(Change::Set(key.to_owned(), value.to_owned()));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok(Change::Remove(key.to_owned())),
        _ => Err(format!("`{text}` is neither key=value nor key-")),
    }
}

fn apply(labels: &mut HashMap<String, String>, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Set(key, value) => labels.insert(key, value),
            Change::Remove(key) => labels.remove(&key),
        };
    }
}

/// Runs `agent label`.
pub(super) async fn run(args: LabelArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let answer = client
        .agents()
        .get_agent(GetAgentRequest { agent: args.agent })
        .await?
        .into_inner();
    let found = answer.agent.unwrap_or_default();
    let mut labels = found.labels;
    apply(&mut labels, args.changes);
    let request = SetAgentLabelsRequest {
        agent: found.id,
        labels,
    };
    let answer = client.agents().set_agent_labels(request).await?.into_inner();
    app.listing()
        .object(&answer.agent.unwrap_or_default(), agent::name, &agent::columns())?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_removed_and_the_rest_stays() {
        let mut labels = HashMap::from([("env".into(), "test".into()), ("dc".into(), "bj".into())]);
        apply(
            &mut labels,
            ["env=prod", "dc-", "x="]
                .into_iter()
                .map(|text| change(text).unwrap())
                .collect(),
        );
        assert_eq!(
            labels,
            HashMap::from([("env".into(), "prod".into()), ("x".into(), String::new())])
        );
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for text in ["", "-", "=x", "plain"] {
            assert!(change(text).is_err(), "{text}");
        }
    }
}
