//! What several families need.

use std::time::Duration;

use anyhow::{Context as _, Result};
use opslink_harness::{Ctl, Ran, wait::wait_for_some};
use serde_json::{Value, json};

/// Long enough for a loaded machine; a test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Starts a shell task without following it, and returns its id.
pub(crate) fn detached(ctl: &Ctl, args: &[&str]) -> Result<String> {
    let ran = ctl
        .run([&["run", "shell", "--detach", "-o", "json"], args].concat())?
        .expect(0)?;
    let task = ran.json()?;
    // `run --detach -o json` prints the task.
    text(&task, "/id").or_else(|_| text(&task, "/task/id"))
}

/// Returns a text of a JSON document.
pub(crate) fn text(value: &Value, pointer: &str) -> Result<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("{pointer} in {value}"))
}

/// Returns the executions of a task.
pub(crate) fn executions(ctl: &Ctl, task: &str) -> Result<Vec<Value>> {
    let answer = ctl.api("opslink.v1.TaskService/ListExecutions", &json!({ "taskId": task }))?;
    Ok(answer
        .get("executions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default())
}

/// Returns the state of a task's only execution, as its protobuf name without the prefix.
pub(crate) fn state(ctl: &Ctl, task: &str) -> Result<String> {
    let executions = executions(ctl, task)?;
    let state = executions.first().context("an execution")?;
    Ok(text(state, "/state")?.trim_start_matches("EXECUTION_STATE_").to_owned())
}

/// Waits until the only execution of a task is in one of these states.
pub(crate) fn wait_state(ctl: &Ctl, task: &str, wanted: &[&str]) -> Result<String> {
    wait_for_some(&format!("task {task} to be one of {wanted:?}"), LIMIT, || {
        state(ctl, task).ok().filter(|state| wanted.contains(&state.as_str()))
    })
}

/// Waits until the stored output of a task's only execution is verified against what its runner produced.
pub(crate) fn wait_verified(ctl: &Ctl, task: &str) -> Result<()> {
    wait_for_some(&format!("the output of task {task} to be verified"), LIMIT, || {
        let executions = executions(ctl, task).ok()?;
        executions.first()?.get("outputVerified")?.as_bool()?.then_some(())
    })
}

/// Runs a command on one agent and returns what came back.
pub(crate) fn shell(ctl: &Ctl, agent: &str, argv: &[&str]) -> Result<Ran> {
    ctl.run([&["run", "shell", "-a", agent, "--"], argv].concat())
}
