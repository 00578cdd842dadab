//! T19: the agent's disk is full while the link is down. The command waits, nothing is lost, new work is refused.
//!
//! Mounts small file systems, which needs root: `cargo xtask test disk` runs this file, and names it where it cannot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use opslink_harness::{Agent, Fleet, fleet::join_token, process, wait_for};

use crate::support::{LIMIT, detached, shell, wait_state, wait_verified};

const MIB: usize = 1 << 20;

/// A file system in memory. Gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, size: &str) -> Result<Self> {
        fs::create_dir(&path)?;
        let options = format!("size={size}");
        process::run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
                .arg(&path),
        )?;
        Ok(Self(path))
    }

    fn free_kib(&self) -> Option<u64> {
        let said = process::output(Command::new("df").args(["--output=avail", "-k"]).arg(&self.0)).ok()?;
        said.lines().last()?.trim().parse().ok()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Runners may still have files open there: it goes when they do.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn agent_on(fleet: &Fleet, folder: &Path) -> Result<Agent> {
    let token = join_token(&fleet.ctl, "small", "env=small")?;
    let mut agent = Agent::join("small", folder.join("state"), &fleet.cloud.url, &token)?;
    agent.start()?;
    Ok(agent)
}

#[test]
fn a_full_disk_without_a_link_makes_the_command_wait_and_loses_nothing() -> Result<()> {
    let mut fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "32m")?;
    let _agent = agent_on(&fleet, &small.0)?;
    let (begin, ended, copy) = (fleet.path("begin"), fleet.path("ended"), fleet.path("copy"));
    // What cannot be compressed; the copy is what the command said.
    let script = format!(
        "while ! test -e {}; do sleep 0.05; done; head -c {} /dev/urandom | tee {}; touch {}",
        begin.display(),
        100 * MIB,
        copy.display(),
        ended.display()
    );
    let task = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script])?;
    wait_state(&fleet.ctl, &task, &["RUNNING"])?;
    fleet.cloud.kill();
    fs::write(&begin, "")?;
    wait_for("the disk to be full", LIMIT, || {
        small.free_kib().is_some_and(|free| free < 512)
    })?;
    let produced = || fs::metadata(&copy).map(|file| file.len()).unwrap_or_default();
    assert!(
        !ended.exists() && produced() < 60 * MIB as u64,
        "the command waits: {}",
        produced()
    );

    // No room but what the cloud takes over: the journal gives back what it has.
    fleet.cloud.restart()?;
    assert_eq!(
        wait_state(&fleet.ctl, &task, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    let logs = fleet.ctl.run(["logs", &task])?.expect(0)?;
    assert!(logs.stdout == fs::read(&copy)?, "every byte, in its order");
    assert!(
        logs.stderr.contains("DISK_FULL"),
        "and it is told why it took so long: {}",
        logs.stderr
    );
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn a_disk_that_is_smaller_than_the_output_is_enough_while_there_is_a_link() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "40m")?;
    let _agent = agent_on(&fleet, &small.0)?;
    let copy = fleet.path("copy");
    let script = format!("head -c {} /dev/urandom | tee {}", 120 * MIB, copy.display());
    let task = detached(&fleet.ctl, &["-a", "small", "--", "sh", "-c", &script])?;
    assert_eq!(
        wait_state(&fleet.ctl, &task, &["SUCCEEDED", "FAILED", "LOST"])?,
        "SUCCEEDED"
    );
    let logs = fleet.ctl.run(["logs", &task])?.expect(0)?;
    assert!(logs.stdout == fs::read(&copy)?, "every byte, in its order");
    wait_verified(&fleet.ctl, &task)
}

#[test]
fn new_work_on_a_full_disk_is_refused_until_there_is_room() -> Result<()> {
    let fleet = Fleet::start(&[])?;
    let small = Small::mount(fleet.path("small"), "8m")?;
    let _agent = agent_on(&fleet, &small.0)?;
    let filler = small.0.join("filler");
    let full = fs::write(&filler, vec![0; 9 * MIB]).err().context("a full disk")?;
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let refused = shell(&fleet.ctl, "small", &["echo", "never"])?.expect(3)?;
    assert!(refused.stderr.contains("DISK_FULL"), "{}", refused.stderr);
    assert_eq!(refused.text(), "");
    fs::remove_file(&filler)?;
    assert_eq!(
        shell(&fleet.ctl, "small", &["echo", "again"])?.expect(0)?.text(),
        "again\n"
    );
    Ok(())
}
