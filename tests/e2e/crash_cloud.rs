//! The cloud dies between two steps that belong together, and what was begun is finished by the next one.
//!
//! The places are those of `cloud/src/crash.rs`. Every round proves that the cloud died where it should; then the same
//! request is made again, as a client does that got no answer, and everything must have happened once.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use opslink_harness::{Fleet, wait_for};
use serde_json::{Value, json};

use crate::support::{LIMIT, executions, text, wait_state, wait_verified};

/// Rounds of each place.
const ROUNDS: usize = 20;
/// Deaths of one round before its request: what the round before left is at most a few rows.
const LEFT_OVER: usize = 4;

const CREATE: &str = "opslink.v1.TaskService/CreateTask";
const CANCEL: &str = "opslink.v1.TaskService/CancelTask";
const RETRY: &str = "opslink.v1.TaskService/RetryTask";

fn request_id(round: usize) -> String {
    format!("00000000-0000-4000-8000-{round:012}")
}

/// A request for a shell script on an agent.
fn script(agent: &str, script: &str, round: usize) -> Value {
    json!({
        "spec": { "shell": { "argv": ["sh", "-c", script] } },
        "selector": { "names": [agent] },
        "queueing": { "enabled": true },
        "reason": format!("round {round}"),
        "requestId": request_id(round),
    })
}

/// A script that leaves one line each time it is run.
fn leaves_a_line(file: &Path, rest: &str) -> String {
    format!("echo line >> {}; {rest}", file.display())
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Starts the cloud so that it dies at a place, and waits until the agents are there.
///
/// What the round before left to do is work too: the cloud may die of that while the agents come, and is started again.
fn to_die_at(fleet: &mut Fleet, place: &str) -> Result<()> {
    for _ in 0..LEFT_OVER {
        let started = fleet.cloud.restart_to_die_at(Some(place));
        if started.is_ok() {
            wait_for("the agents to be online", LIMIT, || {
                fleet.cloud.has_ended() || are_there(fleet)
            })?;
            if !fleet.cloud.has_ended() {
                return Ok(());
            }
        }
        died_there(fleet, place).or_else(|other| started.and(Err(other)))?;
        fleet.cloud.restart_to_die_at(None)?;
    }
    bail!("it died at {place} {LEFT_OVER} times before anything was asked of it")
}

fn agents_are_there(fleet: &Fleet) -> Result<()> {
    wait_for("the agents to be online", LIMIT, || are_there(fleet))
}

fn are_there(fleet: &Fleet) -> bool {
    let list = fleet.ctl.run(["agent", "list", "-o", "json"]);
    list.is_ok_and(|list| !list.text().contains("AGENT_STATUS_OFFLINE") && list.code == 0)
}

/// Waits until it is dead, proves that it died where it should, and starts it again.
fn is_dead(fleet: &mut Fleet, place: &str) -> Result<()> {
    wait_for(&format!("the cloud to die at {place}"), LIMIT, || {
        fleet.cloud.has_ended()
    })?;
    died_there(fleet, place)?;
    fleet.cloud.restart_to_die_at(None)
}

/// Proves by its log that the dead cloud died at a place.
fn died_there(fleet: &Fleet, place: &str) -> Result<()> {
    let log = std::fs::read_to_string(fleet.cloud.log())?;
    let name = place.split(':').next().unwrap_or(place);
    ensure!(
        log.contains(&format!("crash point {name}")),
        "it did not die at {place}:\n{log}"
    );
    Ok(())
}

/// Makes a request that gets no answer, since the cloud dies; then once more.
fn twice(fleet: &mut Fleet, place: &str, method: &str, request: &Value) -> Result<Value> {
    let first = fleet.ctl.run(["api", method, &request.to_string()])?;
    ensure!(first.code != 0, "{place}: the cloud answered: {}", first.text());
    is_dead(fleet, place)?;
    fleet.ctl.api(method, request)
}

/// Audit rows of an action on a task.
fn audit_rows(fleet: &Fleet, action: &str, resource: &str) -> Result<usize> {
    let answer = fleet
        .ctl
        .api("opslink.v1.AuditService/ListAuditEvents", &json!({ "pageSize": 500 }))?;
    let rows = answer.get("events").and_then(Value::as_array).context("events")?;
    let same = |row: &&Value| {
        row.get("action").and_then(Value::as_str) == Some(action)
            && row.get("resource").and_then(Value::as_str) == Some(resource)
    };
    Ok(rows.iter().filter(same).count())
}

#[test]
fn a_task_whose_creation_was_cut_after_the_commit_is_done_once() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    for round in 0..ROUNDS {
        let witness = fleet.path(format!("witness-{round}"));
        let request = script("prod", &leaves_a_line(&witness, "echo done"), round);
        to_die_at(&mut fleet, "task.created")?;
        let answer = twice(&mut fleet, "task.created", CREATE, &request)?;
        let task = text(&answer, "/task/id")?;
        wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
        wait_verified(&fleet.ctl, &task)?;
        ensure!(lines(&witness) == 1, "round {round}: it ran {} times", lines(&witness));
        let rows = audit_rows(&fleet, "task.create", &format!("task/{task}"))?;
        ensure!(rows == 1, "round {round}: {rows} audit rows");
    }
    let list = fleet.ctl.api("opslink.v1.TaskService/ListTasks", &json!({}))?;
    let tasks = list.get("tasks").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(tasks == ROUNDS, "{tasks} tasks of {ROUNDS} requests");
    Ok(())
}

#[test]
fn a_cancel_that_was_cut_after_the_commit_is_carried_out_though_nobody_repeats_it() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    for round in 0..ROUNDS {
        to_die_at(&mut fleet, "task.cancel_written")?;
        let created = fleet.ctl.api(CREATE, &script("prod", "sleep 1000", round))?;
        let task = text(&created, "/task/id")?;
        wait_state(&fleet.ctl, &task, &["RUNNING"])?;
        let cut = fleet.ctl.run(["api", CANCEL, &json!({ "id": task }).to_string()])?;
        ensure!(cut.code != 0, "the cloud answered: {}", cut.text());
        is_dead(&mut fleet, "task.cancel_written")?;
        wait_state(&fleet.ctl, &task, &["CANCELED"])?;
        let rows = audit_rows(&fleet, "task.cancel", &format!("task/{task}"))?;
        ensure!(rows == 1, "round {round}: {rows} audit rows");
    }
    Ok(())
}

#[test]
fn a_retry_that_was_cut_after_the_commit_makes_one_attempt() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    for round in 0..ROUNDS {
        let witness = fleet.path(format!("witness-{round}"));
        let fails_once = leaves_a_line(&witness, &format!("test $(wc -l < {}) -gt 1", witness.display()));
        to_die_at(&mut fleet, "task.retry_written")?;
        let created = fleet.ctl.api(CREATE, &script("prod", &fails_once, round))?;
        let task = text(&created, "/task/id")?;
        wait_state(&fleet.ctl, &task, &["FAILED"])?;
        let request = json!({ "id": task, "requestId": request_id(ROUNDS + round) });
        twice(&mut fleet, "task.retry_written", RETRY, &request)?;
        wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
        ensure!(lines(&witness) == 2, "round {round}: it ran {} times", lines(&witness));
        let execution = executions(&fleet.ctl, &task)?.remove(0);
        let attempts = execution.get("attempts").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(attempts == 2, "round {round}: {attempts} attempts");
        let rows = audit_rows(&fleet, "task.retry", &format!("task/{task}"))?;
        ensure!(rows == 1, "round {round}: {rows} audit rows");
    }
    Ok(())
}

#[test]
fn what_waits_for_a_removed_agent_ends_though_the_removal_was_cut() -> Result<()> {
    let mut fleet = Fleet::start(&[])?;
    for round in 0..ROUNDS {
        let name = format!("agent-{round}");
        let mut agent = fleet.join_agent(&name, "env=prod", &fleet.cloud.url)?;
        // Its capabilities are known once it was there.
        agent.start()?;
        agent.kill();
        let created = fleet.ctl.api(CREATE, &script(&name, "true", round))?;
        let task = text(&created, "/task/id")?;
        fleet.cloud.restart_to_die_at(Some("agent.removed"))?;
        let request = json!({ "agent": name }).to_string();
        let cut = fleet
            .ctl
            .run(["api", "opslink.v1.AgentService/RemoveAgent", &request])?;
        ensure!(cut.code != 0, "the cloud answered: {}", cut.text());
        is_dead(&mut fleet, "agent.removed")?;
        wait_state(&fleet.ctl, &task, &["CANCELED", "SUCCEEDED", "LOST"])?;
        let list = fleet.ctl.run(["agent", "list", "-o", "json"])?.expect(0)?;
        ensure!(!list.text().contains(&format!("\"{name}\"")), "it is still there");
    }
    Ok(())
}

#[test]
fn output_that_was_stored_and_not_acknowledged_is_stored_once() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    for round in 0..ROUNDS {
        let place = format!("ingest.chunks_stored:{}", round % 3 + 1);
        to_die_at(&mut fleet, &place)?;
        // Noise, so that it is many chunks; spread, so that they come one after the other.
        let work = "for i in 1 2 3 4; do head -c 40000 /dev/urandom | base64; sleep 0.05; done";
        let created = fleet.ctl.api(CREATE, &script("prod", work, round));
        is_dead(&mut fleet, &place)?;
        let answer = match created {
            Ok(answer) => answer,
            Err(_) => fleet.ctl.api(CREATE, &script("prod", work, round))?,
        };
        let task = text(&answer, "/task/id")?;
        wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
        wait_verified(&fleet.ctl, &task)?;
    }
    Ok(())
}

#[test]
fn an_end_that_was_stored_and_not_told_to_the_agent_is_told_by_the_next_cloud() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    for round in 0..ROUNDS {
        let witness = fleet.path(format!("witness-{round}"));
        let request = script("prod", &leaves_a_line(&witness, "echo done"), round);
        to_die_at(&mut fleet, "task.end_stored")?;
        let created = fleet.ctl.api(CREATE, &request);
        is_dead(&mut fleet, "task.end_stored")?;
        let answer = match created {
            Ok(answer) => answer,
            Err(_) => fleet.ctl.api(CREATE, &request)?,
        };
        let task = text(&answer, "/task/id")?;
        wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
        wait_verified(&fleet.ctl, &task)?;
        ensure!(lines(&witness) == 1, "round {round}: it ran {} times", lines(&witness));
        let attempts = fleet.agent("prod")?.state().join("attempts");
        wait_for("the agent to forget the attempt", LIMIT, || {
            std::fs::read_dir(&attempts).is_ok_and(|folder| folder.count() == 0)
        })?;
    }
    Ok(())
}

#[test]
fn a_rollout_goes_on_whenever_its_cloud_dies() -> Result<()> {
    let mut fleet = Fleet::start(&[("one", "env=prod"), ("two", "env=prod")])?;
    for round in 0..ROUNDS {
        let witness = fleet.path(format!("witness-{round}"));
        let mut request = script("one", &leaves_a_line(&witness, "true"), round);
        request["selector"] = json!({ "names": ["one", "two"] });
        request["rollout"] = json!({ "maxParallel": 1 });
        // In turn: the next cloud lets go of what a dead one had claimed, so neither waits for a lease to end.
        let place = if round % 2 == 0 {
            "rollout.claimed"
        } else {
            "rollout.carried_out"
        };
        to_die_at(&mut fleet, place)?;
        let created = fleet.ctl.api(CREATE, &request);
        is_dead(&mut fleet, place)?;
        let answer = match created {
            Ok(answer) => answer,
            Err(_) => fleet.ctl.api(CREATE, &request)?,
        };
        let task = text(&answer, "/task/id")?;
        wait_for("both executions to succeed", LIMIT * 2, || {
            executions(&fleet.ctl, &task).is_ok_and(|executions| {
                executions.len() == 2
                    && executions.iter().all(|execution| {
                        execution.get("state").and_then(Value::as_str) == Some("EXECUTION_STATE_SUCCEEDED")
                    })
            })
        })?;
        ensure!(lines(&witness) == 2, "round {round}: it ran {} times", lines(&witness));
    }
    Ok(())
}

#[test]
fn a_start_that_was_cut_between_the_migrations_and_the_doors_is_followed_by_another() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    for round in 0..ROUNDS {
        fleet.cloud.stop();
        ensure!(
            fleet.cloud.restart_to_die_at(Some("server.store_open")).is_err(),
            "round {round}: the cloud started"
        );
        let log = std::fs::read_to_string(fleet.cloud.log())?;
        ensure!(log.contains("crash point server.store_open"), "{log}");
    }
    fleet.cloud.restart_to_die_at(None)?;
    agents_are_there(&fleet)?;
    let created = fleet.ctl.api(CREATE, &script("prod", "true", 0))?;
    wait_state(&fleet.ctl, &text(&created, "/task/id")?, &["SUCCEEDED"])?;
    Ok(())
}
