//! Foreign clients: grpcurl and Python's grpcio, by reflection and a bearer token.

use std::process::Command;

use anyhow::{Context as _, Result};
use opslink_harness::{Fleet, process, programs};
use serde_json::{Value, json};

use crate::support::text;

struct Foreign {
    fleet: Fleet,
    token: String,
}

fn foreign() -> Result<Foreign> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let answer = fleet.ctl.api(
        "opslink.v1.TokenService/CreateToken",
        &json!({ "name": "ci", "role": "ROLE_OPERATOR" }),
    )?;
    let token = text(&answer, "/secret")?;
    Ok(Foreign { fleet, token })
}

impl Foreign {
    fn grpcurl(&self, args: &[&str]) -> Result<String> {
        let program = programs::grpcurl().context("grpcurl is not installed: cargo xtask test installs it")?;
        let ca = self.fleet.cloud.data().join("ca.pem");
        let (flags, rest) = args.split_at(args.len().saturating_sub(1));
        let mut command = Command::new(program);
        command
            .arg("-cacert")
            .arg(ca)
            .args(["-H", &format!("authorization: Bearer {}", self.token)])
            .args(flags);
        process::output(command.arg(self.fleet.cloud.address()).args(rest))
    }
}

#[test]
fn grpcurl_lists_creates_and_watches() -> Result<()> {
    let foreign = foreign()?;
    let services = foreign.grpcurl(&["list"])?;
    for service in [
        "opslink.v1.TaskService",
        "opslink.v1.AgentService",
        "grpc.health.v1.Health",
    ] {
        assert!(services.contains(service), "{services}");
    }
    let body = json!({ "spec": { "shell": { "argv": ["echo", "from grpcurl"] } }, "selector": { "names": ["prod"] } });
    let created = foreign.grpcurl(&["-d", &body.to_string(), "opslink.v1.TaskService/CreateTask"])?;
    let task = text(&serde_json::from_str(&created)?, "/task/id")?;
    let watch = json!({ "taskId": task, "output": "OUTPUT_MODE_EVENTS" }).to_string();
    let said = foreign.grpcurl(&["-d", &watch, "opslink.v1.TaskService/WatchTask"])?;
    let messages: Vec<Value> = serde_json::Deserializer::from_str(&said)
        .into_iter::<Value>()
        .collect::<std::result::Result<_, _>>()?;
    assert!(
        messages
            .iter()
            .any(|message| message["task"]["state"] == "TASK_STATE_SUCCEEDED"),
        "{said}"
    );
    let events = messages
        .iter()
        .filter_map(|message| message["events"]["events"].as_array())
        .flatten();
    // protobuf's JSON has bytes in base64: "from grpcurl\n".
    assert!(
        events
            .into_iter()
            .any(|event| event["output"]["data"] == "ZnJvbSBncnBjdXJsCg=="),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_wrong_token_is_refused_with_a_reason() -> Result<()> {
    let mut foreign = foreign()?;
    foreign.token.push('x');
    let error = foreign
        .grpcurl(&["-d", "{}", "opslink.v1.AgentService/ListAgents"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("Unauthenticated"), "{error}");
    Ok(())
}

#[test]
fn python_runs_a_task_with_what_reflection_tells() -> Result<()> {
    let foreign = foreign()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/foreign.py");
    let mut command = Command::new(programs::python());
    command
        .arg(script)
        .arg(foreign.fleet.cloud.address())
        .arg(foreign.fleet.cloud.data().join("ca.pem"))
        .arg(&foreign.token);
    let said = process::output(&mut command)?;
    assert_eq!(said.trim(), "TASK_STATE_SUCCEEDED from python");
    Ok(())
}
