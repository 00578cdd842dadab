//! Faults: cut links, killed agents, killed clouds. T01 and T04 of the catalogue, and their neighbours.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use opslink_harness::{Fleet, proxy::Proxy, wait_for};

use crate::support::{LIMIT, detached, executions, wait_state, wait_verified};

/// T01, narrower: up to 200 cuts (at least 100, or it fails) while 100 MiB of random bytes pass. Standard output is
/// compared byte for byte; standard error by the cloud's own check against the runner's digest, and by length.
#[test]
fn no_byte_is_lost_over_a_hundred_cuts_and_more() -> Result<()> {
    const CUTS: u64 = 200;
    const BYTES: u64 = 100 * 1024 * 1024;
    let mut fleet = Fleet::start(&[])?;
    let proxy = Proxy::start(fleet.cloud.address())?;
    let mut agent = fleet.join_agent("prod", "env=prod", &proxy.url())?;
    // Redialing at once keeps the test short; the delay itself is tested with the session cores.
    agent.start_with(&[("OPSLINK_AGENT_REDIAL_MAX_MS", "50")])?;
    fleet.agents.push(agent);

    let (out, err) = (fleet.path("out.bin"), fleet.path("err.bin"));
    let half = BYTES / 2;
    let script = format!(
        "head -c {half} /dev/urandom | tee {} & head -c {half} /dev/urandom | tee {} >&2; wait",
        out.display(),
        err.display()
    );
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", &script])?;
    // Positions differ from run to run: the seed is the time, printed for whoever looks into a failure.
    let mut seed = u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed()?.as_micros() as u64;
    println!("seed {seed}");
    let mut cuts = 0;
    while cuts < CUTS {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        proxy.cut_after((seed >> 33) % (BYTES / CUTS));
        let before = proxy.cuts();
        wait_for("the cut to happen", LIMIT, || {
            proxy.cuts() > before || executions(&fleet.ctl, &task).is_ok_and(|list| list[0]["outcome"].is_object())
        })?;
        if proxy.cuts() == before {
            break;
        }
        cuts = proxy.cuts();
    }
    assert!(cuts >= CUTS / 2, "only {cuts} cuts happened before the end of the task");
    proxy.cut_after(u64::MAX >> 1);
    wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
    wait_verified(&fleet.ctl, &task)?;

    let stored = fleet.ctl.run(["logs", &task, "--raw"])?.expect(0)?;
    assert_eq!(
        blake3::hash(&stored.stdout),
        blake3::hash(&std::fs::read(&out)?),
        "stdout"
    );
    let output = executions(&fleet.ctl, &task)?.remove(0);
    let streams = output["outcome"]["streams"].as_array().context("streams")?.clone();
    let total: u64 = streams
        .iter()
        .filter_map(|stream| stream["bytes"].as_str()?.parse::<u64>().ok())
        .sum();
    assert_eq!(total, BYTES);
    Ok(())
}

/// T04: kill -9 of the agent, again and again, under counting tasks.
#[test]
fn tasks_outlive_an_agent_that_is_killed_thirty_times() -> Result<()> {
    const TASKS: usize = 20;
    const ROUNDS: usize = 30;
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let witness = fleet.path("witness");
    std::fs::create_dir(&witness)?;
    let release = fleet.path("release");
    let mut tasks = Vec::new();
    for index in 0..TASKS {
        let script = format!(
            "echo $$ >> {0}/{index}; n=0; while ! test -e {1}; do n=$((n+1)); echo line $n; sleep 0.1; done; echo $n > {0}/{index}.count; exit {index}",
            witness.display(),
            release.display()
        );
        tasks.push(detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", &script])?);
    }
    let started = |index: usize| std::fs::read_to_string(witness.join(index.to_string())).unwrap_or_default();
    wait_for("all tasks to run", LIMIT, || {
        (0..TASKS).all(|index| started(index).ends_with('\n'))
    })?;
    let pids: Vec<String> = (0..TASKS).map(started).collect();

    for _ in 0..ROUNDS {
        fleet.agent("prod")?.kill();
        fleet.agent("prod")?.start()?;
    }
    std::fs::write(&release, "")?;
    for (index, task) in tasks.iter().enumerate() {
        wait_state(&fleet.ctl, task, &["SUCCEEDED", "FAILED", "LOST"])?;
        assert_eq!(
            started(index),
            pids[index],
            "task {index} was started once, and its process lived on"
        );
        let count: usize = std::fs::read_to_string(witness.join(format!("{index}.count")))?
            .trim()
            .parse()?;
        let expected: String = (1..=count).map(|n| format!("line {n}\n")).collect();
        assert_eq!(fleet.ctl.run(["logs", task])?.text(), expected);
        let execution = executions(&fleet.ctl, task)?.remove(0);
        let code = execution["outcome"]["exitCode"].as_i64().unwrap_or_default();
        assert_eq!(code, i64::try_from(index)?, "{execution}");
        wait_verified(&fleet.ctl, task)?;
    }
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), TASKS);
    Ok(())
}

#[test]
fn a_killed_cloud_loses_nothing_that_runs() -> Result<()> {
    let mut fleet = Fleet::start(&[])?;
    let url = fleet.cloud.url.clone();
    let mut agent = fleet.join_agent("prod", "env=prod", &url)?;
    agent.start_with(&[("OPSLINK_AGENT_REDIAL_MAX_MS", "200")])?;
    fleet.agents.push(agent);
    let release = fleet.path("release");
    let script = format!(
        "n=0; while ! test -e {}; do n=$((n+1)); echo line $n; sleep 0.02; done",
        release.display()
    );
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", &script])?;
    wait_state(&fleet.ctl, &task, &["RUNNING"])?;
    for _ in 0..5 {
        fleet.cloud.kill();
        fleet.cloud.restart()?;
        let before = fleet.ctl.run(["logs", &task])?.stdout.len();
        wait_for("output to flow again", LIMIT, || {
            fleet
                .ctl
                .run(["logs", &task])
                .is_ok_and(|ran| ran.stdout.len() > before)
        })?;
    }
    std::fs::write(&release, "")?;
    wait_state(&fleet.ctl, &task, &["SUCCEEDED"])?;
    let text = fleet.ctl.run(["logs", &task])?.expect(0)?.text();
    let expected: String = (1..=text.lines().count()).map(|n| format!("line {n}\n")).collect();
    assert_eq!(text, expected);
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn a_stalled_link_is_noticed_by_both_ends() -> Result<()> {
    let mut fleet = Fleet::start(&[])?;
    let proxy = Proxy::start(fleet.cloud.address())?;
    let mut agent = fleet.join_agent("prod", "env=prod", &proxy.url())?;
    agent.start_with(&[("OPSLINK_AGENT_REDIAL_MAX_MS", "200")])?;
    fleet.agents.push(agent);
    proxy.stall(true);
    let online = |word: &str| {
        fleet
            .ctl
            .run(["agent", "list", "-o", "json"])
            .is_ok_and(|list| list.text().contains(word))
    };
    wait_for("the cloud to notice", Duration::from_secs(90), || {
        online("AGENT_STATUS_OFFLINE")
    })?;
    proxy.stall(false);
    proxy.cut();
    wait_for("the agent to be back", Duration::from_secs(90), || {
        online("AGENT_STATUS_ONLINE")
    })
}
