//! Ends that somebody asked for: cancel, deadline.

use std::time::{Duration, Instant};

use anyhow::Result;
use opslink_harness::{Fleet, wait_for};

use crate::support::{LIMIT, detached, wait_state};

#[test]
fn cancel_ends_the_whole_tree_even_one_that_will_not_listen() -> Result<()> {
    let fleet = Fleet::start(&[("prod", "env=prod")])?;
    let pids = fleet.path("pids");
    // A child that left its session, ignores TERM, and whose parent is gone.
    let script = format!(
        "setsid sh -c \"trap '' TERM; echo \\$\\$ >> {0}; while :; do sleep 1; done\" & echo $$ >> {0}; sleep 600",
        pids.display()
    );
    let task = detached(&fleet.ctl, &["-a", "prod", "--", "sh", "-c", &script])?;
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    wait_for("both processes to run", LIMIT, || read().lines().count() == 2)?;
    let started = Instant::now();
    fleet.ctl.run(["task", "cancel", &task, "--yes"])?.expect(0)?;
    wait_state(&fleet.ctl, &task, &["CANCELED"])?;
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "took {:?}",
        started.elapsed()
    );
    for pid in read().lines() {
        assert!(
            !std::path::Path::new("/proc").join(pid).exists(),
            "process {pid} is still there"
        );
    }
    // A second cancel finds nothing to do, and says so without failing.
    fleet.ctl.run(["task", "cancel", &task, "--yes"])?.expect(0)?;
    Ok(())
}

#[test]
fn a_deadline_holds_without_the_agent() -> Result<()> {
    let mut fleet = Fleet::start(&[("prod", "env=prod")])?;
    let pid = fleet.path("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid.display());
    let task = detached(
        &fleet.ctl,
        &["-a", "prod", "--timeout", "3s", "--", "sh", "-c", &script],
    )?;
    wait_for("the command to run", LIMIT, || {
        std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))
    })?;
    fleet.agent("prod")?.kill();
    let process = std::path::Path::new("/proc").join(std::fs::read_to_string(&pid)?.trim());
    wait_for("the deadline to end the command", LIMIT, || !process.exists())?;
    fleet.agent("prod")?.start()?;
    wait_state(&fleet.ctl, &task, &["TIMED_OUT"])?;
    Ok(())
}
