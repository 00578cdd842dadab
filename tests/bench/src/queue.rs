//! A long queue for one agent: what the cloud holds in memory, and asks of its database, while it works it off.

use anyhow::{Context, Result, ensure};
use opslink::pb;
use opslink_harness::{Fleet, database::Database};

use crate::{
    client::{Client, named, succeeded},
    fanout::runtime,
    figure::Figure,
};

const TASKS: usize = 5_000;
const SCRIPT_BYTES: usize = 100 * 1024;

pub(crate) fn run() -> Result<Vec<Figure>> {
    let mut postgres = Database::postgres()?;
    // It counts the statements.
    postgres.client("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")?;
    postgres.restart()?;
    postgres.client("CREATE EXTENSION pg_stat_statements")?;
    let mut fleet = Fleet::start_with(&[("prod", "env=prod")], |options| {
        options.database_url = Some(postgres.url());
    })?;
    fleet.agent("prod")?.stop();
    let cloud = fleet.cloud.id().context("the cloud's process")?;
    let runtime = runtime()?;
    let mut client = runtime.block_on(Client::connect(&fleet.cloud, &fleet.ctl))?;
    let tasks = runtime.block_on(async {
        let mut tasks = Vec::with_capacity(TASKS);
        for _ in 0..TASKS {
            tasks.push(client.create(queued()).await?);
        }
        anyhow::Ok(tasks)
    })?;
    let statements = count(&postgres)?;
    let before = forget_peak(cloud)?;
    fleet.agent("prod")?.start()?;
    runtime.block_on(async {
        for task in tasks {
            let ended = client.ended(task).await?;
            ensure!(succeeded(&ended) == 1, "a task did not succeed");
        }
        Ok(())
    })?;
    let grown = (status_kb(cloud, "VmHWM:")? - before) / 1024.0;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let each = (count(&postgres)? - statements) / TASKS as f64;
    Ok(vec![
        Figure::new("queue_pump_memory", "MiB", vec![grown]),
        Figure::new("queue_pump_statements", "per task", vec![each]),
    ])
}

/// A script that does nothing, of a size that is felt when it is loaded for nothing.
fn queued() -> pb::CreateTaskRequest {
    let mut script = b"exit 0\n#".to_vec();
    script.resize(SCRIPT_BYTES, b'.');
    let shell = pb::ShellSpec {
        script: script.into(),
        ..Default::default()
    };
    pb::CreateTaskRequest {
        spec: Some(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            ..Default::default()
        }),
        selector: Some(named("prod")),
        queueing: Some(pb::Queueing {
            enabled: true,
            ttl_secs: 86_400,
        }),
        ..Default::default()
    }
}

/// Statements that the cloud has sent so far; the watches of the bench itself are among them, a few a task.
fn count(postgres: &Database) -> Result<f64> {
    let answer = postgres.client("SELECT sum(calls) FROM pg_stat_statements")?;
    answer.trim().parse().with_context(|| format!("a number: {answer}"))
}

/// Lets the peak of a process begin anew; returns what it holds now, in kB.
fn forget_peak(pid: u32) -> Result<f64> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    status_kb(pid, "VmRSS:")
}

fn status_kb(pid: u32, field: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .context("a field of status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
