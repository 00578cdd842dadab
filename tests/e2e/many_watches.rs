//! One token with as many watches as it may have, as in CI: one more waits for a place, says so, and loses nothing.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr},
};

use anyhow::{Context as _, Result, ensure};
use opslink::pb;
use opslink_harness::{Ctl, Fleet};
use pb::agent_service_client::AgentServiceClient;
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::{Request, Streaming, transport::Endpoint};
use tonic_types::StatusExt as _;

use crate::support::{detached, text, wait_state};

/// Watches over one connection: fewer than the calls that it carries.
const OF_CONNECTION: usize = 90;

/// Opens watches with this token until one is refused.
async fn all_that_there_are(plain_url: &str, token: &str) -> Result<Vec<Streaming<pb::WatchAgentsResponse>>> {
    let mut open = Vec::new();
    loop {
        let channel = Endpoint::from_shared(plain_url.to_owned())?.connect().await?;
        let mut agents = AgentServiceClient::new(channel);
        for _ in 0..OF_CONNECTION {
            let mut request = Request::new(pb::WatchAgentsRequest {});
            let authorization = format!("Bearer {token}").parse()?;
            request.metadata_mut().insert("authorization", authorization);
            match agents.watch_agents(request).await {
                Ok(watch) => open.push(watch.into_inner()),
                Err(refused) => {
                    let reason = refused.get_details_error_info().map(|info| info.reason);
                    ensure!(reason.as_deref() == Some("TOO_MANY_STREAMS"), "{refused:?}");
                    return Ok(open);
                }
            }
        }
    }
}

/// A command that has said that it waits for a place.
struct Waiting {
    command: Child,
    said: BufReader<ChildStderr>,
}

impl Waiting {
    fn start(ctl: &Ctl, args: &[&str]) -> Result<Self> {
        let mut command = ctl.spawn(args)?;
        let mut said = BufReader::new(command.stderr.take().context("stderr")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let is_told = line.contains("token:ci has") && line.contains("Waiting for one of them to end");
        ensure!(is_told, "{args:?}: {line}");
        Ok(Self { command, said })
    }

    /// How it ended, and what it showed.
    fn end(mut self) -> Result<(Option<i32>, String)> {
        let (mut shown, mut rest) = (String::new(), String::new());
        let mut stdout = self.command.stdout.take().context("stdout")?;
        stdout.read_to_string(&mut shown)?;
        self.said.read_to_string(&mut rest)?;
        ensure!(!rest.contains("connection lost"), "{rest}");
        Ok((self.command.wait()?.code(), shown))
    }
}

/// It told of a lost connection.
#[test]
fn one_watch_too_many_waits_for_a_place_and_shows_everything() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let answer = fleet.ctl.api(
        "opslink.v1.TokenService/CreateToken",
        &json!({ "name": "ci", "role": "ROLE_OPERATOR" }),
    )?;
    let token = text(&answer, "/secret")?;
    let before = detached(&fleet.ctl, &["-a", "prod", "--", "echo", "all of it"])?;
    wait_state(&fleet.ctl, &before, &["SUCCEEDED"])?;
    let plain_url = fleet.cloud.plain_url.clone().context("a plain port")?;
    let runtime = Runtime::new()?;
    let mut open = runtime.block_on(all_that_there_are(&plain_url, &token))?;

    let ctl = fleet.ctl.with_token(&token);
    let waiting = [
        Waiting::start(&ctl, &["run", "shell", "-a", "prod", "--", "echo", "all of it"])?,
        Waiting::start(&ctl, &["logs", &before, "-f"])?,
        Waiting::start(&ctl, &["logs", &before, "--tail", "1"])?,
    ];
    // Nobody watches it, and it goes on all the same.
    let tasks = fleet.ctl.api("opslink.v1.TaskService/ListTasks", &json!({}))?;
    let task = text(&tasks, "/tasks/0/id")?;
    ensure!(task != before, "the run has made a task");
    wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
    // One each, and one for what follows the last lines.
    open.truncate(open.len().saturating_sub(waiting.len() + 1));
    for waiting in waiting {
        assert_eq!(waiting.end()?, (Some(0), "all of it\n".to_owned()));
    }
    Ok(())
}
