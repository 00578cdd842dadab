//! Agents that are away: refused by default, queued when asked, expired in time.

use anyhow::Result;
use opslink_harness::Fleet;

use crate::support::{detached, wait_state};

#[test]
fn an_offline_agent_is_refused_unless_the_task_may_wait() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    fleet.agent("prod")?.stop();
    opslink_harness::wait_for("the agent to be offline", crate::support::LIMIT, || {
        fleet
            .ctl
            .run(["agent", "list", "-o", "json"])
            .is_ok_and(|list| list.text().contains("AGENT_STATUS_OFFLINE"))
    })?;
    let refused = fleet.ctl.run(["run", "shell", "-a", "prod", "--", "true"])?.expect(6)?;
    assert!(
        refused.stderr.contains("AGENT_OFFLINE") && refused.stderr.contains("--queue"),
        "{}",
        refused.stderr
    );

    let witness = fleet.path("witness");
    let append = |what: &str| format!("echo {what} >> {}", witness.display());
    let expires = detached(
        &fleet.ctl,
        &[
            "-a",
            "prod",
            "--queue",
            "--expires",
            "1s",
            "--",
            "sh",
            "-c",
            &append("expired"),
        ],
    )?;
    let first = detached(
        &fleet.ctl,
        &["-a", "prod", "--queue", "--", "sh", "-c", &append("first")],
    )?;
    wait_state(&fleet.ctl, &expires, &["EXPIRED"])?;
    fleet.agent("prod")?.start()?;
    wait_state(&fleet.ctl, &first, &["SUCCEEDED"])?;
    assert_eq!(
        std::fs::read_to_string(&witness)?,
        "first\n",
        "an expired task never runs"
    );
    Ok(())
}

#[test]
fn at_most_so_many_run_at_the_same_time() -> Result<()> {
    let fleet = Fleet::start(&[("a", "env=x"), ("b", "env=x"), ("c", "env=x")])?;
    let log = fleet.path("log");
    let script = format!("echo start >> {0}; sleep 0.3; echo end >> {0}", log.display());
    fleet
        .ctl
        .run([
            "run",
            "shell",
            "-l",
            "env=x",
            "--parallel",
            "1",
            "--",
            "sh",
            "-c",
            &script,
        ])?
        .expect(0)?;
    let words = std::fs::read_to_string(&log)?;
    assert_eq!(words, "start\nend\n".repeat(3));
    Ok(())
}

#[test]
fn a_rollout_stops_after_too_many_failures() -> Result<()> {
    let fleet = Fleet::start(&[("a", "env=x"), ("b", "env=x"), ("c", "env=x")])?;
    let log = fleet.path("log");
    let script = format!("echo ran >> {}; exit 1", log.display());
    let args = [
        "run",
        "shell",
        "-l",
        "env=x",
        "--parallel",
        "1",
        "--max-fail",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ];
    fleet.ctl.run(args)?.expect(3)?;
    assert_eq!(
        std::fs::read_to_string(&log)?,
        "ran\n",
        "nothing starts after the first failure"
    );
    Ok(())
}
